"""Resuming a run: what a checkpoint holds of it, and how a run returns to its newest checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

from .._util.atomic import write_text
from ..config.schema import Config, as_yaml, read_config
from ..errors import BoatError, RunError, shown
from . import checkpoint
from .artifacts import METRICS, warn
from .folder import CONFIG_NAME, VERSIONS
from .lines import append_line, read_lines, truncate_from
from .storage import storing

EVALUATIONS = "evaluations.jsonl"


def require_same_run(config: Config, folder: Path) -> Config:
    """Return the configuration for the run in `folder`, if it differs only in its length and in what it records.

    Raises:
        ConfigError: another key differs; the error has its place.
    """
    before, now = read_config(folder / CONFIG_NAME).as_dict(), config.as_dict()
    if before["problem"] != now["problem"]:
        raise config.source.error("problem", f"the run in {folder} has {before['problem']}, and goes on with that only")
    for section, free in _MAY_DIFFER.items():
        old, new = before.get(section, {}), now.get(section, {})
        for key in sorted(old.keys() | new.keys()):
            if key not in free and old.get(key) != new.get(key):
                message = f"the run in {folder} has {old.get(key)!r}, and goes on with that only"
                raise config.source.error(f"{section}.{key}", message)
    return dataclasses.replace(config, run=dataclasses.replace(config.run, out=str(folder)))


_MAY_DIFFER: dict[str, tuple[str, ...]] = {
    "problem_options": (),
    "solver": (),
    "run": (
        "steps",
        "out",
        "device",
        "checkpoint_every",
        "keep_checkpoints",
        "evaluate_every",
        "executor",
        "observers",
    ),
}


def position(job: Any) -> dict[str, Any]:
    """Return what a checkpoint holds: the leaves of the state, since its nodes may be of the problem's own types."""
    import optree

    state: Any = job.solver.state
    is_recorded = job.metrics.recorded == job.solver.iteration
    return {
        "step": job.solver.iteration,
        "config": json.dumps(_fixed(job.config), default=str),
        "progress": job.progress,
        "last_line": job.metrics.last_line if is_recorded else "",
        "tasks": list(state["lower"]),
        "structure": _structure_text(state),
        "paths": _paths(state),
        "leaves": optree.tree_leaves(state),
    }


def restore_run(job: Any, installed: dict[str, Any]) -> None:
    """Return the solver to the newest checkpoint that is not damaged, and drop what was recorded after it.

    Raises:
        RunError: there is no such checkpoint, or it does not fit; nothing was changed.
    """
    path, stored, damaged = checkpoint.load_newest(job.folder, partial(_misplaced, job.config))
    _restore_solver(job, path, stored)
    for error in damaged.values():
        warn(f"{error}; it is set aside, and the run goes on from {path.name}")
    job.resumed_from = job.saved = stored["step"]
    job.progress = stored["progress"]
    _compare_versions(job.folder, installed)
    with storing(job.folder):
        for other in damaged:
            checkpoint.set_aside(other)
        for leftover in (*job.folder.glob(".*.partial"), *path.parent.glob(".*.partial")):
            with contextlib.suppress(OSError):  # what a killed process was writing
                leftover.unlink()
        write_text(job.folder / CONFIG_NAME, as_yaml(job.config))
        _restore_record(job, stored.get("last_line", ""))


def _fixed(config: Config) -> dict[str, Any]:
    """Return what may not differ when a run goes on: it says which run a checkpoint belongs to."""
    content = config.as_dict()
    sections = {
        section: {key: value for key, value in content.get(section, {}).items() if key not in free}
        for section, free in _MAY_DIFFER.items()
    }
    return {"problem": content["problem"], **sections}


def _misplaced(config: Config, stored: Any, step: int) -> str | None:
    """Say what a checkpoint is, if it is not the one after `step` steps of this run."""
    if not isinstance(stored, dict):
        return None
    if stored.get("step", step) != step:
        return f"that after step {stored['step']}"
    # What is absent on one side was written by another version of this package.
    before, now = json.loads(stored.get("config", "{}")), json.loads(json.dumps(_fixed(config), default=str))
    if before.get("problem", now["problem"]) != now["problem"]:
        return f"one of a run of {before['problem']}"
    for section in _MAY_DIFFER:
        old, new = before.get(section, {}), now[section]
        for key in old.keys() & new.keys():
            if old[key] != new[key]:
                return f"one of a run whose {section}.{key} is {shown(old[key])}"
    return None


def _restore_solver(job: Any, path: Path, stored: Any) -> None:
    import optree

    is_position = isinstance(stored, dict) and {"step", "progress", "leaves"} <= stored.keys()
    like = job.solver.state_like(stored.get("tasks", ()) if is_position else ())
    # The text of a structure may differ between versions of optree; the paths of its leaves do not.
    fits = is_position and (stored.get("structure") == _structure_text(like) or stored.get("paths") == _paths(like))
    structure = optree.tree_structure(like)
    if not fits or len(stored["leaves"]) != structure.num_leaves:
        raise RunError(f"{path}: expected the state of this configuration's solver (got another structure)")
    if stored["step"] > job.steps:
        raise RunError(f"{path} is after step {stored['step']}, and run.steps is {job.steps}")
    try:
        job.solver.restore(optree.tree_unflatten(structure, stored["leaves"]))
    except BoatError as error:
        raise RunError(f"{path}: {error}") from error


def _structure_text(state: Any) -> str:
    """Write the structure of a state as that of nested dictionaries, which is what checkpoints have always held."""
    import optree

    return str(optree.tree_structure(state.as_dict() if hasattr(state, "as_dict") else state))


def _paths(state: Any) -> list[str]:
    import optree

    return [repr(path) for path in optree.tree_paths(state)]


def _compare_versions(folder: Path, installed: dict[str, Any]) -> None:
    before = json.loads((folder / VERSIONS).read_text("utf-8"))
    changed = sorted(name for name in before.keys() | installed.keys() if before.get(name) != installed.get(name))
    if changed:
        warn(f"{folder} was begun with another {', '.join(changed)}; its numbers may go on slightly differently")


def _restore_record(job: Any, last_line: str) -> None:
    """Keep the lines up to the checkpoint. The line of its own step comes from the checkpoint if the file lacks it."""
    step, metrics, evaluations = job.resumed_from, job.folder / METRICS, job.folder / EVALUATIONS
    if metrics.exists():
        truncate_from(metrics, step)
    recorded = read_lines(metrics)
    if last_line and (not recorded or recorded[-1]["iteration"] < step - 1):
        append_line(metrics, last_line)
    if evaluations.exists():
        # A run that is at its end already evaluates once more.
        truncate_from(evaluations, step - 1 if step == job.steps else step)
