"""The import hook: whoever imports Jittor, `prepare()` runs before its first line and `select_device()` after its last.

What else is to happen then is handed to `install_import_hook`: this room knows nothing of the others.

The finder answers with Jittor's own spec, whose loader is wrapped until the module is really made. So asking
whether Jittor is installed (`importlib.util.find_spec`) prepares and compiles nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing's own costs more to import than all that is here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NAMES = ("jittor", "jittor_utils")
_then: list[Callable[[], None]] = []


class _Loader:
    """Stands in for Jittor's loader up to the moment when the module is created."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        from .preparation import prepare

        prepare()
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        if module.__name__ == "jittor":
            from .preparation import select_device

            sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
            select_device()
            for action in _then:
                action()


class _Finder:
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in _NAMES:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


def jittor_is_loaded() -> bool:
    """Whether Jittor is in this process already, that is, too late for its environment to be set."""
    return any(name in sys.modules for name in _NAMES)


def install_import_hook(then: Callable[[], None] | None = None) -> None:
    """Make any later `import jittor` in this process safe, and call `then` after it. Costs nothing until then."""
    if jittor_is_loaded() or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    if then is not None:
        _then.append(then)
