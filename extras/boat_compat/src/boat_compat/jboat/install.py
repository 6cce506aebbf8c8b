"""`install()` makes `import jboat` and `import boat_jit` work where neither is installed."""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from importlib import import_module

from boat_core import RunError

NAMES = ("jboat", "boat_jit")
#: Modules that JBOAT does not have.
_OWN = frozenset({"_layer", "converting", "install", "as_problem", "read_script", "__main__"})


def install() -> None:
    """Let `jboat` and `boat_jit`, with all their modules, stand for this package.

    Raises:
        RunError: one of them is really installed, or another module of that name was imported.
    """
    package = import_module(__package__)
    for name in NAMES:
        if sys.modules.get(name) is package:
            continue
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            hint = f"pip uninstall {name}, or write `import boat_compat.jboat as boat` in the script"
            raise RunError(f"{name} is installed; boat_compat does not replace it", hint=hint)
    own = [package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]
    for own_name in own:
        if any(part in _OWN for part in own_name.split(".")):
            continue
        for name in NAMES:
            sys.modules[name + own_name.removeprefix(package.__name__)] = import_module(own_name)
