"""mini-ImageNet: 100 classes of ImageNet, 600 images each, in 84×84 pixels (Vinyals et al. 2016).

    train = load_mini_imagenet("data", "train")    whichever layout lies there

Layouts, in the order in which they are looked for; PART is train, val (or validation) or test:

    mini-imagenet-cache-PART.pkl                       {"image_data": (n, 84, 84, 3), "class_dict": {class: rows}}
    miniImageNet_category_split_PART.pickle            {"data": (n, 84, 84, 3), "labels": n numbers}
    PART.h5                                            BOML's: dataset X, the rows of one class after the other
    PART/CLASS/IMAGE.jpg                               folders by class
    PART.csv and images/IMAGE.jpg                      lines FILENAME,LABEL (Ravi and Larochelle 2017)
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .classes import ImageClasses
from .errors import DataError
from .files import existing, folder_tree, read_file
from .images import decode, require
from .pickles import load_arrays

#: The names that files give the parts.
PARTS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
#: Folders in which others keep the files.
INSIDE = (
    ".",
    "mini-imagenet",
    "miniimagenet",
    "mini_imagenet",
    "miniImageNet",
    "mini_v3",
    "imagenet/mini_v3",
    "splits",
)
#: What Gidaris and Komodakis call the parts in their pickles.
_CATEGORY = {"train": "train_phase_train", "val": "val", "test": "test"}

Images = Mapping[str, np.ndarray]


def load_mini_imagenet(folder: str | Path, part: str, size: int = 84, rows_per_class: int = 600) -> ImageClasses:
    """Read one part of mini-ImageNet.

    Args:
        folder: The folder.
        part: "train", "validation" or "test".
        size: The height and width of the images; image files of another size are resized.
        rows_per_class: For h5 files, which name no classes: the images of each.

    Returns:
        Classes called as in the files; those of an h5 file "0000", "0001", …

    Raises:
        DataError: no layout is there, or a file does not hold what it should. The message names the nearest layout.
    """
    if part not in PARTS:
        raise DataError(where="part", expected=" or ".join(PARTS), got=repr(part))
    path = existing(folder)
    if not path.is_dir():
        raise DataError(where="data", expected="a folder", got=str(path))
    readers: tuple[tuple[Callable[[Path, str], Path], Callable[[Path], Images]], ...] = (
        (lambda at, name: at / f"mini-imagenet-cache-{name}.pkl", _read_cache),
        (lambda at, name: at / f"miniImageNet_category_split_{_CATEGORY.get(name, name)}.pickle", _read_categories),
        (lambda at, name: at / f"{name}.h5", lambda file: _read_h5(file, rows_per_class)),
        (lambda at, name: at / name, lambda where: _read_folders(where, size)),
        (lambda at, name: at / f"{name}.csv", lambda file: _read_csv(file, path, size)),
    )
    for find, read in readers:
        for inside in INSIDE:
            for name in PARTS[part]:
                if (file := find(path / inside, name)).exists():
                    images = read(file)
                    _check(images, file, size)
                    return ImageClasses.of(images, str(file))
    raise _no_layout(path, part)


def _read_cache(file: Path) -> Images:
    content = load_arrays(file)
    if not isinstance(content, dict) or not {"image_data", "class_dict"} <= content.keys():
        raise _wrong(file, "a dictionary with image_data and class_dict", content)
    images, rows = content["image_data"], content["class_dict"]
    if not isinstance(images, np.ndarray) or not isinstance(rows, dict):
        raise _wrong(file, "an array image_data and a dictionary class_dict", content)
    places = {str(name): np.asarray(own) for name, own in rows.items()}
    for name, own in places.items():
        if own.dtype.kind not in "iu" or own.ndim != 1 or not len(own) or own.min() < 0 or own.max() >= len(images):
            expected = f"rows of image_data, 0 … {len(images) - 1}"
            raise DataError(where=(str(file), "class_dict", name), expected=expected, got=str(own[:5]))
    return {name: _rows(images, own) for name, own in places.items()}


def _rows(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some images: a view where the rows follow each other, so that a cache takes its memory once."""
    first = int(rows[0])
    follow = np.array_equal(rows, np.arange(first, first + len(rows)))
    return images[first : first + len(rows)] if follow else images[rows]


