"""Going on with a run: what a checkpoint holds of it, and putting a run back to where its newest one is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from .._util.atomic import write_text
from ..config.schema import Config, as_yaml, read_config
from ..errors import BoatError, RunError
from . import checkpoint
from .artifacts import warn
from .observers.metrics import NAME as METRICS
from .observers.metrics import keep_before

CONFIG_NAME = "config.yaml"
EVALUATIONS = "evaluations.jsonl"


def same_run(config: Config, folder: Path) -> Config:
    """Check that a configuration is that of the run in `folder`; how long it runs and what it records may differ."""
    there, here = read_config(folder / CONFIG_NAME).as_dict(), config.as_dict()
    if there["problem"] != here["problem"]:
        raise config.source.error("problem", f"the run in {folder} has {there['problem']}, and goes on with that only")
    for section, free in _MAY_DIFFER.items():
        before, now = there.get(section, {}), here.get(section, {})
        for key in sorted(before.keys() | now.keys()):
            if key not in free and before.get(key) != now.get(key):
                message = f"the run in {folder} has {before.get(key)!r}, and goes on with that only"
                raise config.source.error(f"{section}.{key}", message)
    return dataclasses.replace(config, run=dataclasses.replace(config.run, out=str(folder)))


_MAY_DIFFER: dict[str, tuple[str, ...]] = {
    "problem_options": (),
    "solver": (),
    "run": ("steps", "out", "device", "checkpoint_every", "evaluate_every", "executor", "observers"),
}


def position(job: Any) -> dict[str, Any]:
    """The state as a checkpoint holds it: the leaves, since the pytree's nodes may be of the problem's own types."""
    import optree

    state: Any = job.solver.state
    return {
        "step": job.solver.iteration,
        "progress": job.progress,
        "tasks": list(state["lower"]),
        "structure": str(optree.tree_structure(state)),
        "leaves": optree.tree_leaves(state),
    }


def go_back(job: Any, installed: dict[str, Any]) -> None:
    """Put the solver where the newest checkpoint is, and drop what was recorded after it."""
    import optree

    path = checkpoint.newest(job.folder)
    found = checkpoint.load(path)
    tasks = found.get("tasks", ()) if isinstance(found, dict) else ()
    structure = optree.tree_structure(job.solver.state_like(tasks))
    if not isinstance(found, dict) or found.get("structure") != str(structure):
        raise RunError(f"{path}: expected the state of this configuration's solver (got another structure)")
    if found["step"] > job.steps:
        raise RunError(f"{path} is after step {found['step']}, and run.steps is {job.steps}")
    try:
        job.solver.restore(optree.tree_unflatten(structure, found["leaves"]))
    except BoatError as error:
        raise RunError(f"{path}: {error}") from error
    job.resumed_from, job.progress = found["step"], found["progress"]
    before = json.loads((job.folder / "versions.json").read_text("utf-8"))
    changed = sorted(name for name in before.keys() | installed.keys() if before.get(name) != installed.get(name))
    if changed:
        warn(f"{job.folder} was begun with another {', '.join(changed)}; its numbers may go on slightly differently")
    write_text(job.folder / CONFIG_NAME, as_yaml(job.config))
    for name in (METRICS, EVALUATIONS):
        if (job.folder / name).exists():
            keep_before(job.folder / name, found["step"])
