"""Environment variables: those of the user, and those that BOAT set over them.

Child processes inherit what BOAT sets and would take it for the user's choice. So BOAT also sets a variable that
records, for each name, the value before and the value that BOAT set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

_RECORD = "BOAT_RUNTIME_ENV"


def user_value(name: str) -> str | None:
    """Return the user's value of `name`; None if only BOAT set it, or nobody."""
    current = os.environ.get(name)
    before, ours = _record().get(name, (None, None))
    return before if ours is not None and current == ours else current


def apply(wanted: Mapping[str, str]) -> None:
    """Set these variables, and restore those that an earlier call set and this one does not."""
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
        return {}  # another program uses the name: then no variable counts as set by BOAT
