"""Configuration text: YAML or JSON read into plain values, with the line of every key kept for error messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from ..errors import BoatError, ConfigError, dotted, shown
from .yaml_core import Loader, has_plain_tag, read_scalar, read_text


@dataclass
class Source:
    """The place of each value of a configuration: `FILE:LINE` or `--set PATH` by dotted path, such as `solver.map`.

    `generated` holds the values that were chosen because the configuration has none, by their dotted paths.
    """

    name: str
    folder: Path
    places: dict[str, str] = field(default_factory=dict)
    generated: dict[str, Any] = field(default_factory=dict)

    def error(self, path: str, message: str | None = None, **parts: Any) -> ConfigError:
        """Return the error for the value at `path`, placed at its line or at that of the section it belongs to."""
        known = path
        while known and known not in self.places:
            known = known[: known.rindex("[")] if known.endswith("]") else known.rpartition(".")[0]
        place = self.places.get(known, f"{self.name}:1")
        return ConfigError(message, place=place, where=tuple(path.split(".")) if path else (), **parts)

    def located(self, error: BoatError, section: str) -> ConfigError:
        """Return an error about a value of `section` with its line; `error.where` leads from the section to the value.

        An item of a list has no line of its own. The line of its name stands for it.
        """
        path = dotted((section, *error.where))
        if path not in self.places and f"{path}.name" in self.places:
            path = f"{path}.name"
        message = error.message if error.message or error.expected else str(error)
        return self.error(path, message, expected=error.expected, got=error.got, hint=error.hint)


def read_file(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Source]:
    """Read a configuration file and apply `a.b=value` overrides to it.

    Raises:
        ConfigError: the file cannot be read, is not YAML or JSON, is not a mapping, holds a key twice or a tag that
            would construct an object; or an override does not fit.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", place=str(path)) from None
    except UnicodeDecodeError as error:
        what = f"UTF-8 text ({error.reason} at byte {error.start})"
        raise ConfigError(place=f"{path}:1", expected=what) from None
    if path.suffix == ".json":
        text = text.replace("\t", " ")  # JSON may indent by tabs, YAML may not
    source = Source(str(path), path.resolve().parent)
    values = parse_value(text, source, "", lambda line: f"{path}:{line}")
    if not isinstance(values, dict):
        expected = "a mapping with the keys problem, solver and run"
        raise source.error("", expected=expected, got=_kind(values))
    for override in overrides:
        apply_override(values, override, source)
    return values, source


def parse_value(text: str, source: Source, path: str, place: Any) -> Any:
    """Parse the YAML of the value at `path`; `place` turns a line number into the place that messages name."""
    try:
        node = Loader(text).get_single_node()
        return None if node is None else _value(node, source, path, place)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not YAML: the character #x{error.character:04x} cannot stand there"
        raise ConfigError(message, place=place(line)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = "" if isinstance(error, yaml.constructor.ConstructorError) else "not YAML: "
        message = f"{what}{error.problem or error.context}"
        raise ConfigError(message, place=place(mark.line + 1 if mark else 1)) from None


def _value(node: yaml.Node, source: Source, path: str, place: Any) -> Any:
    here = place(node.start_mark.line + 1)
    where = tuple(path.split(".")) if path else ()
    if not has_plain_tag(node):
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        hint = "a configuration holds plain values only"
        raise ConfigError(f"the tag {tag} would construct an object", place=here, where=where, hint=hint)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, source, f"{path}[{i}]", place) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        try:
            return read_scalar(node)
        except ValueError as error:
            raise ConfigError(f"{node.value!r} cannot be read: {error}", place=here, where=where) from None
    values: dict[str, Any] = {}
    for key_node, item in node.value:
        here = place(key_node.start_mark.line + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            where = where or ("the configuration",)
            raise ConfigError(place=here, where=where, expected="a word as key", got="a list or mapping")
        try:
            key = read_text(key_node)
        except ValueError as error:
            raise ConfigError(f"the key {key_node.value!r} cannot be read: {error}", place=here, where=where) from None
        inner = f"{path}.{key}" if path else key
        if key in values:
            message = f"the key is given twice (first at {source.places[inner]})"
            raise ConfigError(message, place=here, where=inner)
        source.places[inner] = here
        values[key] = _value(item, source, inner, place)
    return values


def apply_override(values: dict[str, Any], override: str, source: Source) -> None:
    """Set one value, as in "run.steps=100". Its place is from then on `--set PATH`."""
    path, equals, text = override.partition("=")
    place = f"--set {path}"
    if not equals or not all(path.split(".")):
        raise ConfigError(place=f"--set {override}", expected="KEY=VALUE, such as --set run.steps=100")
    *sections, last = path.split(".")
    section = values
    for depth, name in enumerate(sections):
        if section.get(name) is None:
            section[name] = {}
        section, known = section[name], ".".join(sections[: depth + 1])
        source.places.setdefault(known, place)
        if not isinstance(section, dict):
            raise ConfigError(f"{known} is not a mapping", place=place, got=shown(section))
    for known in [p for p in source.places if p == path or p.startswith(path + ".")]:
        del source.places[known]
    source.places[path] = place
    section[last] = parse_value(text, source, path, lambda line: place)


def _kind(value: Any) -> str:
    if value is None:
        return "an empty file"
    return "a list" if isinstance(value, list) else f"the {type(value).__name__} {shown(value)}"


def is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value is a mapping with words as keys."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
