"""A `Job`: a configuration, resolved once, and the objects that it names.

job = Job(read_config("config.yaml"))
job.composition          known at once, like every error that needs no code of the user's
job.problem, job.solver  built at the first use
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from ..bilevel.lower_optimizer import LowerOptimizer
from ..declare.options import read_options
from ..errors import CompositionError, ConfigError, OptionError, RunError
from ..plugins.composition import Composition, compose
from ..plugins.discovery import installed
from ..plugins.entries import Declared
from ..plugins.registry import Registry
from .optimizers import Part, build_optimizer, parts_of
from .problem import resolve_problem, run_foreign
from .schema import Config

if TYPE_CHECKING:
    from ..bilevel.executor import Executor
    from ..bilevel.outer_iteration import OuterIteration
    from ..bilevel.portable import Replica
    from ..bilevel.problem import Problem
    from ..bilevel.solver import Solver
    from ..optimizers.base import Optimizer
    from ..runtime import Decisions


@dataclass(frozen=True)
class _Named:
    """An observer or executor of a configuration: its key, its declaration, and its options, read."""

    key: str
    entry: Declared
    options: Any

    def build(self, config: Config) -> Any:
        """Build it; its library is imported here."""
        what = f"{self.entry.declaration.kind} {self.entry.name} could not be built"
        return run_foreign(config, self.key, what, partial(self._build, config))

    def _build(self, config: Config) -> Any:
        declaration = self.entry.declaration
        try:
            return declaration.build(self.options)
        except ImportError as error:
            missing = f"{declaration.kind} {declaration.name} needs {error.name or 'a library'} ({error})"
            remedy = f"pip install {declaration.requires!r}" if declaration.requires else None
            raise config.source.error(self.key, missing, hint=remedy) from error


class Job:
    """A configuration with everything that it names.

    Making a job looks up every name, reads every option and composes the solver, each once, and runs no code of the
    user's. The problem, the optimizers, the executor and the solver are built when they are first asked for.

    Args:
        config: from `read_config`.
        registry: where names are looked up; by default what is installed.

    Attributes:
        composition: the operations of the solver, in order, with their options.

    Raises:
        ConfigError: a name or an option does not fit, or the operations do not form a solver; with the line of the key.
    """

    def __init__(self, config: Config, registry: Registry | None = None) -> None:
        self.config = config
        self.registry: Registry = installed() if registry is None else registry
        self._parts = {level: parts_of(config, self.registry, level) for level in ("lower", "upper")}
        self._observers = self._resolve_observers()
        (self._executor,) = (
            self._resolve(key, name, options, self.registry.executor)
            for key, name, options in config.run.named_executor()
        )
        self._build_problem = resolve_problem(config, self.registry)
        self.composition: Composition = self._compose()

    def __reduce__(self) -> Any:
        """Pickle the configuration. It is resolved anew where the job is loaded, and the solver starts anew."""
        return (Job, (self.config,) if self.registry is installed() else (self.config, self.registry))

    def __copy__(self) -> Job:
        job = Job.__new__(Job)
        job.__dict__.update(self.__dict__)
        return job

    def optimizer_parts(self, level: str) -> list[Part]:
        """Return the parts of the `lower` or `upper` optimizer with their names and options. Most often it is one."""
        return self._parts[level]

    @cached_property
    def problem(self) -> Problem:
        """The problem, built with the run's seed. The user's module is imported here."""
        from ..runtime import prepare

        prepare(self.config.run.device)  # the module may import Jittor
        return self._build_problem()

    @cached_property
    def lower_optimizer(self) -> Optimizer | Callable[[Any], Optimizer]:
        """The lower optimizer, or a function of x that returns it, where hyperparameters are upper variables."""
        return build_optimizer(self._parts["lower"])

    @cached_property
    def upper_optimizer(self) -> Optimizer:
        """The upper optimizer."""
        return cast("Optimizer", build_optimizer(self._parts["upper"]))

    @cached_property
    def executor(self) -> Any:
        """What solves the tasks of an outer step."""
        return self._executor.build(self.config)

    @cached_property
    def solver(self) -> Solver:
        """The solver of the problem, before its first step.

        Raises:
            ConfigError: a setting does not fit the problem.
        """
        self.prepare()
        from ..bilevel.solver import Solver

        return Solver.of(self._outer(self.executor))

    def close(self) -> None:
        """Give back what the executor holds, such as processes. A later step begins anew."""
        close = getattr(self.__dict__.get("executor"), "close", None)
        if callable(close):
            close()

    def _outer(self, executor: Executor) -> OuterIteration:
        problem = self.problem
        from ..bilevel.outer_iteration import OuterIteration

        lower, settings = LowerOptimizer(self.lower_optimizer), self.config.solver.settings()
        recipe = partial(_replica, self.config)
        try:
            return OuterIteration(problem, self.composition, settings, lower, self.upper_optimizer, executor, recipe)
        except (CompositionError, OptionError) as error:
            raise self.config.located(error, "solver") from error

    def observers(self) -> list[tuple[Any, str]]:
        """Build the observers that the configuration names; return each with the distribution that provides it.

        Raises:
            ConfigError: a library is missing (with what pip installs), or an observer's own code raised.
        """
        return [(observer.build(self.config), observer.entry.origin) for observer in self._observers]

    def batches(self, k: int) -> dict[str, Any]:
        """Return the batches or tasks of outer step k as `Solver.step` takes them. They depend on seed and k alone.

        Raises:
            RunError: the problem returned neither a pair nor `Tasks`.
        """
        import numpy

        from ..bilevel.problem import Tasks

        if self.problem.batches is None:
            return {}
        batches = self.problem.batches(k, numpy.random.default_rng([self.config.run.seed, k]))
        if isinstance(batches, Tasks):
            return {"tasks": batches}
        if not isinstance(batches, (tuple, list)) or len(batches) != 2:
            kind = type(batches).__name__
            raise RunError(f"problem.batches: expected (lower_batch, upper_batch) or boat_core.Tasks (got {kind})")
        return {"lower_batch": batches[0], "upper_batch": batches[1]}

    def prepare(self) -> Decisions:
        """Import Jittor for the device that the configuration names; return what was decided for this machine."""
        from ..runtime import prepare, select_device

        decisions = prepare(self.config.run.device)
        select_device()
        return decisions

    def with_config(self, config: Config) -> Job:
        """Return this job with another folder or length of the run; nothing is resolved anew."""
        job = copy.copy(self)
        job.config = config
        return job

    def _resolve(self, key: str, name: str, options: dict[str, Any], find: Callable[[str], Declared]) -> _Named:
        config = self.config
        name_key = f"{key}.name" if f"{key}.name" in config.source.places else key
        try:
            entry = find(name)
        except ConfigError as error:
            raise config.located(error, name_key) from None
        try:
            return _Named(name_key, entry, read_options(entry.declaration.options, options, ()))
        except OptionError as error:
            raise config.located(error, key) from None

    def _resolve_observers(self) -> list[_Named]:
        observers: list[_Named] = []
        for key, name, options in self.config.run.named_observers():
            observer = self._resolve(key, name, options, self.registry.observer)
            if any(observer.entry is other.entry for other in observers):
                raise self.config.source.error(observer.key, f"{name} is listed twice")
            observers.append(observer)
        return observers

    def _compose(self) -> Composition:
        section = self.config.solver
        try:
            composition = compose(self.registry, **section.chains())
            composition.start_rule(section.start)
            composition.work(section.lower_steps)
            if composition.needs_lower_rate or any(part.taken for part in self._parts["lower"]):
                composition = LowerOptimizer(self.lower_optimizer).fit(composition)
        except (CompositionError, OptionError) as error:
            raise self.config.located(error, "solver") from None
        return composition


def _replica(config: Config) -> Replica:
    """Make the outer iteration of a configuration in this process, with the packs that are installed here."""
    from ..bilevel.executor import Sequential
    from ..bilevel.portable import Replica

    job = Job(config)
    job.prepare()
    return Replica(job._outer(Sequential()), job.batches)
