"""Makes Ctrl-C raise KeyboardInterrupt again after Jittor was imported.

Jittor's import installs handlers in C that end the process at once: at an interrupt, and at the death of a child, such
as a compiler that the same Ctrl-C has reached. It also starts a pool of worker processes. They die of that Ctrl-C, and
then the process hangs at its exit.

The pool has a second trap. Jittor ends it by SIGTERM and waits for its processes. A forked process inherits the
handlers of its parent, and in a process with a handler of its own, such as a worker of Ray, it survives that signal.
"""

from __future__ import annotations

import atexit
import functools
import signal
import sys
from collections.abc import Callable
from typing import Any


def make_interruptible() -> None:
    """Put Python's signal handlers back. Without Jittor, or outside the main thread, nothing changes."""
    dismiss_workers()
    try:
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
        signal.signal(signal.SIGCHLD, signal.getsignal(signal.SIGCHLD))
    except (TypeError, ValueError):  # a handler that is not Python's, or not the main thread
        pass


def make_pool_stoppable(jittor_utils: Any) -> None:
    """Let SIGTERM end the processes of Jittor's pool, whatever handler this process has for it."""
    jittor_utils.pool_initializer = functools.partial(_start_worker, jittor_utils.pool_initializer)


def _start_worker(initialize: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    initialize()


def dismiss_workers() -> None:
    """End Jittor's pool of compiling processes, if there is one. Jittor starts another when it needs one."""
    jittor_utils: Any = sys.modules.get("jittor_utils")
    if getattr(jittor_utils, "pool_size", 0) and hasattr(jittor_utils, "p"):
        atexit.unregister(jittor_utils.pool_cleanup)
        jittor_utils.pool_cleanup()
        jittor_utils.pool_size = 0
