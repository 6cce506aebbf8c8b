"""Everything that must happen before and around `import jittor`.

At import Jittor reads the environment to decide which compilers it uses, whether it downloads oneDNN and whether it
uses CUDA. This room sets those variables first. It imports only the standard library, and its parts load on first use,
because `import boat_core` passes through here.
"""

from __future__ import annotations

from .hook import install_import_hook

TYPE_CHECKING = False  # typing's own costs more to import than all that is here
if TYPE_CHECKING:
    from typing import Any

    from .doctor import built_core, facts
    from .errors import RuntimeSetupError
    from .kernel_watch import KernelWatch
    from .plan import Decision, Decisions
    from .preparation import prepare, select_device

_HOMES = {
    "Decision": "plan",
    "Decisions": "plan",
    "KernelWatch": "kernel_watch",
    "RuntimeSetupError": "errors",
    "built_core": "doctor",
    "facts": "doctor",
    "prepare": "preparation",
    "select_device": "preparation",
}

__all__ = [
    "Decision",
    "Decisions",
    "KernelWatch",
    "RuntimeSetupError",
    "built_core",
    "facts",
    "install_import_hook",
    "prepare",
    "select_device",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
