"""`python -m boat_compat.jboat SCRIPT [ARGUMENTS]`: run a script of JBOAT's as it is, after `install()`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from .install import install


def main(arguments: list[str]) -> None:
    """Run a script as the main program, with its arguments."""
    if not arguments:
        sys.exit("usage: python -m boat_compat.jboat SCRIPT [ARGUMENTS]")
    install()
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).resolve().parent)
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
