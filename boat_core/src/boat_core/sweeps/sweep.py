"""A sweep: one configuration carried out many times, side by side, with other values and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.schema import Config
from ..config.source import Source, read_file
from ..declare.options import read_options
from ..errors import ConfigError, OptionError, RunError
from ..plugins.discovery import installed
from ..plugins.registry import Registry
from ..runs.signals import StopSignals
from .folder import CONFIG_NAME, SweepFolder, new_sweep, old_sweep
from .place import SweepPlace
from .plan import Plan, make_plan
from .results import SweepResults
from .schedule import Schedule, View
from .section import apply_settings, located
from .view import LiveView

#: The keys of the section `sweep` that may change when a sweep goes on.
MAY_CHANGE = ("metric", "best", "jobs", "on")


def sweep(
    config: Config | str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    methods: Sequence[str | Mapping[str, Any]] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: Sequence[int] | str | int | None = None,
    metric: str | None = None,
    best: str | None = None,
    jobs: int | None = None,
    on: str | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    section: Mapping[str, Any] | None = None,
    resume: str | Path | None = None,
    view: View | None = None,
) -> SweepResults:
    """Carry out a configuration with other values and seeds, several runs at once, and return the results.

    The arguments are the keys of the section `sweep`, and add to the one that the configuration has. Keys of `grid` are
    written as for `--set`: "solver.options.GDA.alpha".

    Args:
        config: the path of a configuration, or what `read_config` returns.
        overrides: what all runs have instead: "run.steps=100".
        methods: whole solvers: names of methods, or mappings with the keys of the section `solver`.
        grid: lists of values by key. Every combination is run.
        seeds: values of `run.seed`.
        metric: what orders the results: a number of the problem's `evaluate`, or of the summary of a run.
        best: `min` or `max`.
        jobs: how many runs go on at once.
        on: the place where the runs are carried out: its name, or a mapping of its name and options.
        out: the folder of the sweep, which is new.
        section: further keys of the section `sweep`: zip, list, random.
        resume: the folder of a sweep to go on with, instead of `config`. Runs that have finished are kept, and the
            others go on from their checkpoints. Beside it only `metric`, `best`, `jobs` and `on` can be given.
        view: what the user sees; by default progress on stderr.

    Returns:
        The results. Runs that failed are among them, with their errors.

    Raises:
        ConfigError: the configuration of a run, or the section, does not fit; nothing was started.
        RunError: the folder exists, is in use or cannot be written.
        BoatError: the metric is none of those that the runs have. All runs were carried out.
        KeyboardInterrupt, SystemExit: as for `boat_core.run`, after the runs were stopped so that they can be resumed.
    """
    given: dict[str, Any] = {
        **(section or {}),
        **{"methods": methods, "grid": grid, "seeds": seeds, "metric": metric, "best": best, "jobs": jobs, "on": on},
        "out": None if out is None else str(out),
    }
    settings = {name: _plain(value) for name, value in given.items() if value is not None}
    if resume is not None:
        if config is not None or overrides:
            raise RunError("a sweep goes on with its own configuration: leave out config and overrides")
        values, source = read_file(sweep_file(resume))
    elif config is None:
        raise RunError("expected a configuration, or the folder of a sweep to resume")
    elif isinstance(config, Config):
        values, source = {**config.as_dict(), "sweep": dict(config.sweep or {})}, config.source
        if overrides:
            raise RunError("a configuration that has been read takes no overrides: give them to read_config")
    else:
        values, source = read_file(Path(config), overrides)
    stem = Path(source.name).stem
    return carry_out(values, source, stem, settings, None if resume is None else Path(resume), view or LiveView())


def carry_out(
    values: dict[str, Any], source: Source, stem: str, settings: Mapping[str, Any], resume: Path | None, view: View
) -> SweepResults:
    """Carry out the sweep of a configuration that has been read. The errors are those of `sweep`.

    Args:
        values: the values of the configuration, the section `sweep` among them.
        source: their places.
        stem: the name of its file.
        settings: further keys of the section.
        resume: the folder of the sweep, if it is to go on.
        view: what the user sees.
    """
    if resume is not None:
        for name in settings:
            if name not in MAY_CHANGE:
                listed = ", ".join(MAY_CHANGE)
                raise RunError(f"a sweep goes on with its own {name}", hint=f"what may change: {listed}")
    apply_settings(values, source, settings)
    registry = installed()
    plan = make_plan(values, source, stem, registry)
    place = build_place(plan, source, registry)
    try:
        with (
            StopSignals(is_recording=lambda: False) as signals,
            new_sweep(plan) if resume is None else old_sweep(resume, plan) as folder,
        ):
            return _carry_out(place, folder, plan, view, signals)
    finally:
        place.close()


def _carry_out(place: SweepPlace, folder: SweepFolder, plan: Plan, view: View, signals: StopSignals) -> SweepResults:
    kept = [run for run in plan.runs if folder.is_finished(run)]
    ended = {run.name: run for run in folder.results().runs}
    view.begun(folder.path, plan, [ended[run.name] for run in kept], place.jobs)
    try:
        Schedule(place, folder, plan, view, signals).carry_out()
    finally:
        results = folder.results()
        view.closed(results)
    if signals.received is None:
        folder.write_table()
        results.require_metric()
    return results


def build_place(plan: Plan, source: Source, registry: Registry) -> SweepPlace:
    """Return the place that the section names.

    Raises:
        ConfigError: there is no such place, one of its options does not fit, or its library is missing.
    """
    name, options = plan.section.place()
    try:
        declaration = registry.place(name).declaration
    except ConfigError as error:
        raise located(source, error, "sweep.on") from None
    fields = getattr(declaration.options, "__dataclass_fields__", {})
    if plan.section.jobs is not None:
        if "jobs" not in fields:
            raise located(source, OptionError(f"the place {name} has no jobs to set"), "sweep.jobs")
        options["jobs"] = plan.section.jobs
    if "device" in fields:
        devices = {run.device for run in plan.runs}
        options = {"device": devices.pop() if len(devices) == 1 else "auto", **options}
    try:
        read = read_options(declaration.options, options, ())
    except OptionError as error:
        raise located(source, error, "sweep.on") from None
    try:
        place: SweepPlace = declaration.build(read)
    except ImportError as error:
        remedy = f"pip install {declaration.requires!r}" if declaration.requires else None
        missing = f"place {name} needs {error.name or 'a library'} ({error})"
        raise located(source, OptionError(missing, hint=remedy), "sweep.on") from error
    return place


def sweep_file(folder: str | Path) -> Path:
    """Return the path of `sweep.yaml` in the folder of a sweep.

    Raises:
        RunError: there is none.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise RunError(f"{folder}: expected the folder of a sweep (there is no {CONFIG_NAME})")
    return path


def _plain(value: Any) -> Any:
    """Return settings of a program as plain values: tuples, ranges and arrays become lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return [_plain(item) for item in value] if isinstance(value, Sequence) else value
