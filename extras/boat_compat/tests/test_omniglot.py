"""Omniglot in every layout gives the same classes, and what lies elsewhere gets one error with the nearest layout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from boat_compat.few_shot import DataError, Episodes, ImageClasses, load_omniglot
from boat_compat.few_shot.problem import VARIABLE

pytest.importorskip("PIL", reason="Pillow draws the images")
sys.path.insert(0, str(Path(__file__).parent))
try:
    import drawings
finally:
    sys.path.pop(0)

BACKGROUND, EVALUATION = drawings.NAMES[:2], drawings.NAMES[2:]


def published(folder, zipped=False, inside="."):
    for part, names in (("images_background", BACKGROUND), ("images_evaluation", EVALUATION)):
        if zipped:
            files = drawings.omniglot_files(105, f"{part}/", names)
            drawings.write_zip(folder / inside / f"{part}.zip", files)
        else:
            drawings.write(folder / inside / part, drawings.omniglot_files(105, "", names))
    return folder


def resized(folder):
    drawings.write(folder / "omniglot_resized", drawings.omniglot_files(28))
    return folder


def archive(folder):
    drawings.write_zip(folder / "omniglot_resized.zip", drawings.omniglot_files(28, "omniglot_resized/"))
    return folder


def alphabets(folder):
    drawings.write(folder, drawings.omniglot_files(28))
    return folder


LAYOUTS = {
    "published": published,
    "published, inside a folder": lambda folder: published(folder, inside="omniglot"),
    "torchvision's archives": lambda folder: published(folder, zipped=True, inside="omniglot-py"),
    "resized": resized,
    "resized, the folder itself": lambda folder: resized(folder) / "omniglot_resized",
    "resized, in an archive": archive,
    "resized, the archive itself": lambda folder: archive(folder) / "omniglot_resized.zip",
    "alphabets": alphabets,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_classes_and_episodes(layout, tmp_path):
    classes = load_omniglot(LAYOUTS[layout](tmp_path))
    assert classes.names == drawings.NAMES
    assert (classes.size, classes.channels) == (28, 1)
    assert [len(one.images) for one in classes] == [drawings.IMAGES] * len(classes)
    for one in classes:
        assert [drawings.read(image / 255) for image in one.images] == [(one.name, i) for i in range(drawings.IMAGES)]
    episode = Episodes(classes, ways=3, shots=1, queries=2, seed=7).episode(4)
    like = ImageClasses.of({name: np.zeros((drawings.IMAGES, 28, 28), np.uint8) for name in drawings.NAMES})
    expected = Episodes(like, ways=3, shots=1, queries=2, seed=7).episode(4)
    assert episode.names == expected.names
    for images, rows in ((episode.support, expected.support_rows), (episode.query, expected.query_rows)):
        drawn = [(name, row) for name, own in zip(expected.names, rows.tolist()) for row in own]
        assert [drawings.read(image[0]) for image in images] == drawn


def test_a_part_is_read_alone(tmp_path):
    published(tmp_path)
    assert load_omniglot(tmp_path, part="background").names == BACKGROUND
    assert load_omniglot(tmp_path, part="evaluation").names == EVALUATION
    assert load_omniglot(tmp_path / "images_background", part="background").names == BACKGROUND


def test_images_are_resized_and_ink_is_255(tmp_path):
    published(tmp_path)
    classes = load_omniglot(tmp_path, size=14)
    assert classes.size == 14
    ink = np.mean([drawings.blocks(name, i).mean() for name in drawings.NAMES for i in range(drawings.IMAGES)])
    assert np.mean([one.images.mean() / 255 for one in classes]) == pytest.approx(ink, abs=0.01)


def only_background(folder):
    drawings.write(folder / "images_background", drawings.omniglot_files(105, "", BACKGROUND))


def too_deep(folder):
    drawings.write(folder / "raw" / "data", drawings.omniglot_files(28))


def flat_images(folder):
    drawings.write(folder, {f"a/{i}.png": drawings.drawing(drawings.NAMES[0], i, 28) for i in range(3)})


def coloured(folder):
    alphabets(folder)
    (folder / "Beta" / "character02" / "x.png").write_bytes(drawings.png(np.zeros((28, 28, 3), np.uint8), "RGB"))


def damaged(folder):
    alphabets(folder)
    (folder / "Beta" / "character02" / "x.png").write_bytes(b"no image")


def no_archive(folder):
    (folder / "omniglot_resized.zip").write_bytes(b"no archive")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (only_background, r"expected images_evaluation beside images_background .*part 'background' reads that alone"),
        (too_deep, r"\(got raw\); the nearest are .* raw/data/Alpha/.*; give the folder .*/raw/data$"),
        (flat_images, r"\(got a\); the nearest are images such as a/0.png, and they must lie in ALPHABET/CHARACTER/"),
        (lambda folder: None, r"\(got nothing\); there are no images in it"),
        (coloured, r"Beta/character02/x.png: expected an image in black and white or grey \(got RGB\)"),
        (damaged, r"Beta/character02/x.png cannot be read as an image"),
        (no_archive, r"omniglot_resized.zip cannot be read as a zip archive"),
    ],
)
def test_what_is_no_layout_is_one_error_with_the_nearest(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        load_omniglot(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_does_not_exist_is_named_with_what_lies_beside(tmp_path):
    (tmp_path / "omniglot").mkdir()
    with pytest.raises(DataError, match=r"exists \(got .*omniglott\); .* holds omniglot$"):
        load_omniglot(tmp_path / "omniglott")
    with pytest.raises(DataError, match="part: expected all, background or evaluation"):
        load_omniglot(tmp_path, part="train")


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no Omniglot")
def test_the_whole_of_omniglot():
    classes = load_omniglot(os.environ[VARIABLE])
    assert len(classes) == 1623 and {len(one.images) for one in classes} == {20}
    assert len({name.split("/")[0] for name in classes.names}) == 50
    assert np.mean([one.images.mean() for one in classes]) / 255 == pytest.approx(0.081, abs=0.002)
    splits = classes.split(1100, 100)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [1100, 100, 423]
