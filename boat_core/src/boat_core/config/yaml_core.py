"""YAML as configurations use it: the core schema of YAML 1.2, read and written.

PyYAML reads YAML 1.1, in which `0123` is 83, `1:30` is 90, `off` and `NO` are booleans, and `2026-11-28` is a date. In
the core schema a scalar without quotes is a decimal, octal (`0o17`) or hexadecimal (`0x1F`) integer, a number such as
`1e-3` or `.inf`, `true` or `false`, `null`, or else a string.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import yaml

from .._util.text import NUMBER, read_number

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_BOOLEAN = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_NULL = re.compile(r"(null|Null|NULL|~|)\Z")
#: The tags of scalars, what stands for each, and the characters with which that begins. The first that fits counts.
_SCALARS = (
    ("null", _NULL, ["", "n", "N", "~"]),
    ("bool", _BOOLEAN, list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", NUMBER, list("-+.0123456789")),
)
_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class Loader(yaml.SafeLoader):
    """Reads the core schema, without aliases, so that a small file stays small."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012, filled below; PyYAML reads the class attribute
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._refuse("aliases (*name) are not part of a configuration")
        if self._depth > 50:
            self._refuse("nested too deeply")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def _refuse(self, why: str) -> NoReturn:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        raise yaml.constructor.ConstructorError(None, None, why, event.start_mark)


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` reads back. It quotes each string that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        # PyYAML folds and strips line ends in its other styles.
        return self.represent_scalar(_TAG + "str", data, style=None if data.isprintable() else '"')


Dumper.add_representer(str, Dumper.represent_str)
for _name, _pattern, _first in _SCALARS:
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(_TAG + _name, _pattern, _first)


def has_plain_tag(node: yaml.Node) -> bool:
    """Whether a node is of the core schema. Other tags would construct objects, dates or bytes."""
    return node.tag in _TAGS


def read_scalar(node: yaml.ScalarNode) -> Any:
    """Return the value of a scalar.

    Raises:
        ValueError: the text does not fit the tag, as in `!!int many`, or has more than 1,000 digits.
    """
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind == "str":
        return read_text(node)
    patterns = {name: pattern for name, pattern, _ in _SCALARS}
    if kind not in patterns or not patterns[kind].match(text):
        raise ValueError(f"it is not of the type !!{kind}")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return read_number(text)
    if len(text) > 1000:
        raise ValueError("it has too many digits")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def read_text(node: yaml.ScalarNode) -> str:
    """Return the text of a scalar. JSON writes characters beyond 16 bits as two escapes, which are joined here.

    Raises:
        ValueError: one such escape stands alone, or there is a null character, which no name or path can hold.
    """
    text: str = node.value
    if "\0" in text:
        raise ValueError("it holds a null character")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def to_text(values: Any) -> str:
    """Return plain values as YAML, with mappings in their order."""
    text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return text
