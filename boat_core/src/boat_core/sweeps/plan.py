"""The plan of a sweep: its runs, each read and checked before the first one starts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.build import Job
from ..config.schema import Config, config_of
from ..config.source import Source, apply_override
from ..config.yaml_core import to_text
from ..errors import ConfigError, dotted
from ..plugins.registry import Registry
from .kinds import kind_of
from .methods import methods_of
from .place import RunSpec
from .section import SweepConfig, read_section
from .space import Setting, Value, flow_text, settings_of


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep before it starts.

    Args:
        name: its number, which is also the name of its folder.
        settings: what varies, without the seed: the values by key, and the label of a method as `method`.
        seed: the seed of the run.
        overrides: what this run has instead of the configuration of the sweep, as `--set` takes it.
        steps: its outer steps.
        device: the device that it asks for.
        kind: runs of one kind need the same kernels.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    overrides: tuple[str, ...] = field(repr=False)
    steps: int
    device: str
    kind: str = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """A sweep before it starts.

    Args:
        text: the text of `sweep.yaml`, a configuration that `boat sweep` accepts again.
        section: the section `sweep`.
        runs: the runs, in the order in which they start.
        stem: the name of the configuration's file, for a folder without a name.
    """

    text: str
    section: SweepConfig
    runs: tuple[PlannedRun, ...]
    stem: str

    def spec(self, run: PlannedRun, folder: Path, resume: bool) -> RunSpec:
        """Return what a place needs to carry out a run of this plan."""
        return RunSpec(run.name, self.text, run.overrides, str(folder), resume)


def make_plan(values: dict[str, Any], source: Source, stem: str, registry: Registry) -> Plan:
    """Return the plan of a configuration with a section `sweep`.

    Every run's configuration is read, its names and options are looked up, and its solver is composed. The user's own
    code is not run.

    Args:
        values: the values of the configuration.
        source: their places.
        stem: the name of its file.
        registry: where names are looked up.

    Raises:
        ConfigError: something in the section or in one of the runs does not fit, with its place; or nothing varies.
    """
    section = read_section(values, source)
    methods = methods_of(section, values, source, registry)
    seeds = section.seed_values()
    settings = settings_of(section, source)
    if seeds is None and not methods and settings == [()]:
        hint = "vary a key, such as --grid solver.lower_steps=5,10, or --seeds 0..4"
        raise source.error("sweep", "nothing varies", hint=hint)
    base = _base(values, source)
    varied = [
        ({**({"method": label} if label else {}), **{value.key: value.value for value in setting}}, (*method, *setting))
        for label, method in methods or [("", ())]
        for setting in settings
    ]
    reader = _Reader(base, source, stem, registry)
    runs = [reader.read(described, setting, seed) for described, setting in varied for seed in seeds or (None,)]
    width = max(2, len(str(len(runs) - 1)))
    named = tuple(dataclasses.replace(run, name=f"{number:0{width}d}") for number, run in enumerate(runs))
    saved = {key: value for key, value in section.as_dict().items() if key != "out"}
    return Plan(to_text({**base, "sweep": saved}), section, named, stem)


def _base(values: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return what all runs share. The folder of the problem's module is written out, since this file will move."""
    base = copy.deepcopy({key: value for key, value in values.items() if key != "sweep"})
    if isinstance(base.get("run"), dict):
        base["run"].pop("out", None)
    folder = base.get("problem_path")
    if folder is None or isinstance(folder, str):
        base["problem_path"] = str((source.folder / (folder or ".")).resolve())
    return base


@dataclass(frozen=True)
class _Reader:
    """Reads the runs of a sweep: the values that all share, their places, and where names are looked up."""

    base: Mapping[str, Any]
    source: Source
    stem: str
    registry: Registry

    def read(self, described: Mapping[str, Any], setting: Setting, seed: int | None) -> PlannedRun:
        """Return one run, which has no name yet, with its configuration checked."""
        if seed is not None:
            setting = (*setting, Value("run.seed", seed, "sweep.seeds"))
        overrides = tuple(self._movable(value).override() for value in setting)
        try:
            config = self._config(overrides)
        except ConfigError as error:
            raise self._at_its_origin(error, described, setting) from None
        kind = kind_of(config, self.registry)
        return PlannedRun("", described, config.run.seed, overrides, config.run.steps, config.run.device, kind)

    def _movable(self, value: Value) -> Value:
        """Return a value that means the same for a configuration in another folder."""
        if value.key != "problem_path" or not isinstance(value.value, str):
            return value
        return dataclasses.replace(value, value=str((self.source.folder / value.value).resolve()))

    def _config(self, overrides: Sequence[str]) -> Config:
        values = copy.deepcopy(dict(self.base))
        source = dataclasses.replace(self.source, places=dict(self.source.places), generated={})
        for override in overrides:
            apply_override(values, override, source)
        config = config_of(values, source, self.stem)
        Job(config, self.registry)
        return config

    def _at_its_origin(self, error: ConfigError, described: Mapping[str, Any], setting: Setting) -> ConfigError:
        """Return an error of one run, placed where the sweep says so instead of at an override that nobody wrote."""
        origin = next((value for value in setting if error.place == f"--set {value.key}"), None)
        if origin is not None:
            place = self.source.error(origin.place).place
            is_said = place.startswith("--") and dotted(error.where) == origin.key
            return _placed(error, error.message, place, () if is_said else error.where)
        try:
            self._config(())
        except ConfigError as own:
            if str(own) == str(error):
                return error
        varied = ", ".join(f"{key}={flow_text(value)}" for key, value in described.items())
        return _placed(error, f"{error.message or 'it does not fit'} (with {varied})", error.place, error.where)


def _placed(error: ConfigError, message: str | None, place: str, where: tuple[str | int, ...]) -> ConfigError:
    parts: dict[str, Any] = {"expected": error.expected, "got": error.got, "hint": error.hint}
    return ConfigError(message, place=place, where=where, **parts)
