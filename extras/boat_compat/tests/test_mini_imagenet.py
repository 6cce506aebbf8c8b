"""mini-ImageNet in every layout, pickles that would run code, and files that do not hold what they should."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from boat_compat.few_shot import DataError, load_arrays, load_mini_imagenet

pytest.importorskip("PIL", reason="Pillow draws the images")
sys.path.insert(0, str(Path(__file__).parent))
try:
    import drawings
finally:
    sys.path.pop(0)

IMAGES = drawings.colours()
STACKED = np.concatenate(list(IMAGES.values()))
ROWS = {name: list(range(3 * i, 3 * i + 3)) for i, name in enumerate(IMAGES)}


def dump(path, content, protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def cache(folder, name="train", protocol=2):
    dump(folder / f"mini-imagenet-cache-{name}.pkl", {"image_data": STACKED, "class_dict": ROWS}, protocol)


def categories(folder):
    labels = [i for i, name in enumerate(IMAGES) for _ in IMAGES[name]]
    names = {name: i for i, name in enumerate(IMAGES)}
    content = {"data": STACKED, "labels": labels, "catname2label": names}
    dump(folder / "miniImageNet_category_split_train_phase_train.pickle", content)


def h5(folder):
    library = pytest.importorskip("h5py")
    with library.File(folder / "train.h5", "w") as file:
        file["X"] = STACKED


def named_files(pattern):
    return {
        pattern.format(name, i): drawings.png(image, "RGB")
        for name, images in IMAGES.items()
        for i, image in enumerate(images)
    }


def folders(folder, inside="."):
    files = named_files("{}/{}.png")
    drawings.write(folder / inside / "train", files)


def csv_files(folder, lines=()):
    files = named_files("{}{}.png")
    drawings.write(folder / "images", files)
    rows = [f"{n}{i}.png,{n}" for n, images in IMAGES.items() for i in reversed(range(len(images)))]
    (folder / "train.csv").write_text("\n".join(["filename,label", *rows, *lines]) + "\n", "utf8")


LAYOUTS = {
    "a cache of Python 2's protocol": cache,
    "a cache of the newest protocol": lambda folder: cache(folder, protocol=pickle.HIGHEST_PROTOCOL),
    "a cache inside a folder": lambda folder: cache(folder / "mini-imagenet"),
    "categories": categories,
    "h5": h5,
    "folders": folders,
    "folders of BOML": lambda folder: folders(folder, "imagenet/mini_v3"),
    "csv": csv_files,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(layout, tmp_path):
    LAYOUTS[layout](tmp_path)
    classes = load_mini_imagenet(tmp_path, "train", rows_per_class=3)
    if layout != "h5":  # which names no classes
        assert classes.names == list(IMAGES)
    assert (classes.size, classes.channels) == (84, 3)
    for one, images in zip(classes, IMAGES.values()):
        np.testing.assert_array_equal(one.images, images)


@pytest.mark.parametrize("name", ["val", "validation"])
def test_validation_goes_by_two_names(name, tmp_path):
    cache(tmp_path, name)
    assert load_mini_imagenet(tmp_path, "validation").names == list(IMAGES)


class Trap:
    """Its pickle calls os.mkdir."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "content",
    [
        lambda trap: {"image_data": trap, "class_dict": {}},
        lambda trap: {"image_data": np.array([trap, None]), "class_dict": {}},
        lambda trap: {"image_data": STACKED, "class_dict": {"a": [trap]}},
    ],
    ids=["in place of the images", "in an array of objects", "in a list"],
)
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(content, tmp_path):
    trap = tmp_path / "trap"
    dump(tmp_path / "mini-imagenet-cache-train.pkl", content(Trap(trap)))
    asks = r"train.pkl: this pickle asks for ((posix|nt).mkdir|arrays of dtype object): expected numpy arrays"
    with pytest.raises(DataError, match=asks):
        load_mini_imagenet(tmp_path, "train")
    assert not trap.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x01a\x8c\x01b\x86R.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"\x80\x02U\x01aQ.",
        b"(lp0",
        b"",
    ],
)
def test_other_names_attributes_persistent_objects_and_damaged_pickles_are_refused(code, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(code)
    with pytest.raises(DataError):
        load_arrays(path)


def test_arrays_of_all_kinds_come_back(tmp_path):
    content = {"a": np.arange(3.0), "b": [np.int64(3), "text", b"bytes", None], "c": np.array(["x"]), "d": (1, {2.5})}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol < 4:
            content["d"] = (1, 2.5)  # a set has no code of its own before
        dump(tmp_path / "x.pkl", content, protocol)
        read = load_arrays(tmp_path / "x.pkl")
        np.testing.assert_array_equal(read["a"], content["a"])
        assert read["b"] == content["b"] and read["c"].tolist() == ["x"] and read["d"] == content["d"]


def no_images(folder):
    csv_files(folder)
    (folder / "images").rename(folder / "pictures")


def wrong_keys(folder):
    dump(folder / "mini-imagenet-cache-train.pkl", {"image_data": STACKED})


def wrong_rows(folder):
    dump(folder / "mini-imagenet-cache-train.pkl", {"image_data": STACKED, "class_dict": {"n0": [99]}})


def wrong_size(folder):
    dump(folder / "mini-imagenet-cache-train.pkl", {"image_data": STACKED[:, :10, :10], "class_dict": ROWS})


def images_alone(folder):
    drawings.write(folder / "images", {"a.png": drawings.png(STACKED[0], "RGB")})


def damaged(folder):
    folders(folder)
    (folder / "train" / next(iter(IMAGES)) / "x.jpg").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"expected mini-imagenet-cache-train.pkl, or .*train.csv and images/ \(got nothing\)"),
        (lambda folder: cache(folder, "test"), "the part test is there, train is not"),
        (images_alone, r"images/ is there; the csv files of the split are not \(train.csv\)"),
        (no_images, r"train.csv: expected a folder images beside the csv files"),
        (lambda folder: csv_files(folder, ["gone.png,n9"]), r"expected .*gone.png, which a line of label n9 names"),
        (wrong_keys, r"expected a dictionary with image_data and class_dict \(got keys image_data\)"),
        (wrong_rows, r"class_dict.n0: expected rows of image_data, 0 … 5 \(got \[99\]\)"),
        (wrong_size, r"expected uint8 images of 84×84 pixels and 3 channels \(got uint8 of shape \(3, 10, 10, 3\)\)"),
        (damaged, r"x.jpg cannot be read as an image"),
        (lambda folder: (folder / "train").mkdir(), r"train: expected CLASS/IMAGE.jpg \(got nothing\)"),
    ],
)
def test_what_is_no_layout_is_one_error_with_the_nearest(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        load_mini_imagenet(tmp_path, "train")
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_h5_whose_images_do_not_divide_is_refused(tmp_path):
    h5(tmp_path)
    with pytest.raises(DataError, match=r"expected a multiple of 600 images, 600 of each class \(got 6\)"):
        load_mini_imagenet(tmp_path, "train")


def test_missing_libraries_are_named_with_the_command(tmp_path, monkeypatch):
    folders(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DataError, match=r"needs Pillow .*; pip install 'boat-compat\[images\]'"):
        load_mini_imagenet(tmp_path, "train")
