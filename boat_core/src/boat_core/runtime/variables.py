"""Environment variables: what the user set, and what BOAT set on top of it.

What BOAT sets is inherited by child processes, where it would look like the user's. So a record of it
travels along: for each name, the value before and the value given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

_RECORD = "BOAT_RUNTIME_ENV"


def user_value(name: str) -> str | None:
    """What the user set `name` to; None where it was not set, or only BOAT set it."""
    current = os.environ.get(name)
    before, ours = _record().get(name, (None, None))
    return before if ours is not None and current == ours else current


def apply(wanted: Mapping[str, str]) -> None:
    """Set these variables, and put back what an earlier call set and this one does not."""
    record = _record()
    users = {name: user_value(name) for name in {*record, *wanted}}
    for name, value in users.items():
        if name in wanted:
            os.environ[name] = wanted[name]
        elif value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ[_RECORD] = json.dumps({name: [users[name], value] for name, value in wanted.items()})


def _record() -> dict[str, tuple[str | None, str]]:
    try:
        stored = json.loads(os.environ.get(_RECORD, "{}"))
        return {str(name): (before, str(ours)) for name, (before, ours) in stored.items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # somebody else's text under our name: then nothing is known to be ours
