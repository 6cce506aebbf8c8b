"""One of JBOAT's two JSON files, read key by key. Every error names the file and the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from boat_core import BoatError, ConfigError

#: The keys of releases before 2025-12-31, by the key of today.
OLD_KEYS = {
    "fo_op": "fo_gm",
    "gm_op": "dynamic_op",
    "na_op": "hyper_op",
    "VSO": "VSM",
    "VFO": "VFM",
    "MESO": "MESM",
    "PGDO": "PGDM",
    "updata_y_ahead": "update_y_ahead",
    "fogm_batch_input": "fo_ol_batch_input",
}
#: The names of operations before 2025-12-31, by the name of today.
OLD_NAMES = {old: new for new, old in OLD_KEYS.items() if new.isupper()}

_MISSING = object()


@dataclass(frozen=True)
class Source:
    """A mapping of a file. It reads the caller's own dictionary, so changes that a script makes later are seen.

    Args:
        file: the name of the file in messages, such as "boat_config" or a path.
        content: the mapping.
        keys: the keys that lead to the mapping within the file.
    """

    file: str
    content: Mapping[str, Any]
    keys: tuple[str, ...] = ()

    def error(self, key: str | tuple[str, ...], message: str | None = None, **parts: Any) -> ConfigError:
        """Return an error at a key."""
        keys = key if isinstance(key, tuple) else (key,)
        return ConfigError(message, place=self.file, where=(*self.keys, *keys), **parts)

    def relocated(self, error: BoatError, *keys: str) -> ConfigError:
        """Return an error of BOAT's own as one at these keys."""
        parts = {"expected": error.expected, "got": error.got, "hint": error.hint}
        message = error.message if error.message or error.expected else str(error)
        return self.error(keys, message, **parts)

    def find(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, under its name of today or its old one."""
        for name in (key, OLD_KEYS.get(key, key)):
            if name in self.content:
                return self.content[name]
        return default

    def require(self, key: str, expected: str) -> Any:
        """Return the value of a key that must be there.

        Raises:
            ConfigError: it is missing. The message says what is expected, and names a key that looks like it.
        """
        value = self.find(key, _MISSING)
        if value is _MISSING:
            near = get_close_matches(key, [str(name) for name in self.content], n=1)
            raise self.error(key, "missing", expected=expected, hint=f"did you mean {near[0]!r}?" if near else None)
        return value

    def section(self, key: str) -> Source:
        """Return a mapping within this one."""
        value = self.require(key, "a mapping")
        if not isinstance(value, Mapping):
            raise self.error(key, expected="a mapping", got=repr(value))
        return Source(self.file, value, (*self.keys, key))

    def flag(self, key: str) -> bool:
        """Return true or false.

        Raises:
            ConfigError: the key is missing or holds something else.
        """
        value = self.require(key, "true or false")
        if not isinstance(value, bool):
            raise self.error(key, expected="true or false", got=repr(value))
        return value

    def number(self, key: str) -> float:
        """Return a number.

        Raises:
            ConfigError: the key is missing or holds something else.
        """
        value = self.require(key, "a number")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, expected="a number", got=repr(value))
        return value

    def integer(self, key: str, least: int) -> int:
        """Return an integer that is `least` or more.

        Raises:
            ConfigError: the key is missing or holds something else.
        """
        value = self.number(key)
        if value != int(value) or value < least:
            raise self.error(key, expected=f"an integer >= {least}", got=repr(value))
        return int(value)


def read_source(file: str, content: Any) -> Source:
    """Return a configuration that a script has loaded.

    Raises:
        ConfigError: it is no dictionary.
    """
    if not isinstance(content, Mapping):
        expected = "the dictionary that json.load returned"
        raise ConfigError(place=file, expected=expected, got=type(content).__name__)
    return Source(file, content)
