"""Reads pickles of arrays without running what a pickle could run.

A pickle can name any function of any module and have it called. This reader knows the few names of which pickles of
numpy arrays consist, and refuses every other one before it is imported.
"""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, by which old pickles write bytes, for the one encoding that they use."""
    if encoding != "latin1":
        raise DataError(where="pickle", expected="the encoding latin1", got=repr(encoding))
    return codecs.encode(text, "latin1")


def _dtype(name: Any, *flags: Any) -> np.dtype:
    """`numpy.dtype` for numbers and texts. An array of objects would hold whatever the pickle makes."""
    made = np.dtype(name, *flags)
    if made.kind not in "biufcSU":
        raise _Refused(f"arrays of dtype {made}")
    return made


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): getattr(getattr(np.core, module), name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    },
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a persistent object")


class _Refused(Exception):
    pass


def load_arrays(path: Path) -> Any:
    """Return the content of a pickle of numpy arrays, numbers, texts, lists, tuples and dictionaries.

    Raises:
        DataError: the pickle names anything else, or is damaged. Nothing that it names has run.
    """
    try:
        with path.open("rb") as file:
            # latin1 is how pickles of Python 2 hold the bytes of arrays; those of Python 3 do not mind.
            content = _Restricted(file, encoding="latin1").load()
    except _Refused as refused:
        message = f"this pickle asks for {refused}"
        expected, hint = "numpy arrays in dictionaries and lists alone", "nothing of it was run"
        raise DataError(message, where=str(path), expected=expected, hint=hint) from None
    except DataError as error:
        raise error.within(str(path)) from None
    except Exception as error:
        raise DataError(f"{path} cannot be read as a pickle of arrays ({error})", where="data") from error
    return content
