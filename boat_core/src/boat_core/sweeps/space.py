"""The settings of a sweep: every combination of its methods, list, zip, grid and random draws, in a fixed order."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from .._util.atomic import json_text
from ..config.source import Source, is_mapping
from ..config.yaml_core import Dumper
from ..declare.options import option, read_options
from ..errors import ConfigError, OptionError, shown, suggestion
from .section import SweepConfig, located

#: Keys that the sweep itself sets, and what to write instead.
_OWN = {
    "run.out": "the sweep names the folders of its runs",
    "run.seed": "seeds have a key of their own, sweep.seeds",
    "sweep": "vary other keys",
}


@dataclass(frozen=True)
class Value:
    """One value of a setting.

    Args:
        key: where it goes, as in `--set`: "solver.lower_steps".
        value: the value, plain as YAML has it.
        place: the path in the configuration from which it comes: "sweep.grid.solver.lower_steps".
    """

    key: str
    value: Any
    place: str

    def override(self) -> str:
        """Return the value as `--set` takes it, in one line of YAML."""
        return f"{self.key}={flow_text(self.value)}"


#: One combination: its values in the order in which they are applied.
Setting = tuple[Value, ...]


def settings_of(section: SweepConfig, source: Source) -> list[Setting]:
    """Return all combinations, without methods and seeds. There is one empty setting if nothing else varies.

    Raises:
        ConfigError: a list is empty or holds a value twice, lengths differ, or a key varies in two places.
    """
    axes = [list(axis(section, source)) for axis in (_list, _zip, _grid, _random)]
    _require_separate(axes, source)
    combinations = itertools.product(*(axis or [()] for axis in axes))
    return [tuple(itertools.chain.from_iterable(combination)) for combination in combinations]


def flow_text(value: Any) -> str:
    """Return a value as YAML in one line."""
    text: str = yaml.dump(value, Dumper=Dumper, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def _grid(section: SweepConfig, source: Source) -> Iterator[Setting]:
    if section.grid is None:
        return
    columns = [_column(key, values, f"sweep.grid.{key}", source) for key, values in section.grid.items()]
    for column in columns:
        _require_distinct([value.value for value in column], column[0].place, source)
    yield from itertools.product(*columns)


def _zip(section: SweepConfig, source: Source) -> Iterator[Setting]:
    columns = [_column(key, values, f"sweep.zip.{key}", source) for key, values in (section.zip or {}).items()]
    for column in columns[1:]:
        if len(column) != len(columns[0]):
            expected = f"{len(columns[0])} values, as many as {columns[0][0].key} has"
            raise _error(source, column[0].place, expected=expected, got=str(len(column)))
    settings = list(zip(*columns))
    if columns:
        _require_distinct([[value.value for value in setting] for setting in settings], "sweep.zip", source)
    yield from settings


def _list(section: SweepConfig, source: Source) -> Iterator[Setting]:
    entries = section.list or ()
    _require_distinct(entries, "sweep.list", source)
    for place, entry in enumerate(entries):
        yield tuple(Value(key, value, f"sweep.list[{place}].{key}") for key, value in entry.items())


@dataclass(frozen=True)
class _Random:
    count: int = option(ge=1, doc="how many settings are drawn")
    keys: dict[str, Any] = option(doc="from what the value of each key is drawn, such as {uniform: [0, 1]}")
    seed: int = option(0, ge=0, doc="seed of the draws")


def _random(section: SweepConfig, source: Source) -> Iterator[Setting]:
    """Draw the settings. A larger count begins with the same ones."""
    if section.random is None:
        return
    import numpy

    try:
        section_random = read_options(_Random, section.random, ())
    except OptionError as error:
        raise located(source, error, "sweep.random") from None
    if not section_random.keys:
        raise _error(source, "sweep.random.keys", "is empty, so there is nothing to run")
    kinds = {key: _distribution(key, kind, source) for key, kind in section_random.keys.items()}
    rng = numpy.random.default_rng(section_random.seed)
    for _ in range(section_random.count):
        yield tuple(Value(key, _draw(rng, *kind), f"sweep.random.keys.{key}") for key, kind in kinds.items())


#: The distributions and what they are given.
DISTRIBUTIONS = {
    "uniform": "[LOW, HIGH]",
    "log_uniform": "[LOW, HIGH] above 0",
    "integers": "[FIRST, LAST], both included",
    "choice": "a list of values",
}


def _distribution(key: str, kind: Any, source: Source) -> tuple[str, Any]:
    place = f"sweep.random.keys.{key}"
    if not is_mapping(kind) or len(kind) != 1:
        raise _error(source, place, expected="one distribution, such as {uniform: [0, 1]}", got=shown(kind))
    [(name, given)] = kind.items()
    if name not in DISTRIBUTIONS:
        raise _error(source, f"{place}.{name}", "unknown distribution", hint=suggestion(name, DISTRIBUTIONS))
    if not _fits(name, given):
        raise _error(source, f"{place}.{name}", expected=DISTRIBUTIONS[name], got=shown(given))
    return name, given


def _fits(name: str, given: Any) -> bool:
    if name == "choice":
        return isinstance(given, (list, tuple)) and len(given) > 0
    kinds: tuple[type, ...] = (int,) if name == "integers" else (int, float)
    if not isinstance(given, (list, tuple)) or len(given) != 2:
        return False
    if not all(isinstance(end, kinds) and not isinstance(end, bool) for end in given):
        return False
    low, high = given
    in_order = low <= high if name == "integers" else low < high
    return in_order and math.isfinite(high - low) and (name != "log_uniform" or low > 0)


def _draw(rng: Any, name: str, given: Any) -> Any:
    if name == "choice":
        return given[int(rng.integers(len(given)))]
    low, high = given
    if name == "integers":
        return int(rng.integers(low, high, endpoint=True))
    if name == "uniform":
        return float(rng.uniform(low, high))
    # Rounding may carry the exponential past an end by a unit in the last place.
    return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), float(low)), float(high))


def _column(key: str, values: Any, place: str, source: Source) -> list[Value]:
    if not isinstance(values, (list, tuple)):
        raise _error(source, place, expected="a list of values", got=shown(values))
    if not values:
        raise _error(source, place, "is empty, so there is nothing to run")
    return [Value(key, value, place) for value in values]


def _require_distinct(values: Sequence[Any], place: str, source: Source) -> None:
    seen = set()
    for value in values:
        text = json.dumps(json.loads(json_text(value)), sort_keys=True)
        if text in seen:
            raise _error(source, place, f"{shown(value)} is listed twice")
        seen.add(text)


def _require_separate(axes: Sequence[Sequence[Setting]], source: Source) -> None:
    """Refuse a key that varies in two places, lies within another one that varies, or belongs to the sweep."""
    earlier: dict[str, Value] = {}
    for axis in axes:
        values = {value.key: value for setting in axis for value in setting}
        for value in values.values():
            _require_free(value, earlier.values(), source)
        for setting in axis:
            for one, other in itertools.combinations(setting, 2):
                _require_free(other, [one], source)
        earlier |= values


def _require_free(value: Value, others: Iterable[Value], source: Source) -> None:
    for own, hint in _OWN.items():
        if _overlap(value.key, own):
            raise _error(source, value.place, f"{own} cannot be varied here", hint=hint)
    for other in others:
        if _overlap(value.key, other.key):
            raise _error(source, value.place, f"it varies already, by {other.place}")


def _overlap(key: str, other: str) -> bool:
    """Whether both keys are the same, or one lies within the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _error(source: Source, path: str, message: str | None = None, **parts: Any) -> ConfigError:
    return located(source, OptionError(message, **parts), path)
