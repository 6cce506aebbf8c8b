"""Makes Ctrl-C raise KeyboardInterrupt again after Jittor was imported.

Jittor's import installs handlers in C that end the process at once: at an interrupt, and at the death of a child, such
as a compiler that the same Ctrl-C has reached. It also starts a pool of worker processes. They die of that Ctrl-C, and
then the process hangs at its exit.
"""

from __future__ import annotations

import atexit
import signal
import sys
from typing import Any


def make_interruptible() -> None:
    """Put Python's signal handlers back. Without Jittor, or outside the main thread, nothing changes."""
    dismiss_workers()
    try:
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
        signal.signal(signal.SIGCHLD, signal.getsignal(signal.SIGCHLD))
    except (TypeError, ValueError):  # a handler that is not Python's, or not the main thread
        pass


def dismiss_workers() -> None:
    """End Jittor's pool of compiling processes, if there is one. Jittor starts another when it needs one."""
    jittor_utils: Any = sys.modules.get("jittor_utils")
    if getattr(jittor_utils, "pool_size", 0) and hasattr(jittor_utils, "p"):
        atexit.unregister(jittor_utils.pool_cleanup)
        jittor_utils.pool_cleanup()
        jittor_utils.pool_size = 0
