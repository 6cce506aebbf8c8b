"""A run: a configuration carried out, and recorded in a folder of its own.

    FOLDER/config.yaml       the configuration as run; `boat run` takes it again
    FOLDER/versions.json     what was installed, and what was decided for this machine
    FOLDER/metrics.jsonl     one line for every outer step; evaluations.jsonl likewise
    FOLDER/checkpoints/      where `boat run --resume FOLDER` goes on from, to the very same numbers
    FOLDER/run.lock          held by the process that writes the folder
    FOLDER/summary.json, variables.npz, picture.png

However a run ends, its folder is readable, and the run can be resumed from where it ended. `signals.py` says what
happens on Ctrl-C and on SIGTERM.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._util.atomic import json_text, plain
from ..config.build import Job
from ..config.schema import Config, read_config
from ..errors import RunError
from ..plugins.observers import Observers
from ..runtime.interrupts import dismiss_workers
from . import checkpoint
from .artifacts import evaluation, versions
from .current import Run
from .ending import Clock, complete_folder, save_checkpoint
from .folder import lock_folder, new_folder, require_free
from .lines import append_line, read_lines
from .resume import EVALUATIONS, require_same_run, restore_run
from .signals import StopSignals
from .storage import StorageError


def run(
    config: Config | Job | str | Path, observers: Sequence[Any] = (), resume: str | Path | None = None
) -> dict[str, Any]:
    """Carry out a configuration and return the summary, which is in `summary.json` too.

    Args:
        config: what `read_config` returns, or a `Job` made of it, or the path of its file.
        observers: objects with `@boat_core.hookimpl` methods of the observer hooks, beside those that the
            configuration names.
        resume: the folder of a run to go on with, instead of a new one.

    Raises:
        ConfigError, RunError: the configuration, the folder or the checkpoint does not fit; nothing was written.
        KeyboardInterrupt, or any error of a step: after the folder was completed as far as the run came.
        SystemExit: likewise, after SIGTERM (code 143) or SIGHUP (code 129), if the program left both to their default.
    """
    begun = time.perf_counter()
    job = _job_of(config)
    if resume is None:
        require_free(job.config)
    else:
        job = job.with_config(require_same_run(job.config, Path(resume)))
    watching: list[tuple[Any, str | None]] = [*((one, None) for one in observers), *job.observers()]
    from ..runtime import KernelWatch

    decisions = job.prepare()
    problem = job.problem
    kernels, first_use = KernelWatch(), time.perf_counter()
    solver, folder, events = job.solver, Path(job.config.run.out or ""), Observers(job.registry)
    current = Run(job.config, folder, problem, solver, job.config.run.steps, kernels, events, job.batches)
    facts = {"device": decisions.device, "solver": solver.composition.as_config(), "seed": job.config.run.seed}
    installed = plain(versions(decisions))
    watching.append((current.metrics, None))  # the last is called first: a step is on record before others see it
    for observer, origin in watching:
        events.observe(observer, origin)
    try:
        with (
            StopSignals(is_recording=lambda: solver.iteration != current.metrics.recorded) as signals,
            new_folder(current, installed) if resume is None else lock_folder(current.folder),
        ):
            if resume is not None:
                restore_run(current, installed)
            return _carry_out(current, signals, facts, Clock(begun, first_use))
    finally:
        current.metrics.close()
        job.close()


def _job_of(config: Config | Job | str | Path) -> Job:
    if isinstance(config, Job):
        return config
    return Job(config if isinstance(config, Config) else read_config(config))


def _carry_out(job: Run, signals: StopSignals, facts: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Take the steps and complete the folder, however they end."""
    ending: dict[str, Any] = {"status": "interrupted", "evaluation": {}}
    failure: BaseException | None = None
    try:
        with signals.interruptible():
            job.events.notify("boat_run_started", run=job)
        job.metrics.check()
        _steps(job, signals)
        _save_before_evaluation(job, signals)
        ending |= {"evaluation": _evaluate(job, signals), "status": "finished"}
    except Exception as error:
        # After a signal the error says little: the signal reached a compiler that the step had started as well.
        failure = signals.as_exception()
        if failure is not None:
            failure.__cause__ = error
        else:
            failure, ending = error, ending | {"status": "failed", "message": f"{type(error).__name__}: {error}"}
    except BaseException as error:
        failure = error
    if signals.received is not None and failure is not None:
        ending["signal"] = signals.received.name
    signals.begin_ending()
    summary, failure = complete_folder(job, signals, ending | facts, clock, failure)
    if isinstance(failure, StorageError):
        raise RunError(f"{failure}; {_how_to_resume(job.folder)}") from failure
    if failure is not None:
        raise failure
    return summary


def _how_to_resume(folder: Path) -> str:
    if not checkpoint.newest_first(folder):
        return "there is no checkpoint yet, so the run has to begin again"
    return f"once that is mended, go on with --resume {folder}"


def _steps(job: Run, signals: StopSignals) -> None:
    """Take the outer steps that are left. Each is recorded, evaluated and saved before a signal ends the run."""
    settings = job.config.run
    _evaluate_if_due(job, signals)  # a run may have been stopped between a step and its evaluation
    for k in range(job.solver.iteration, job.steps):
        signals.check()
        with signals.interruptible():
            step = job.solver.step(**job.batches(k))
        job.progress = {
            "upper_loss": step.upper_loss,
            "lower_loss": step.lower_loss,
            "concerns": job.progress["concerns"] + len(step.report.concerns),
        }
        job.kernels.poll()
        dismiss_workers()
        with signals.interruptible():
            job.events.notify("boat_step_finished", run=job, step=step)
        job.metrics.check()
        _evaluate_if_due(job, signals)
        if settings.checkpoint_every and (k + 1) % settings.checkpoint_every == 0:
            save_checkpoint(job, signals)
    signals.check()


def _save_before_evaluation(job: Run, signals: StopSignals) -> None:
    """Save what the steps came to before code of the problem's runs once more."""
    try:
        save_checkpoint(job, signals)
    except StorageError:
        raise
    except Exception:  # a state that no checkpoint can hold; `complete_folder` tries again and reports it
        return


def _evaluate_if_due(job: Run, signals: StopSignals) -> None:
    done, every = job.solver.iteration, job.config.run.evaluate_every
    if every and done and done % every == 0 and done < job.steps:
        lines = read_lines(job.folder / EVALUATIONS) if done == job.resumed_from else []
        if not lines or lines[-1]["iteration"] != done - 1:
            _evaluate(job, signals)


def _evaluate(job: Run, signals: StopSignals) -> dict[str, float]:
    """Ask the problem for its numbers, and keep them in a line of their own."""
    iteration = job.solver.iteration - 1
    with signals.interruptible():
        numbers = evaluation(job.problem, job.solver.upper, job.solver.lower)
    if numbers:
        append_line(job.folder / EVALUATIONS, json_text({"iteration": iteration, **numbers}))
        with signals.interruptible():
            job.events.notify("boat_evaluated", run=job, iteration=iteration, numbers=numbers)
    return numbers
