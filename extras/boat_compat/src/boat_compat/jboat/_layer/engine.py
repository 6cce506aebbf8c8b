"""One problem of a script, solved by BOAT: `build` composes the solver, `iterate` does what `run_iter` does.

    user's arrays ──► SolverState ──► OuterIteration.propose ──► Outcome ──► user's arrays, by their own optimizer

The user's arrays are the state: whatever a script writes into its models between two iterations counts. The engine
keeps only what the models cannot hold: the state of operations and of the lower optimizer, and a learned start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import boat_core as boat
from boat_core import Batches, BoatError, ConfigError, LowerState, Outcome, Proposal, SolverState

from ..utils.op_utils import DynamicalSystemRules, HyperGradientRules, adjust_order
from . import foreign, upper_optimizer
from .catalogue import Catalogue
from .chain import Chain, read_chain
from .levels import Levels
from .losses import load_losses
from .lower_optimizer import Hyperparameters, as_boat_optimizer, read_optimizer, require_optimizer
from .objectives import Feeds
from .operations import DISTRIBUTION, Parts, adapted
from .options import Facts, their_key, translate
from .source import Source

_CHAINS = {"map": "gm_op", "approximate": "na_op", "first_order": "fo_op"}
#: The key of a task's state where there are no tasks, as in `SolverState.lower`.
ALONE = ""


class Engine:
    """The solver of one boat_config.

    Args:
        source: the boat_config.
        losses: the loss_config.
        catalogue: where operations are looked up.

    Attributes:
        chain: the operations, without those that mean nothing in this chain.

    Raises:
        ConfigError: a file has an error of the user's; with the file and the key.
    """

    def __init__(self, source: Source, losses: Source, catalogue: Catalogue) -> None:
        self.source, self.catalogue = source, catalogue
        self.levels = Levels(source)
        self.chain: Chain = read_chain(source, catalogue.labels, self.levels.start_is_upper)
        self.losses = load_losses(losses, "GDA" in self.chain.map)
        self._check_start()
        self._instances: dict[str, Any] = {}
        self._solver: boat.Solver | None = None
        self._built_from: Any = None
        self._iterations = 0
        self._lower: dict[str, LowerState] = {}
        self._start: Any = None
        self._start_optimizer: Any = None

    @property
    def upper(self) -> Any:
        """The user's upper optimizer."""
        return require_optimizer(self.source, "upper_level_opt")

    def lower_settings(self) -> Hyperparameters:
        """Return what the lower optimizer does now."""
        return read_optimizer(self.source, "lower_level_opt", self.levels.y.handles)

    def upper_as_text(self) -> tuple[str, bool]:
        """Return the upper optimizer as text, and whether it is plain gradient descent."""
        try:
            settings = read_optimizer(self.source, "upper_level_opt", self.levels.x.handles)
        except ConfigError:  # a class of the user's own, or settings that are no numbers
            return type(self.upper).__name__, False
        return str(settings), settings.plain

    @property
    def lower_steps(self) -> int:
        """T. Maps that take one step in an iteration ignore `lower_iters`."""
        steps = self.source.integer("lower_iters", 1)
        fixed = {self._operation(name).lower_steps for name in self.chain.map if not self.catalogue.foreign(name)}
        return next((number for number in fixed if number is not None), steps)

    @property
    def keeps_y(self) -> bool:
        """Whether y_T becomes the model's lower parameters: as `copy_last_param` says, unless an operation steps y."""
        if self.chain.first_order or any(self._steps_y(name) for name in self.chain.map):
            return True
        starts_at_x = any("start" in self.catalogue.labels(name) for name in self.chain.approximate)
        return self.source.flag("copy_last_param") and not starts_at_x

    def _steps_y(self, name: str) -> bool:
        return not self.catalogue.foreign(name) and self._operation(name).own_adjoint

    def _operation(self, name: str) -> boat.Operation:
        return self.catalogue.operation(name)

    def _check_start(self) -> None:
        if self.chain.first_order and self.levels.start_is_upper:
            message = f"{self.chain.first_order} needs lower variables that are not the upper variables"
            raise self.source.error("lower_level_var", message)
        if "IAD" in self.chain.approximate and self.levels.shapes_differ:
            expected = "arrays like those of upper_level_var, in shape and dtype, since with IAD y starts at x"
            raise self.source.error("lower_level_var", expected=expected, got=self.levels.shapes_differ)

    # The solver

    def build(self, instances: dict[str, Any]) -> None:
        """Compose the solver, so that every error of the configuration is found before the first iteration.

        Args:
            instances: an object for each operation whose class a script has registered, or may have changed.
        """
        self._instances = instances
        upper_optimizer.check_groups(self.source, "upper_level_opt", self.upper, self.levels.x.handles)
        self.solver()

    def solver(self) -> boat.Solver:
        """Return the solver with the settings of now. It is composed anew only where these have changed."""
        settings, strategy = self.lower_settings(), self._strategy()
        built_from = settings, strategy, self.source.find("lower_iters")
        if self._solver is None or built_from != self._built_from:
            self._solver, self._built_from = self._compose(settings, strategy), built_from
        return self._solver

    def _strategy(self) -> str | None:
        """Scripts change `strategy` on the object of DM between iterations."""
        return getattr(self._instances.get("DM"), "strategy", None)

    def _compose(self, settings: Hyperparameters, strategy: str | None) -> boat.Solver:
        objectives = self.levels.objectives(self.losses)
        self.current = foreign.Current(self.levels, objectives)
        parts = Parts(self.source, objectives, self._start_optimizer_of)
        own = [operation for name in self.chain.names if (operation := self._own_operation(name, parts))]
        registry = self.catalogue.registry(own, DISTRIBUTION)
        prefixed = {operation.name: f"{DISTRIBUTION}:{operation.name}" for operation in own}
        names: Callable[[Sequence[str]], list[str]] = lambda chain: [prefixed.get(n, n) for n in chain]  # noqa: E731
        first_order = self.chain.first_order
        problem = boat.Problem(
            objectives.upper, objectives.lower, self.levels.x.values(), self.levels.y.values(), name="jboat"
        )
        lower = as_boat_optimizer(self.source, "lower_level_opt", settings, self.levels.y.handles)
        try:
            return boat.Solver(
                problem,
                map=names(self.chain.map),
                approximate=names(self.chain.approximate),
                first_order=prefixed.get(first_order, first_order) if first_order else None,
                lower_optimizer=lower,
                # The user's optimizer moves x. This one has no state, and what it moves is thrown away.
                upper_optimizer=boat.sgd(1.0),
                options=self._options(settings, strategy),
                registry=registry,
                lower_steps=self.lower_steps,
                **self._settings(),
            )
        except ConfigError:
            raise
        except BoatError as error:
            raise self._located(error) from None

    def _own_operation(self, name: str, parts: Parts) -> boat.Operation | None:
        if self.catalogue.foreign(name):
            instance = self._instances[name]
            if name == self.chain.first_order:
                return foreign.first_order_operation(name, instance, self.current)
            if name in self.chain.map:
                order = adjust_order(self.chain.map, DynamicalSystemRules.get_gradient_order())
                return foreign.map_operation(name, instance, self.current, self._successor(order, name))
            order = adjust_order(self.chain.approximate, HyperGradientRules.get_gradient_order())
            successor = self._successor(order, name)
            return foreign.approximate_operation(name, instance, self.current, successor)
        return adapted(name, self._operation(name), parts)

    @staticmethod
    def _successor(chain: Sequence[str], name: str) -> str | None:
        return next(iter(chain[chain.index(name) + 1 :]), None)

    def _start_optimizer_of(self, rate: float) -> boat.Optimizer:
        """An optimizer of the upper optimizer's class with another step size; SGD where BOAT has none of that class."""
        source, arrays = self.source, self.levels.x.handles
        try:
            settings = read_optimizer(source, "upper_level_opt", arrays)
        except ConfigError:
            return boat.sgd(rate)
        first = Hyperparameters(settings.kind, settings.groups[:1] * len(self.levels.y.handles)).with_rate(rate)
        return as_boat_optimizer(source, "upper_level_opt", first, self.levels.y.handles)

    def _options(self, settings: Hyperparameters, strategy: str | None) -> dict[str, dict[str, Any]]:
        facts = Facts(self.lower_steps, min(settings.rates), self.chain.names)
        options = {}
        for name in self.chain.names:
            if self.catalogue.foreign(name):
                continue
            options[name] = translate(name, self._operation(name), self.source, facts)
        if "DM" in options:
            options["DM"]["schedule"] = strategy or options["DM"]["schedule"]
        for name in list(options):
            for label, keys in self._operation(name).claims.items():
                for other in options:
                    if label in self._operation(other).labels:
                        options[other] = {k: v for k, v in options[other].items() if k not in keys}
        return options

    def _settings(self) -> dict[str, Any]:
        """The settings of BOAT's solver that a configuration may hold under "boat", which JBOAT ignores."""
        settings = self.source.find("boat", {})
        if not isinstance(settings, dict) or {"lower_steps", "start", "lower_state"} & set(settings):
            expected = "settings of boat_core.SolverSettings without lower_steps, start and lower_state"
            raise self.source.error("boat", expected=expected, got=repr(settings))
        return settings

    def _located(self, error: BoatError) -> ConfigError:
        """Return an error of the composition at the key of the boat_config that it is about."""
        keys = tuple(str(key) for key in error.where)
        if keys[:1] == ("options",) and len(keys) == 3:
            return self.source.relocated(error, *their_key(keys[1], keys[2]))
        if keys[:1] == ("options",):
            return self.source.relocated(error, *keys[1:])
        if keys and keys[0] in _CHAINS:
            return self.source.relocated(error, _CHAINS[keys[0]])
        if keys[:1] == ("solver",):
            return self.source.relocated(error, "boat", *keys[1:])
        return self.source.relocated(error, *keys)

    # An iteration

    def iterate(self, tasks: dict[str, Feeds], k: int, summed: bool) -> Outcome:
        """Solve the lower problems, and give y what the configuration gives it. x has not moved yet.

        Args:
            tasks: the feeds of each lower problem; the only key is "" without tasks.
            k: the number of the iteration.
            summed: whether the hypergradients of tasks are added up. Every task then starts at the same y, and no y is
                kept.

        Returns:
            What was found, of all tasks together.
        """
        if self._iterations == 0 and (self.levels.x.changed or self.levels.y.changed):
            self._solver = None  # weights were loaded since it was built, and operations start from them
        solver = self.solver()
        self.current.k, self.current.feeds = k, next(iter(tasks.values()))
        if self.levels.start_is_upper:
            # The copy of the upper model follows what the script has set since, such as train() and eval().
            self.current.objectives.renew_upper(*self.levels.upper_side())
        self.current.objectives.remember()
        state = self._state(solver, tasks, k)
        self.levels.remember()
        proposal = solver.outer.propose(state, self._batches(tasks))
        if summed:
            proposal = _summed(proposal, len(tasks))
        new = solver.outer.commit(state, proposal)
        self._iterations += 1
        self._lower, self._start, self._start_optimizer = dict(proposal.lower), new.start, new.start_optimizer
        if not summed and self.keeps_y:
            self.levels.y.write(proposal.outcome.y.leaves)
        elif new.start is not None:
            self.levels.y.write(new.start)
        return replace(proposal.outcome, losses=(proposal.result.upper_loss, proposal.result.lower_loss))

    def _batches(self, tasks: dict[str, Feeds]) -> Batches:
        pairs = {name: (feeds.per_step(self.lower_steps), feeds) for name, feeds in tasks.items()}
        return Batches(*pairs[ALONE]) if list(tasks) == [ALONE] else Batches(tasks=pairs)

    def _state(self, solver: boat.Solver, tasks: dict[str, Feeds], k: int) -> SolverState:
        """Return the user's arrays, and what the engine keeps, as a state of the solver."""
        state, x, y = solver.outer.initial_state(), self.levels.x.values(), self.levels.y.values()
        (fresh,) = state.lower.values()
        lower = {name: replace(self._lower.get(name, fresh), y=y) for name in tasks}
        start, start_optimizer = state.start, state.start_optimizer
        if start is not None:
            # A script that writes into the lower model sets the start anew.
            anew = self._start is None or self.levels.y.changed
            start = y if anew else self._start
            start_optimizer = start_optimizer if anew else self._start_optimizer
        return replace(state, iteration=k, upper=x, lower=lower, start=start, start_optimizer=start_optimizer)


def _summed(proposal: Proposal, tasks: int) -> Proposal:
    """Return a proposal with the sum of the tasks' hypergradients in place of their mean."""
    outcome, start = proposal.outcome, proposal.outcome.start_cotangent
    direction = None if outcome.direction is None else tasks * outcome.direction
    total = None if start is None else tasks * start
    return replace(proposal, outcome=replace(outcome, direction=direction, start_cotangent=total))