def _read_categories(file: Path) -> Images:
    content = load_arrays(file)
    if not isinstance(content, dict) or not {"data", "labels"} <= content.keys():
        raise _wrong(file, "a dictionary with data and labels", content)
    images, labels = content["data"], np.asarray(content["labels"])
    if not isinstance(images, np.ndarray) or labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise _wrong(file, "an array data, and as many whole numbers as labels", content)
    names = {number: name for name, number in content.get("catname2label", {}).items()}
    return {
        str(names.get(int(label), f"{label:04d}")): _rows(images, np.flatnonzero(labels == label))
        for label in np.unique(labels)
    }


def _read_h5(file: Path, rows: int) -> Images:
    library = require("h5py", "h5py", "h5")
    try:
        with library.File(file, "r") as content:
            if "X" not in content:
                raise DataError(where=str(file), expected="a dataset X", got=", ".join(content) or "none")
            images = np.asarray(content["X"])
    except OSError as error:
        raise DataError(f"{file} cannot be read as HDF5 ({error})", where="data") from error
    if len(images) % rows or not len(images):
        expected, hint = f"a multiple of {rows} images, {rows} of each class", "see rows_per_class"
        raise DataError(where=(str(file), "X"), expected=expected, got=str(len(images)), hint=hint)
    return {f"{i:04d}": images[i * rows : (i + 1) * rows] for i in range(len(images) // rows)}


def _read_folders(folder: Path, size: int) -> Images:
    tree = folder_tree(folder, 1)
    if not tree.names:
        expected, entries = "CLASS/IMAGE.jpg", sorted(entry.name for entry in folder.iterdir())[:5]
        raise DataError(where=str(folder), expected=expected, got=", ".join(entries) or "nothing")
    images: dict[str, list[np.ndarray]] = {}
    for name in tree.names:
        image = decode(tree.read(name), f"{folder}/{name}", size, grey=False)
        images.setdefault(name.partition("/")[0], []).append(image)
    return {name: np.stack(pictures) for name, pictures in images.items()}


def _read_csv(file: Path, path: Path, size: int) -> Images:
    folders = [file.parent / "images", file.parent.parent / "images", path / "images"]
    folder = next((one for one in folders if one.is_dir()), None)
    if folder is None:
        raise DataError(where=str(file), expected="a folder images beside the csv files", got="none")
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or not {"filename", "label"} <= rows[0].keys():
        got = ", ".join(map(str, rows[0])) if rows else "no line"
        raise DataError(where=str(file), expected="lines with filename and label", got=got)
    images: dict[str, list[np.ndarray]] = {}
    for number, row in enumerate(sorted(rows, key=lambda row: (row["label"], row["filename"]))):
        image = folder / str(row["filename"])
        if not image.is_file():
            expected = f"{image}, which a line of label {row['label']} names"
            raise DataError(where=str(file), expected=expected, got=f"no such file ({number} are there)")
        images.setdefault(row["label"], []).append(decode(read_file(image), str(image), size, grey=False))
    return {name: np.stack(pictures) for name, pictures in images.items()}


def _check(images: Images, file: Path, size: int) -> None:
    for name, array in images.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != (size, size, 3):
            expected = f"uint8 images of {size}×{size} pixels and 3 channels"
            got = f"{array.dtype} of shape {array.shape}"
            raise DataError(where=(str(file), name), expected=expected, got=got)


def _wrong(file: Path, expected: str, content: object) -> DataError:
    got = f"keys {', '.join(map(str, content))}" if isinstance(content, dict) else type(content).__name__
    return DataError(where=str(file), expected=expected, got=got)


def _no_layout(path: Path, part: str) -> DataError:
    names = PARTS[part]
    files = (
        f"mini-imagenet-cache-{names[-1]}.pkl",
        f"{names[0]}.h5",
        f"{names[0]}/CLASS/",
        f"{names[0]}.csv and images/",
    )
    entries = sorted(entry.name for entry in path.iterdir())
    got = ", ".join([*entries[:6], *(["…"] if len(entries) > 6 else [])]) or "nothing"
    # Other parts may be there, and then the layout is known.
    others = [other for other in PARTS if other != part and _has(path, other)]
    hint = f"the part {others[0]} is there, {part} is not" if others else None
    if hint is None and (path / "images").is_dir():
        hint = f"images/ is there; the csv files of the split are not ({names[0]}.csv)"
    return DataError(where=str(path), expected=", or ".join(files), got=got, hint=hint)


def _has(path: Path, part: str) -> bool:
    patterns = ("mini-imagenet-cache-{}.pkl", "{}.h5", "{}", "{}.csv")
    return any((path / at / p.format(name)).exists() for at in INSIDE for p in patterns for name in PARTS[part])
