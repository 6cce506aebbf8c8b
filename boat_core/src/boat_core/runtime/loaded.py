"""Whether Jittor is in this process already, too late for its environment to be set."""

from __future__ import annotations

import sys

#: Jittor's packages: importing either one starts what `prepare()` must come before.
PACKAGES = ("jittor", "jittor_utils")


def jittor_is_loaded() -> bool:
    """Whether Jittor has been imported."""
    return any(name in sys.modules for name in PACKAGES)
