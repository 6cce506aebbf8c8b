"""A run: a configuration carried out, and recorded in a folder of its own.

    FOLDER/config.yaml       the configuration as run; `boat run` takes it again
    FOLDER/versions.json     what was installed, and what was decided for this machine
    FOLDER/metrics.jsonl     one line for every outer step; evaluations.jsonl likewise
    FOLDER/checkpoints/      where `boat run --resume FOLDER` goes on from, to the very same numbers
    FOLDER/summary.json, variables.npz, picture.png

However a run ends, its folder is readable.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._util.atomic import json_text, plain, write_json, write_text
from ..config.build import Job
from ..config.schema import Config, as_yaml, read_config
from ..errors import RunError
from ..plugins.registry import Registry
from ..runtime.interrupts import dismiss_workers
from . import checkpoint
from .artifacts import evaluation, versions, warn, write_picture, write_variables
from .observers.metrics import Metrics
from .resume import CONFIG_NAME, EVALUATIONS, go_back, position, same_run

if TYPE_CHECKING:
    from ..bilevel.problem import Problem
    from ..bilevel.solver import Solver


@dataclass
class Run:
    """What observers see of a run. `kernels` counts the kernels that Jittor compiled since the solver was made."""

    config: Config
    folder: Path
    problem: Problem
    solver: Solver
    steps: int
    kernels: Any
    packs: Registry = field(repr=False)
    batches: Callable[[int], dict[str, Any]] = field(repr=False)
    resumed_from: int | None = None
    progress: dict[str, Any] = field(default_factory=lambda: {"upper_loss": None, "lower_loss": None, "concerns": 0})

    def __post_init__(self) -> None:
        self._said_before = len(self.packs.switched_off)

    @property
    def switched_off(self) -> list[str]:
        """Which observers raised and were switched off in this run, and why."""
        return self.packs.switched_off[self._said_before :]


def run(
    config: Config | Job | str | Path, observers: Sequence[Any] = (), resume: str | Path | None = None
) -> dict[str, Any]:
    """Carry out a configuration and return the summary, which is in `summary.json` too.

    Args:
        config: what `read_config` returns, or a `Job` made of it, or the path of its file.
        observers: objects with `@boat_core.hookimpl` methods of the observer hooks, beside those that it names.
        resume: the folder of a run to go on with, instead of a new one.

    Raises:
        ConfigError, RunError: the configuration, the folder or the checkpoint does not fit; nothing was written.
        KeyboardInterrupt, or any error of a step: after the folder was completed as far as the run came.
    """
    begun = time.perf_counter()
    job = _job_of(config)
    if resume is None:
        _must_be_free(Path(job.config.run.out or ""))
    else:
        job = job.with_config(same_run(job.config, Path(resume)))
    watching: list[tuple[Any, str | None]] = [*((one, None) for one in observers), *job.observers()]
    from ..runtime import KernelWatch

    decisions = job.prepare()
    problem = job.problem
    kernels, first_use = KernelWatch(), time.perf_counter()
    solver, folder, registry = job.solver, Path(job.config.run.out or ""), job.registry
    current = Run(job.config, folder, problem, solver, job.config.run.steps, kernels, registry, job.batches)
    facts = {"device": decisions.device, "solver": solver.composition.as_config(), "seed": job.config.run.seed}
    installed = plain(versions(decisions))
    watching.append((Metrics(), None))  # the last is called first: a step is on record before others see it
    try:
        for observer, origin in watching:
            registry.observe(observer, origin)
        if resume is None:
            _make_folder(current, installed)
        else:
            go_back(current, installed)
        return _carry_out(current, facts, begun, first_use)
    finally:
        registry.forget(*(observer for observer, _ in watching))


def _job_of(config: Config | Job | str | Path) -> Job:
    if isinstance(config, Job):
        return config
    return Job(config if isinstance(config, Config) else read_config(config))


def _carry_out(job: Run, facts: dict[str, Any], begun: float, first_use: float) -> dict[str, Any]:
    """Take the steps and complete the folder, however they end."""
    # Ctrl-C may arrive anywhere, also while another error is being handled.
    ending: dict[str, Any] = {"status": "interrupted", "evaluation": {}}
    try:
        job.packs.notify("boat_run_started", run=job)
        _steps(job)
        ending |= {"evaluation": _evaluate(job), "status": "finished"}
    except Exception as error:
        ending |= {"status": "failed", "message": f"{type(error).__name__}: {error}"}
        raise
    finally:
        summary = _finish(job, ending | facts, begun, first_use)
        told = job.switched_off
        job.packs.notify("boat_run_finished", run=job, summary=summary)
        if job.switched_off != told:
            summary["observers_switched_off"] = job.switched_off
            write_json(job.folder / "summary.json", summary)
    return summary


def _steps(job: Run) -> None:
    settings = job.config.run
    for k in range(job.solver.iteration, job.steps):
        step = job.solver.step(**job.batches(k))
        job.progress = {
            "upper_loss": step.upper_loss,
            "lower_loss": step.lower_loss,
            "concerns": job.progress["concerns"] + len(step.report.concerns),
        }
        job.kernels.poll()
        dismiss_workers()
        job.packs.notify("boat_step_finished", run=job, step=step)
        done = k + 1
        if settings.evaluate_every and done % settings.evaluate_every == 0 and done < job.steps:
            _evaluate(job)
        if settings.checkpoint_every and done % settings.checkpoint_every == 0:
            path = checkpoint.path_of(job.folder, done)
            checkpoint.save(path, position(job))
            job.packs.notify("boat_checkpoint_written", run=job, path=path)


def _evaluate(job: Run) -> dict[str, float]:
    """Ask the problem for its numbers, and keep them in a line of their own."""
    numbers, iteration = evaluation(job.problem, job.solver.upper, job.solver.lower), job.solver.iteration - 1
    if numbers:
        with (job.folder / EVALUATIONS).open("a", encoding="utf-8") as file:
            file.write(json_text({"iteration": iteration, **numbers}) + "\n")
        job.packs.notify("boat_evaluated", run=job, iteration=iteration, numbers=numbers)
    return numbers


def _finish(job: Run, ending: dict[str, Any], begun: float, first_use: float) -> dict[str, Any]:
    """Write all that there is; what cannot be written is named in the summary and hinders nothing else."""
    job.kernels.poll()
    now, compiling = time.perf_counter(), job.kernels.seconds
    facts = {
        **ending,
        "steps": job.solver.iteration,
        **job.progress,
        "seconds_compiling": round(compiling, 3),
        "seconds_computing": round(max(0.0, now - first_use - compiling), 3),
        "seconds_total": round(now - begun, 3),
        "kernels_compiled": job.kernels.count,
        "resumed_from": job.resumed_from,
        "folder": str(job.folder),
        **({"observers_switched_off": job.switched_off} if job.switched_off else {}),
    }
    summary: dict[str, Any] = plain(facts)
    write_json(job.folder / "summary.json", summary)
    pieces: dict[str, Callable[[Path], None]] = {
        "variables.npz": lambda path: write_variables(path, job.solver.upper, job.solver.lower),
        "picture.png": lambda path: write_picture(path, job.problem, job.solver.upper, job.solver.lower),
    }
    for name, write in pieces.items():
        try:
            write(job.folder / name)
        except Exception as error:
            summary.setdefault("not_written", {})[name] = f"{type(error).__name__}: {error}"
            write_json(job.folder / "summary.json", summary)
            warn(f"{name} could not be written: {type(error).__name__}: {error}")
    return summary


def _must_be_free(folder: Path) -> None:
    if folder.exists():
        raise RunError(
            f"{folder} exists; choose another folder with --set run.out=FOLDER, or go on with --resume {folder}"
        )


def _make_folder(job: Run, installed: dict[str, Any]) -> None:
    """Make the run's folder with what is known before the first step, all at once."""
    partial = job.folder.with_name(f".{job.folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        write_text(partial / CONFIG_NAME, as_yaml(job.config))
        write_json(partial / "versions.json", installed)
        _must_be_free(job.folder)
        partial.rename(job.folder)
    except OSError as error:
        raise RunError(f"{job.folder} cannot be made: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
