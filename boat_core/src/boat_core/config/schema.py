"""The configuration of a run: the problem, the solver, how long it runs and where the results go.

    config = read_config("config.yaml", overrides=["run.steps=100"])

Every key has its type, range and meaning in one of the dataclasses below. Nothing here imports Jittor or the problem's
module; `build.py` turns a configuration into objects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ..bilevel.settings import SolverSettings
from ..declare.options import option, read_options
from ..errors import BoatError, ConfigError, OptionError, shown, suggestion
from .source import Source, is_mapping, read_file
from .yaml_core import to_text

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SolverConfig(SolverSettings):
    """The section `solver`: `map` and `approximate`, or `first_order`, or `method`, with the settings of the solver."""

    lower_optimizer: str | dict[str, Any] | tuple[Any, ...] = option(
        doc="name of the lower optimizer, or a mapping of its name and options, or a list of those, which is a chain"
    )
    upper_optimizer: str | dict[str, Any] | tuple[Any, ...] = option(doc="likewise, of the upper optimizer")
    map: str | tuple[str, ...] | None = option(None, doc="operations of the map stage, in any order")
    approximate: str | tuple[str, ...] | None = option(None, doc="operations of the approximate stage, in any order")
    first_order: str | None = option(None, doc="a first-order operation, instead of map and approximate")
    method: str | None = option(None, doc="a method's name for a whole chain, instead of all three")
    options: dict[str, Any] | None = option(None, doc="options of the operations, by operation")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("map", "approximate"):
            for entry in getattr(self, name) or ():
                if not isinstance(entry, str):
                    raise OptionError(where=name, expected="names of operations", got=shown(entry))
        for operation, values in (self.options or {}).items():
            if values is not None and not is_mapping(values):
                where = ("options", operation)
                raise OptionError(where=where, expected="a mapping of its options", got=shown(values))
        for name in ("lower_optimizer", "upper_optimizer"):
            parts = _listed(getattr(self, name))
            if not parts or not all(_is_named(part) for part in parts):
                expected = "a name beside its options, such as {name: sgd, rate: 0.1}"
                raise OptionError(where=name, expected=expected)

    def chains(self) -> dict[str, Any]:
        """Return the arguments of `compose` and `Solver` that name the operations."""
        return {
            "map": _names(self.map),
            "approximate": _names(self.approximate),
            "first_order": self.first_order,
            "method": self.method,
            "options": self.options,
        }

    def settings(self) -> SolverSettings:
        """The settings of the solver, without the chains and the optimizers."""
        names = [field.name for field in dataclasses.fields(SolverSettings)]
        return SolverSettings(**{name: getattr(self, name) for name in names})

    def optimizer_parts(self, level: str) -> list[tuple[str, str, dict[str, Any]]]:
        """The key, name and options of each part of the `lower` or `upper` optimizer, most often one."""
        return _named_parts(f"solver.{level}_optimizer", getattr(self, f"{level}_optimizer"))


@dataclass(frozen=True)
class RunConfig:
    """The section `run`."""

    steps: int = option(ge=1, doc="outer steps")
    seed: int = option(0, ge=0, doc="seed of the problem and of its batches")
    out: str | None = option(None, doc="folder of the run, new; without it runs/CONFIG-DATE-TIME")
    device: str = option("auto", choices=("auto", "cpu", "cuda"), doc="where Jittor computes")
    checkpoint_every: int = option(
        0, ge=0, doc="outer steps between checkpoints; 0 writes only the one with which every run ends"
    )
    keep_checkpoints: int = option(3, ge=0, doc="how many checkpoints before the last one are kept")
    evaluate_every: int = option(0, ge=0, doc="outer steps between evaluations; 0 evaluates at the end only")
    executor: str | dict[str, Any] = option(
        "sequential", doc="what solves the tasks of an outer step: a name, or a mapping of its name and options"
    )
    observers: str | dict[str, Any] | tuple[Any, ...] | None = option(
        None, doc="what watches the run: a name, a mapping of its name and options, or a list of those"
    )

    def __post_init__(self) -> None:
        for entry in _listed(self.observers):
            if not _is_named(entry):
                example = "[progress, {name: tensorboard, folder: curves}]"
                expected = f"names, and a name beside options, such as {example}"
                raise OptionError(where="observers", expected=expected, got=shown(entry))

        if not _is_named(self.executor):
            expected = "a name beside its options, such as {name: sequential}"
            raise OptionError(where="executor", expected=expected, got=shown(self.executor))

    def named_executor(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The key, name and options of the executor."""
        return _named_parts("run.executor", self.executor)

    def named_observers(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The key, name and options of each observer."""
        return _named_parts("run.observers", self.observers)


@dataclass(frozen=True)
class Config:
    """A whole configuration. `source` knows the line of each value."""

    problem: str = option(doc="name of a registered problem, or MODULE:FUNCTION")
    solver: SolverConfig = option(doc="the section solver")
    run: RunConfig = option(doc="the section run")
    problem_options: dict[str, Any] | None = option(None, doc="options of the problem")
    problem_path: str | None = option(None, doc="folder of the problem's module; without it the configuration's own")
    sweep: dict[str, Any] | None = option(None, doc="the section sweep, for `boat sweep`; other verbs ignore it")
    source: Source = field(kw_only=True, repr=False, compare=False)

    @property
    def module_folder(self) -> Path:
        """The folder in which the problem's module is looked for first."""
        return (self.source.folder / (self.problem_path or ".")).resolve()

    @property
    def out_is_generated(self) -> bool:
        """Whether the folder of the run has a generated name, so that another one would do as well."""
        return self.run.out is not None and self.source.generated.get("run.out") == self.run.out

    def as_dict(self) -> dict[str, Any]:
        """Return every setting in force: a configuration of the same run."""
        return {
            "problem": self.problem,
            **({"problem_path": str(self.module_folder)} if ":" in self.problem else {}),
            **({"problem_options": self.problem_options} if self.problem_options else {}),
            "solver": _section(self.solver),
            "run": _section(self.run),
        }

    def located(self, error: BoatError, path: str) -> ConfigError:
        """Return an error about the section `path` with its line, which is that of the deepest key that it names."""
        return self.source.located(error, path)


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML or JSON configuration, with `a.b=value` overrides.

    Raises:
        ConfigError: with file, line and key: cannot be read, unknown key (and the nearest), missing key, a value of the
            wrong type or out of its range.
    """
    path = Path(path)
    return config_of(*read_file(path, overrides), path.stem)


def config_of(values: Mapping[str, Any], source: Source, stem: str) -> Config:
    """Return the configuration of values that `read_file` has read. A generated folder of the run begins with `stem`.

    Raises:
        ConfigError: as for `read_config`.
    """
    values = _check_keys(Config, values, source, "")
    for key, kind, expected in _TOP:
        if not isinstance(values.get(key, kind()), kind):
            raise source.error(key, expected=expected, got=shown(values[key]))
    values["solver"] = _read(SolverConfig, values["solver"], source, "solver")
    values["run"] = run = _read(RunConfig, values["run"], source, "run")
    if run.out is None:
        source.generated["run.out"] = f"runs/{stem}-{datetime.now():%Y%m%d-%H%M%S}"
        values["run"] = dataclasses.replace(run, out=source.generated["run.out"])
    return Config(**values, source=source)


def as_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML."""
    return to_text(config.as_dict())


_TOP = (
    ("problem", str, "a registered name or MODULE:FUNCTION"),
    ("problem_path", str, "a folder"),
    ("problem_options", dict, "a mapping"),
    ("solver", dict, "a mapping"),
    ("run", dict, "a mapping"),
    ("sweep", dict, "a mapping"),
)


def _check_keys(cls: type, values: Mapping[str, Any], source: Source, section: str) -> dict[str, Any]:
    """Check the names of the values, and return those that are not null."""
    fields = {f.name: f for f in dataclasses.fields(cls) if f.metadata}
    dot = f"{section}." if section else ""
    for name in values:
        if name not in fields:
            raise source.error(f"{dot}{name}", "unknown key", hint=suggestion(name, fields))
    present = {name: value for name, value in values.items() if value is not None}
    for name, known in fields.items():
        if known.default is dataclasses.MISSING and name not in present:
            raise source.error(f"{dot}{name}", f"required and missing: {known.metadata['doc']}")
    return present


def _read(cls: type[T], values: Mapping[str, Any], source: Source, section: str) -> T:
    """Build one section. Errors name the line."""
    try:
        return read_options(cls, _check_keys(cls, values, source, section), ())
    except OptionError as error:
        raise source.located(error, section) from None


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _is_named(entry: Any) -> bool:
    return isinstance(entry, str) or (is_mapping(entry) and isinstance(entry.get("name"), str))


def _named_parts(key: str, value: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the key, name and options of each part of a value: a name, a mapping with a name, or a list of those."""
    parts = []
    for place, entry in enumerate(_listed(value)):
        options = dict(entry) if is_mapping(entry) else {"name": entry}
        listed = isinstance(value, tuple) and is_mapping(entry)
        parts.append((f"{key}[{place}]" if listed else key, options.pop("name"), options))
    return parts


def _names(chain: str | tuple[str, ...] | None) -> list[str] | None:
    return [chain] if isinstance(chain, str) else None if chain is None else list(chain)


def _section(section: Any) -> dict[str, Any]:
    values = {f.name: getattr(section, f.name) for f in dataclasses.fields(section)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}
