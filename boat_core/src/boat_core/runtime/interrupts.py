"""Ctrl-C as Python means it, in a process that has imported Jittor.

Jittor's import installs handlers in C that end the process where it stands: at an interrupt, and at the death of a
child, such as a compiler that the same Ctrl-C has reached. It also leaves a pool of worker processes behind, which die
of that Ctrl-C and let the process hang at its exit.
"""

from __future__ import annotations

import atexit
import signal
import sys
from typing import Any


def make_interruptible() -> None:
    """Put Python's handlers back. Without Jittor, or in a thread that is not the main one, nothing changes."""
    dismiss_workers()
    try:
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
        signal.signal(signal.SIGCHLD, signal.getsignal(signal.SIGCHLD))
    except (TypeError, ValueError):  # a handler that is not Python's, or not the main thread
        pass


def dismiss_workers() -> None:
    """End Jittor's pool of compiling processes, if there is one; Jittor starts another when it needs it."""
    jittor_utils: Any = sys.modules.get("jittor_utils")
    if getattr(jittor_utils, "pool_size", 0) and hasattr(jittor_utils, "p"):
        atexit.unregister(jittor_utils.pool_cleanup)
        jittor_utils.pool_cleanup()
        jittor_utils.pool_size = 0
