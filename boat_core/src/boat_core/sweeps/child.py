"""The process of one run of a sweep: `python -m boat_core.sweeps.child`.

The first line of stdin is the run as JSON. The last line of stdout is its outcome as JSON; what the run prints goes to
stderr. When stdin ends, the process that started this one is gone, and the run stops as it does after SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from .._util.atomic import json_text
from ..plugins.discovery import limited_imports
from .place import RunSpec


def main() -> int:
    """Carry out the run that stdin describes. The exit code is 0 whenever there is an outcome."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as outcome_file:
        os.dup2(2, 1)
        spec = RunSpec.of(json.loads(_first_line()))
        threading.Thread(target=_stop_with_the_sweep, daemon=True).start()
        with limited_imports():
            outcome = spec.carry_out()
        outcome_file.write(f"{json_text(outcome)}\n")
    return 0


def _first_line() -> bytes:
    """Read up to the first line end, and not a byte more, past Python's buffer."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise EOFError("stdin ended before the run was described")
        line += byte
    return bytes(line)


def _stop_with_the_sweep() -> None:
    """Wait for the end of stdin. A read by Python's buffer would hold a lock that the end of the process needs."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
