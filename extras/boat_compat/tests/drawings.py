"""Small data sets in the layouts of others. Each image holds the numbers of its class and of itself in blocks."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from PIL import Image

ALPHABETS = {"Alpha": ("character01", "character02"), "Beta": ("character01", "character02", "character03")}
NAMES = [f"{alphabet}/{character}" for alphabet, characters in ALPHABETS.items() for character in characters]
IMAGES = 6
BLOCKS = 7


def blocks(name: str, number: int) -> np.ndarray:
    """7×7 bits: the class in the first row, the number of the image in the second; ink is True."""
    bits = np.zeros((BLOCKS, BLOCKS), dtype=bool)
    bits[0] = [int(bit) for bit in f"{NAMES.index(name) + 1:07b}"]
    bits[1] = [int(bit) for bit in f"{number + 1:07b}"]
    return bits


def read(pixels: np.ndarray) -> tuple[str, int]:
    """The class and the number that an image of 28×28 in 0 … 1, ink 1, holds."""
    bits = pixels.reshape(BLOCKS, 4, BLOCKS, 4)[:, 1:3, :, 1:3].mean(axis=(1, 3)) > 0.5
    of_class, number = (int("".join(str(int(bit)) for bit in row), 2) - 1 for row in bits[:2])
    return NAMES[of_class], number


def png(array: np.ndarray, mode: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).convert(mode).save(content, "PNG")
    return content.getvalue()


def drawing(name: str, number: int, size: int) -> bytes:
    """A 1-bit drawing, ink black."""
    paper = np.where(np.kron(blocks(name, number), np.ones((size // BLOCKS, size // BLOCKS))), 0, 255)
    return png(paper.astype(np.uint8), "1")


def omniglot_files(size: int, top: str = "", names=NAMES) -> dict[str, bytes]:
    return {
        f"{top}{name}/{NAMES.index(name):04d}_{number + 1:02d}.png": drawing(name, number, size)
        for name in names
        for number in range(IMAGES)
    }


def write(folder, files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_zip(path, files) -> None:
    """Write an archive whose entries are in the reverse order of their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files, reverse=True):
            archive.writestr(name, files[name])


def colours(classes: int = 2, images: int = 3, size: int = 84) -> dict[str, np.ndarray]:
    """Classes of colour images, each of one colour that holds class and number."""
    return {
        f"n{i:08d}": np.stack([np.full((size, size, 3), (40 * i, 20 * j, 90), np.uint8) for j in range(images)])
        for i in range(classes)
    }
