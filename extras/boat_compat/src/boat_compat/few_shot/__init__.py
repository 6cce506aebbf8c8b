"""Few-shot data: Omniglot and mini-ImageNet in the layouts that users have, and episodes drawn from them.

    classes = load_omniglot("data").split(1100, 100).train.rotated()
    episode = Episodes(classes, ways=5, shots=1, queries=15).episode(0)

Nothing is downloaded. Images need Pillow (`pip install 'boat-compat[images]'`), h5 files h5py
(`pip install 'boat-compat[h5]'`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "classes": "ImageClass ImageClasses Splits",
    "episodes": "Episode Episodes",
    "errors": "DataError",
    "mini_imagenet": "load_mini_imagenet",
    "omniglot": "load_omniglot",
    "pickles": "load_arrays",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    # The plugin of this distribution imports this package, and must not import numpy.
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
