"""Reads images with Pillow: bytes to arrays of one size."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from .errors import DataError

#: Endings of files that are images, in lower case.
ENDINGS = (".png", ".jpg", ".jpeg")
_GREY = ("1", "L")


def require(module: str, package: str, extra: str) -> Any:
    """Import an optional library.

    Raises:
        DataError: it is not installed. The message has the command that installs it.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        hint = f"pip install 'boat-compat[{extra}]'"
        raise DataError(f"reading this data needs {package} ({error})", where="data", hint=hint) from error


def decode(content: bytes, place: str, size: int, grey: bool) -> np.ndarray:
    """Return an image as uint8 of shape (size, size), or (size, size, 3) in colour.

    Args:
        content: The bytes of the file.
        place: Its path, for errors.
        size: The height and width of the result. Images of another size are resized by Lanczos' filter.
        grey: Whether the image must be grey.

    Raises:
        DataError: the file is no image, or not grey.
    """
    library = require("PIL.Image", "Pillow", "images")
    try:
        image = library.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise DataError(f"{place} cannot be read as an image ({error})", where="data") from error
    if grey and image.mode not in _GREY:
        raise DataError(where=place, expected="an image in black and white or grey", got=image.mode)
    image = image.convert("L" if grey else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), library.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8)


def is_image(name: str) -> bool:
    """Whether a file is an image by its name. Hidden files, and those that archives of macOS hold beside, are not."""
    parts = name.replace("\\", "/").split("/")
    return name.lower().endswith(ENDINGS) and not any(part.startswith((".", "__MACOSX")) for part in parts)
