"""The import hook: `prepare()` runs before the first line of Jittor and `select_device()` after its last.

This holds whoever imports Jittor. `install_import_hook` takes what other rooms want to do at that moment, since this
room knows nothing of them.

The finder answers with Jittor's own spec. It wraps the loader only until the module is really created, so asking
whether Jittor is installed (`importlib.util.find_spec`) prepares and compiles nothing.
"""

from __future__ import annotations

import sys

from .loaded import PACKAGES, jittor_is_loaded

TYPE_CHECKING = False  # typing's own costs more to import than all that is here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .toolchain import StartBuild

_then: list[Callable[[], None]] = []
_beside: list[StartBuild] = []


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
        if module.__name__ == "jittor_utils":
            from .interrupts import make_pool_stoppable

            make_pool_stoppable(module)  # before Jittor starts the first pool, which it does during its import
        if module.__name__ == "jittor":
            from .preparation import select_device

            sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
            select_device(_beside)
            for action in _then:
                action()


class _Finder:
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in PACKAGES:
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


def install_import_hook(then: Callable[[], None] | None = None, beside: StartBuild | None = None) -> None:
    """Make any later `import jittor` in this process safe. Costs nothing until then.

    Args:
        then: is called after the import.
        beside: starts a build that is to run beside that of the header of Jittor's kernels.
    """
    if jittor_is_loaded() or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    if then is not None:
        _then.append(then)
    if beside is not None:
        _beside.append(beside)
