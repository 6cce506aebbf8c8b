"""Omniglot: 1,623 characters of 50 alphabets, 20 drawings each (Lake, Salakhutdinov and Tenenbaum, Science 2015).

    classes = load_omniglot("data")                whichever layout lies there
    splits = classes.split(1100, 100)              train, validation, and the rest for test

Layouts, each as a folder or as a zip archive, with images of any size, ink black:

    images_background/ALPHABET/CHARACTER/IMAGE.png and images_evaluation/…     as published, and as torchvision keeps it
    omniglot_resized/ALPHABET/CHARACTER/IMAGE.png                              as MAML and BOML keep it
    ALPHABET/CHARACTER/IMAGE.png                                               the alphabets themselves
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .classes import ImageClasses
from .errors import DataError
from .files import Tree, existing, folder_tree, zip_tree
from .images import decode

#: The parts as published, by the name that `load_omniglot` gives them.
PARTS = {"background": "images_background", "evaluation": "images_evaluation"}
RESIZED = "omniglot_resized"
#: Folders in which loaders of others keep the parts.
INSIDE = (".", "omniglot-py", "omniglot", "Omniglot")


def load_omniglot(folder: str | Path, part: str = "all", size: int = 28) -> ImageClasses:
    """Read Omniglot.

    Args:
        folder: The folder, or a zip archive.
        part: "all", or "background" (964 characters) or "evaluation" (659) of the published layout.
        size: The height and width of the images; those of another size are resized.

    Returns:
        Classes called ALPHABET/CHARACTER. Ink is 255, paper 0.

    Raises:
        DataError: no layout is there, or a file is no grey image. The message names the nearest layout.
    """
    if part not in ("all", *PARTS):
        raise DataError(where="part", expected=f"all, {' or '.join(PARTS)}", got=repr(part))
    path = existing(folder)
    trees = _published(path, part)
    if not trees and part == "all":
        trees = _whole(path)
    if not trees:
        raise _no_layout(path, part)
    images: dict[str, list[np.ndarray]] = {}
    for tree in trees:
        for name in tree.names:
            alphabet, character, _ = name.split("/")
            ink = 255 - decode(tree.read(name), f"{tree.place}/{name}", size, grey=True)
            images.setdefault(f"{alphabet}/{character}", []).append(ink)
    return ImageClasses.of({name: np.stack(drawings) for name, drawings in images.items()}, str(path))


def _published(path: Path, part: str) -> list[Tree]:
    """Return the trees of the published parts that are asked for; none if nothing of that layout is there."""
    wanted = list(PARTS.values()) if part == "all" else [PARTS[part]]
    for where in _places(path):
        trees = {name: tree for name in PARTS.values() if (tree := _named(where, name))}
        if missing := [name for name in wanted if trees and name not in trees]:
            have, of_part = next(iter(trees)), next(key for key, name in PARTS.items() if name in trees)
            expected, hint = f"{missing[0]} beside {have}", f"part {of_part!r} reads that alone"
            raise DataError(where=str(path), expected=expected, got="none", hint=hint)
        if trees:
            return [trees[name] for name in wanted]
    return []


def _whole(path: Path) -> list[Tree]:
    """Return the tree of all alphabets in one folder, or none."""
    for where in _places(path):
        if tree := _named(where, RESIZED):
            return [tree]
    tree = _of_depth(zip_tree(path) if path.is_file() else folder_tree(path, 2))
    return [tree] if tree.names else []


def _places(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else (path / inside for inside in INSIDE)


def _named(where: Path, name: str) -> Tree | None:
    """Return the tree of the folder or archive `name` in a folder, or of the folder `name` in an archive."""
    if where.is_file():
        tree = zip_tree(where)
        tree = tree.below(name) if name in tree.folders else Tree(tree.place, (), tree.read)
    elif (where / name).is_dir():
        tree = folder_tree(where / name, 2)
    elif where.name == name and where.is_dir():
        tree = folder_tree(where, 2)
    elif (archive := where / f"{name}.zip").is_file():
        tree = zip_tree(archive)
        tree = tree.below(name) if name in tree.folders else tree
    else:
        return None
    tree = _of_depth(tree)
    return tree if tree.names else None


def _of_depth(tree: Tree) -> Tree:
    """Return the images that lie in ALPHABET/CHARACTER/."""
    return Tree(tree.place, tuple(name for name in tree.names if name.count("/") == 2), tree.read)


def _no_layout(path: Path, part: str) -> DataError:
    layouts = f"{PARTS['background']} and {PARTS['evaluation']}, {RESIZED}, or ALPHABET/CHARACTER/IMAGE.png"
    if part != "all":
        layouts = f"{PARTS[part]}, as a folder or as a zip archive"
    return DataError(where=str(path), expected=layouts, got=_contents(path), hint=_nearest(path))


def _contents(path: Path) -> str:
    entries = zip_tree(path).folders if path.is_file() else sorted(entry.name for entry in path.iterdir())
    return ", ".join([*entries[:6], *(["…"] if len(entries) > 6 else [])]) or "nothing"


def _nearest(path: Path) -> str:
    """Say at which depth there are images, where there are any."""
    names = zip_tree(path).names if path.is_file() else ()
    for depth in (0, 1, 3, 4):
        if path.is_dir():
            names = folder_tree(path, depth).names
        if images := [name for name in names if name.count("/") == depth]:
            wanted = "they must lie in ALPHABET/CHARACTER/"
            above = "/".join(images[0].split("/")[: depth - 2])
            inside = f"; give the folder {path / above}" if depth > 2 and path.is_dir() else ""
            return f"the nearest are images such as {images[0]}, and {wanted}{inside}"
    return "there are no images in it"
