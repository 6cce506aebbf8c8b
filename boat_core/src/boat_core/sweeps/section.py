"""The section `sweep` of a configuration: what varies, with which seeds, and how the results are ordered.

sweep:
  methods: [RHG, HOAG, BOME]                                    whole solvers
  grid: {solver.lower_steps: [5, 10], run.steps: [50, 100]}     every combination
  zip: {solver.lower_steps: [5, 10], run.steps: [100, 50]}      values that belong together, by position
  list: [{solver.lower_steps: 5}, {solver.start: cold}]         settings, one by one
  random: {count: 20, seed: 0, keys: {problem_options.l2: {log_uniform: [1e-4, 1]}}}
  seeds: 0..4
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.source import Source, is_mapping, parse_value
from ..declare.options import option, read_options
from ..errors import ConfigError, OptionError, shown

#: How the text of a range of seeds looks. Both ends belong to it.
_RANGE = re.compile(r"\s*(\d+)\s*\.\.\s*(\d+)\s*\Z")
_SEEDS = "integers >= 0, such as [0, 1, 2] or 0..2"


@dataclass(frozen=True)
class SweepConfig:
    """The section `sweep`. Keys of the configuration are written as for `--set`: `solver.options.GDA.alpha`."""

    methods: tuple[Any, ...] | None = option(
        None, doc="whole solvers: names of methods, or mappings with the keys of the section solver"
    )
    grid: dict[str, Any] | None = option(None, doc="lists of values by key; every combination is run")
    zip: dict[str, Any] | None = option(
        None, doc="lists of one length by key; the first values are one setting, the second ones the next, and so on"
    )
    list: tuple[Any, ...] | None = option(None, doc="settings, one by one: mappings from keys to values")
    random: dict[str, Any] | None = option(
        None, doc="`count` settings drawn with `seed`; `keys` says from what: uniform, log_uniform, integers, choice"
    )
    seeds: str | int | tuple[Any, ...] | None = option(
        None, doc="values of run.seed: a list, or FIRST..LAST; without them the one that the configuration has"
    )
    metric: str = option(
        "upper_loss", doc="what orders the results: a number of the problem's `evaluate`, or of the summary of a run"
    )
    best: str = option("min", choices=("min", "max"), doc="whether the smallest or the largest metric is best")
    jobs: int | None = option(None, ge=1, doc="runs at once; without it the place decides")
    on: str | dict[str, Any] = option(
        "processes", doc="the place where the runs are carried out: a name, or a mapping of its name and options"
    )
    out: str | None = option(None, doc="folder of the sweep, new; without it sweeps/CONFIG-DATE-TIME")

    def __post_init__(self) -> None:
        if not isinstance(self.on, str) and not isinstance(self.on.get("name"), str):
            expected = "a name beside its options, such as {name: processes, threads: 1}"
            raise OptionError(where="on", expected=expected, got=shown(self.on))
        for name in ("grid", "zip", "random"):
            value = getattr(self, name)
            if value is not None and not is_mapping(value):
                raise OptionError(where=name, expected="a mapping with words as keys", got=shown(value))
        for place, entry in enumerate(self.list or ()):
            if not is_mapping(entry) or not entry:
                expected = "a mapping from keys to values, such as {solver.lower_steps: 5}"
                raise OptionError(where=("list", place), expected=expected, got=shown(entry))
        for place, entry in enumerate(self.methods or ()):
            if not (isinstance(entry, str) or (is_mapping(entry) and entry)):
                expected = "the name of a method, or a mapping such as {map: [GDA], approximate: [RAD]}"
                raise OptionError(where=("methods", place), expected=expected, got=shown(entry))
        for name in ("methods", "grid", "zip", "list", "seeds"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, int)) and not value:
                raise OptionError("is empty, so there is nothing to run", where=name)
        self.seed_values()

    def seed_values(self) -> tuple[int, ...] | None:
        """Return the seeds, or None where the configuration's own is the only one."""
        if self.seeds is None:
            return None
        if isinstance(self.seeds, str):
            between = _RANGE.match(self.seeds)
            if between is None:
                raise OptionError(where="seeds", expected=_SEEDS, got=shown(self.seeds))
            first, last = int(between[1]), int(between[2])
            if last < first:
                raise OptionError(where="seeds", expected="FIRST..LAST, upwards", got=shown(self.seeds))
            return tuple(range(first, last + 1))
        seeds = (self.seeds,) if isinstance(self.seeds, int) else self.seeds
        for seed in seeds:
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                raise OptionError(where="seeds", expected=_SEEDS, got=shown(seed))
            if seeds.count(seed) > 1:
                raise OptionError(f"{seed} is listed twice", where="seeds")
        return tuple(seeds)

    def place(self) -> tuple[str, dict[str, Any]]:
        """Return the name and the options of the place."""
        if isinstance(self.on, str):
            return self.on, {}
        options = dict(self.on)
        return options.pop("name"), options

    def as_dict(self) -> dict[str, Any]:
        """Return the section as plain values, without what is not set."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _plain(value) for name, value in values.items() if value is not None}


def read_section(values: Mapping[str, Any], source: Source) -> SweepConfig:
    """Return the section `sweep` of a configuration's values.

    Raises:
        ConfigError: it is no mapping, or a key is unknown or has a wrong value; with the place of the key.
    """
    section = values.get("sweep") or {}
    if not is_mapping(section):
        raise source.error("sweep", expected="a mapping", got=shown(section))
    try:
        return read_options(SweepConfig, {key: value for key, value in section.items() if value is not None}, ())
    except OptionError as error:
        raise located(source, error, "sweep") from None


def located(source: Source, error: Any, path: str) -> ConfigError:
    """Return an error about the section at `path` with its place. A flag of the command line says enough by itself."""
    placed = source.located(error, path)
    return ConfigError(**{**_parts(placed), "where": ()}) if placed.place.startswith("--") else placed


def _parts(error: ConfigError) -> dict[str, Any]:
    names = ("message", "place", "where", "expected", "got", "hint")
    return {name: getattr(error, name) for name in names}


def apply_settings(values: dict[str, Any], source: Source, settings: Mapping[str, Any]) -> None:
    """Put settings of a program, or of flags, into the section `sweep`. A mapping adds to the one that is there.

    Args:
        values: the values of the configuration, which are changed.
        source: their places. Settings that come from a flag have a place already.
        settings: values by key of the section.
    """
    section = values["sweep"] = values.get("sweep") or {}
    if not isinstance(section, dict):
        return  # `read_section` says so
    for key, value in settings.items():
        if key in ("grid", "zip") and is_mapping(value) and is_mapping(section.get(key) or {}):
            section[key] = {**(section.get(key) or {}), **value}
        else:
            section[key] = value


def grid_of(flags: Sequence[str], source: Source) -> dict[str, Any]:
    """Return the grid that flags `--grid KEY=V1,V2` describe, and note their places.

    Raises:
        ConfigError: a flag has another form, or two have the same key.
    """
    grid: dict[str, Any] = {}
    for flag in flags:
        key, equals, text = flag.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(place=f"--grid {flag}", expected="KEY=VALUE,VALUE such as --grid solver.lower_steps=5,10")
        place = f"--grid {key}"
        if key in grid:
            raise ConfigError("is given twice", place=place)
        grid[key] = _values(text, source, f"sweep.grid.{key}", place)
    return grid


def listed(text: str, source: Source, key: str) -> Any:
    """Return the list that a flag such as `--methods RHG,HOAG` describes, and note its place."""
    return _values(text, source, f"sweep.{key}", f"--{key}")


def seeds_of(text: str, source: Source) -> Any:
    """Return the seeds of `--seeds 0..4` or `--seeds 0,3,5`, and note the place."""
    source.places["sweep.seeds"] = "--seeds"
    return text if _RANGE.match(text) else listed(text, source, "seeds")


def _values(text: str, source: Source, path: str, place: str) -> Any:
    """Read values separated by commas. A value is YAML, so `[NGD],[GDA, NGD]` are two lists."""
    at: Callable[[int], str] = lambda line: place  # noqa: E731
    values = parse_value(f"[{text}]", source, path, at)
    source.places[path] = place
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
