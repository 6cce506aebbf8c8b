"""Splits by class and episodes: disjoint, the same for the same seed, and whatever the order of the classes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from boat_compat.few_shot import DataError, Episodes, ImageClass, ImageClasses

NAMES = [f"class {i}" for i in range(12)]


def classes_of(names=NAMES, images=8, channels=()):
    """Image j of class i has the value 10 i + j in its upper left corner, and is not symmetric."""
    made = {}
    for name in names:
        own = np.zeros((images, 4, 4, *channels), np.uint8)
        own[:, 0, 0] = (10 * NAMES.index(name) + np.arange(images)).reshape(-1, *(1 for _ in channels))
        own[:, 1, 0] = 255
        made[name] = own
    return ImageClasses.of(made)


def test_support_and_query_are_disjoint_and_balanced_in_every_episode():
    episodes = Episodes(classes_of(), ways=4, shots=2, queries=3)
    seen = set()
    for number in range(1000):
        episode = episodes.episode(number)
        assert len(set(episode.names)) == 4
        for label, name in enumerate(episode.names):
            corners = [
                10 * NAMES.index(name) + row for row in (*episode.support_rows[label], *episode.query_rows[label])
            ]
            assert len(set(corners)) == 5
            images = [*episode.support[episode.support_labels == label], *episode.query[episode.query_labels == label]]
            assert [round(float(image[0, 0, 0]) * 255) for image in images] == corners
            seen.add((label, name))
    assert len(seen) == 4 * len(NAMES)  # a class has every label in some episode
    assert episode.support.shape == (8, 1, 4, 4) and episode.query.shape == (12, 1, 4, 4)
    assert episode.support.dtype == np.float32
    (_, labels), (_, others) = episode.pair
    assert labels.tolist() == np.eye(4).repeat(2, axis=0).tolist() and others.shape == (12, 4)


def test_episodes_depend_on_the_seed_and_their_number_alone():
    classes = classes_of()
    backwards = ImageClasses([ImageClass(one.name, one.images) for one in reversed(classes)])

    def drawn(classes, seed, number):
        episode = Episodes(classes, 3, 1, 2, seed=seed).episode(number)
        return episode.names, episode.support_rows.tolist(), episode.query_rows.tolist()

    assert drawn(classes, 1, 5) == drawn(classes, 1, 5) == drawn(backwards, 1, 5)
    assert len({str(drawn(classes, seed, number)) for seed in (1, 2) for number in (5, 6)}) == 4


@pytest.mark.parametrize("seed", [0, 1, None])
def test_splits_share_no_class_and_do_not_depend_on_the_order(seed):
    classes = classes_of()
    backwards = ImageClasses([ImageClass(one.name, one.images) for one in reversed(classes)])
    splits, other = classes.split(6, 2, seed=seed), backwards.split(6, 2, seed=seed)
    parts = [part.names for part in (splits.train, splits.validation, splits.test)]
    assert parts == [part.names for part in (other.train, other.validation, other.test)]
    assert [len(part) for part in parts] == [6, 2, 4]
    assert all(not set(a) & set(b) for a, b in combinations(parts, 2))
    exact = classes.split(6, 2, 1, seed=seed)
    assert len(exact.test) == 1 and exact.test.names[0] in parts[2]
    assert classes.split(12, 0, seed=seed).test is None


def test_seeds_give_different_splits_and_a_removed_class_moves_few():
    classes = classes_of()
    first, second = (set(classes.split(6, 2, seed=seed).train.names) for seed in (0, 1))
    assert first != second
    fewer = classes_of([name for name in NAMES if name != min(first)])
    assert len(set(fewer.split(6, 2).train.names) & first) == 5


def test_rotations_are_new_classes_of_turned_images():
    classes = classes_of(["class 1", "class 2"])
    turned = classes.rotated()
    assert turned.names[:4] == ["class 1", "class 1 turned 180", "class 1 turned 270", "class 1 turned 90"]
    for one in turned:
        base, degrees = one.name[:7], int(one.name[15:] or 0)
        images = classes[classes.names.index(base)].images
        np.testing.assert_array_equal(one.pixels(np.arange(8)), [np.rot90(i, degrees // 90) for i in images])
    with pytest.raises(DataError, match="split the classes before turning them"):
        turned.split(1, 1)


def test_colour_images_come_channel_first_and_normalised():
    episodes = Episodes(classes_of(channels=(3,)), 2, 1, 1, mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.5, 0.25))
    image = episodes.episode(0).support[0]
    assert image.shape == (3, 4, 4)
    np.testing.assert_allclose(image[:, 1, 0], [1.8, 1.6, 2.8], rtol=1e-6)
    np.testing.assert_allclose(image[:, 3, 3], [-0.2, -0.4, -1.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Episodes(classes_of(), ways=13), r"expected at least 13 classes \(got 12\)"),
        (
            lambda: Episodes(classes_of(), shots=3, queries=6),
            r"at least 3 \+ 6 images in class class 0 \(got 8\)",
        ),
        (lambda: Episodes(classes_of(), shots=0), "expected ways, shots and queries >= 1"),
        (lambda: classes_of().split(10, 3), r"expected at least 13 classes for a split 10/3/rest \(got 12\)"),
        (lambda: classes_of().split(-1, 3), "expected numbers of classes >= 0"),
        (lambda: ImageClasses([]), "expected at least one class"),
        (lambda: ImageClasses([*classes_of(), *classes_of()]), "two classes are called class 0"),
        (
            lambda: ImageClasses.of({"a": np.zeros((2, 4, 4), np.uint8), "b": np.zeros((2, 5, 4), np.uint8)}),
            r"expected images of one size \(got \(4, 4\), \(5, 4\)\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_an_error_with_the_numbers(make, message):
    with pytest.raises(DataError, match=message):
        make()
