"""`Problem`: a bilevel problem of JBOAT's configuration files, solved by BOAT."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boat_core as boat

from ._layer import upper_optimizer
from ._layer.capture import reached
from ._layer.catalogue import Catalogue
from ._layer.engine import ALONE, Engine
from ._layer.log import Log, LossFile, plot
from ._layer.notes import (
    Note,
    notes_of_chain,
    notes_of_optimizers,
    notes_of_return,
    notes_of_variables,
    notice,
)
from ._layer.objectives import Feeds
from ._layer.source import Source, read_source
from ._layer.variables import derivatives_allowed
from .gm_ol.sequential_ds import SequentialDS
from .na_ol.sequential_hg import SequentialHG
from .operation_registry import Operation_REGISTRY
from .utils.op_utils import DynamicalSystemRules, HyperGradientRules, adjust_order

Feed = dict[str, Any]


class Problem:
    """A bilevel problem.

    Args:
        config: the boat_config, with the models, variables and optimizers that the script has put into it.
        loss_config: the loss_config.

    Attributes:
        boat_configs: the boat_config, the script's own dictionary. `return_grad`, `accumulate_grad`, `copy_last_param`
            and the batch key are read from it in every iteration.
        loss_history: a dictionary with "iter", "ll_loss" and "ul_loss" for each iteration.

    Raises:
        ConfigError: a file has an error of the user's; with the file and the key. This is a ValueError.
    """

    def __init__(self, config: dict[str, Any], loss_config: dict[str, Any]) -> None:
        # Optimizers that the builders are given come first; the script's dictionary is not changed.
        self._given: dict[str, Any] = {}
        own = read_source("boat_config", config)
        self._source = Source(own.file, ChainMap(self._given, config))
        self.boat_configs, self.loss_configs = config, loss_config
        self._engine = Engine(self._source, read_source("loss_config", loss_config), Catalogue(Operation_REGISTRY))
        self.loss_history: list[dict[str, float]] = []
        self._ll_solver: Any = None
        self._ul_solver: Any = None
        self._instances: dict[str, Any] | None = None
        self._track_traj, self._told = False, False
        path = self._source.find("loss_log_path")
        self._loss_file = LossFile(Path(path)) if path else None

    @property
    def losses(self) -> dict[str, Any]:
        """The loss functions by their keys in the loss_config, with their `params`."""
        functions = self._engine.losses
        both = {"lower_level_loss": functions.lower, "upper_level_loss": functions.upper}
        return both if functions.gda is None else {**both, "gda_loss": functions.gda}

    # Building

    def build_ll_solver(self, *optimizers: Any) -> Problem:
        """Build the lower part of the solver. Return this problem.

        Args:
            optimizers: the lower optimizer, which releases of 2024 took here; without it that of the configuration.

        Raises:
            ConfigError: the operations do not form a solver; with the key.
        """
        self._take("lower_level_opt", optimizers)
        self.check_status()
        engine, chain = self._engine, self._engine.chain
        objectives = engine.losses.lower, engine.losses.upper
        common = {
            "ll_objective": objectives[0],
            "ul_objective": objectives[1],
            "ul_model": engine.levels.upper_model,
            "ll_model": engine.levels.lower_model,
            "solver_config": {**self.boat_configs, "gda_loss": engine.losses.gda},
        }
        variables = {"ll_var": engine.levels.y.given, "ul_var": engine.levels.x.given}
        loop = {"lower_loop": engine.lower_steps}
        if chain.first_order:
            self._ll_solver = self._instance(chain.first_order, {**common, **variables, **loop})
            instances = {chain.first_order: self._ll_solver}
        else:
            maps = adjust_order(chain.map, DynamicalSystemRules.get_gradient_order())
            last = adjust_order(chain.approximate, HyperGradientRules.get_gradient_order())
            made = {name: self._instance(name, {**common, **loop}) for name in maps}
            estimators = {name: self._instance(name, {**common, **variables}) for name in last}
            self._ll_solver = SequentialDS([i for i in made.values() if i is not None], list(chain.map))
            self._ul_chain = SequentialHG([i for i in estimators.values() if i is not None], list(chain.approximate))
            instances = {**made, **estimators}
        self._instances = {name: instance for name, instance in instances.items() if instance is not None}
        if self._source.find("upper_level_opt") is not None:
            engine.build(self._instances)
        return self

    def build_ul_solver(self, *optimizers: Any) -> Problem:
        """Build the upper part of the solver. Return this problem.

        Args:
            optimizers: the upper optimizer, which releases of 2024 took here; without it that of the configuration.

        Raises:
            ConfigError: the operations do not form a solver; with the key.
        """
        self._take("upper_level_opt", optimizers)
        if self._instances is None:
            self.build_ll_solver()
        assert self._instances is not None
        if self._engine.chain.first_order is None:
            self._ul_solver = self._ul_chain
        self._engine.build(self._instances)
        return self

    def _instance(self, name: str, arguments: dict[str, Any]) -> Any:
        """Return an object of the class of an operation; None for operations of BOAT's that JBOAT does not have."""
        cls = Operation_REGISTRY.get(name)
        return cls(**arguments) if cls else None

    def _take(self, key: str, optimizers: Sequence[Any]) -> None:
        if len(optimizers) > 1:
            raise boat.OptionError(where=key, expected="one optimizer at most", got=str(len(optimizers)))
        if optimizers:
            self._given[key] = optimizers[0]

    def check_status(self) -> None:
        """Check the configuration, and decide whether lower steps keep their graph.

        Raises:
            ConfigError: a key is missing or out of its range.
        """
        for key in ("return_grad", *(() if self._engine.chain.first_order else ("accumulate_grad", "copy_last_param"))):
            self._source.flag(key)
        self.set_track_trajectory(bool(self._engine.chain.names & {"PTT", "IAD", "RAD"}))

    def set_track_trajectory(self, track_traj: bool = True) -> None:
        """Say whether lower steps keep their graph. BOAT keeps what its operations need, whatever is said here."""
        self._track_traj = track_traj

    # Running

    def run_iter(
        self, ll_feed_dict: Feed | list[Feed], ul_feed_dict: Feed | list[Feed], current_iter: int
    ) -> tuple[Any, float]:
        """Do one iteration.

        Args:
            ll_feed_dict, ul_feed_dict: the feeds of the losses; lists with one for each task under `accumulate_grad`,
                or for each batch under `fogm_batch_input`.
            current_iter: the number of the iteration. Schedules depend on it.

        Returns:
            `(log, seconds)`. The log lists what the operations did; formatted as a number it is the upper loss. Under
            `return_grad` `(gradients, seconds)`: the hypergradient for each array of `upper_level_var`, and x stays.

        Raises:
            ConfigError: the feeds do not fit the configuration.
            BoatError: what `boat_core.Solver.step` raises.
        """
        if (stop := reached.get()) is not None:
            stop(self, ll_feed_dict, ul_feed_dict)
        if self._instances is None:
            raise boat.RunError("run_iter: call build_ll_solver() and build_ul_solver() first")
        begin = time.perf_counter()
        pairs, summed = self._pairs(ll_feed_dict, ul_feed_dict)
        if not self._told:
            self._told = True
            print(notice(self.notes()))
        levels, returned = self._engine.levels, self._source.flag("return_grad")
        with derivatives_allowed([*levels.x.handles, *levels.y.handles]):
            outcomes = self._solve(pairs, summed, int(current_iter))
            gradients = self._gradients(outcomes)
            if not returned:
                self._step(gradients, outcomes[-1].upper_scale)
        seconds = time.perf_counter() - begin
        self._log_losses(int(current_iter), *pairs[0])
        return (self._as_given(gradients) if returned else self._log(outcomes)), seconds

    def _solve(self, pairs: list[tuple[Any, Any]], summed: bool, k: int) -> list[boat.Outcome]:
        feeds = [Feeds(lower, upper) for lower, upper in pairs]
        try:
            if summed:
                return [self._engine.iterate({str(n): one for n, one in enumerate(feeds)}, k, True)]
            return [self._engine.iterate({ALONE: one}, k, False) for one in feeds]
        except boat.NonFiniteError as error:
            # BOAT does not look into the feeds, which may hold anything.
            places = [
                place for n, one in enumerate(feeds) for place in one.nonfinite(f"[{n}]" if len(feeds) > 1 else "")
            ]
            if not places:
                raise
            raise boat.NonFiniteError(f"{error}; NaN or infinity in {', '.join(places)}") from None

    def _pairs(self, lower: Any, upper: Any) -> tuple[list[tuple[Any, Any]], bool]:
        """Return the pairs of feeds, and whether they are tasks whose gradients are summed."""
        first_order = self._engine.chain.first_order is not None
        key = "fogm_batch_input" if first_order else "accumulate_grad"
        several = bool(self._source.find(key, False)) if first_order else self._source.flag(key)
        for name, feed in (("ll_feed_dict", lower), ("ul_feed_dict", upper)):
            if several and not (isinstance(feed, (list, tuple)) and feed):
                expected = f"{name} to be a list of dictionaries, since {key} is true"
                raise self._source.error(key, expected=expected, got=type(feed).__name__)
            for one in feed if several else [feed]:
                if not isinstance(one, dict):
                    expected = f"{name} to hold dictionaries" if several else f"{name} to be a dictionary"
                    hint = None if several else f"for lists of dictionaries set {key} to true"
                    raise self._source.error(key, expected=expected, got=type(one).__name__, hint=hint)
        if several and len(lower) != len(upper):
            got = f"{len(lower)} and {len(upper)}"
            raise self._source.error(key, expected="as many lower feeds as upper feeds", got=got)
        return (list(zip(lower, upper)) if several else [(lower, upper)]), several and not first_order

    def _gradients(self, outcomes: list[boat.Outcome]) -> list[Any]:
        total = boat.pairwise_sum([outcome.direction for outcome in outcomes])
        return list(total.sync().leaves) if total is not None else []

    def _step(self, gradients: list[Any], scale: float) -> None:
        """Let the user's optimizer move x."""
        levels, chain = self._engine.levels, self._engine.chain
        factor = None
        if "DM" in chain.names:
            lower_rate = min(self._engine.lower_settings().rates)
            # DM's upper step size: alone lr_u · lr_l times its schedule, with GDA lr_l times its schedule.
            with_gda = "GDA" in chain.names
            factor = lambda rate: scale * lower_rate / (rate if with_gda else 1.0)  # noqa: E731
        upper_optimizer.step(self._engine.upper, levels.x.handles, gradients, factor)
        levels.remember()

    def _as_given(self, gradients: list[Any]) -> list[Any]:
        """Return a gradient for each array of `upper_level_var`, zeros for constants."""
        import jittor

        x = self._engine.levels.x
        filled = [jittor.zeros(array.shape, array.dtype) for array in x.given]
        for place, gradient in zip(x.positions, gradients):
            filled[place] = gradient
        return filled

    def _log(self, outcomes: list[boat.Outcome]) -> Log:
        chain, last = self._engine.chain, outcomes[-1]
        loss = last.losses[0]
        if chain.first_order:
            return Log([{"upper_loss": loss}], loss)
        selected = last.reports.get("PTT", {}).get("steps", -1)
        steps: list[dict[str, Any]] = [{f"dynamic_results_{place}": selected} for place in range(len(chain.map))]
        done = {"upper_loss": loss, "hyper_gradient_finished": True}
        return Log([*steps, {"gradient_operator_results": done}], loss)

    def notes(self) -> list[Note]:
        """Return what differs from JBOAT for this configuration."""
        engine, source = self._engine, self._source
        levels, settings = engine.levels, engine.lower_settings()
        upper, plain = engine.upper_as_text()
        named = source.find("na_op") or []
        added = engine.levels.start_is_upper and "IAD" not in [str(name).upper() for name in named]
        return [
            *notes_of_optimizers(upper, plain, str(settings), settings.plain),
            *notes_of_chain(engine.chain, bool(source.find("copy_last_param"))),
            *notes_of_return(source.flag("return_grad")),
            *notes_of_variables(levels.both, levels.left_alone(), levels.start_is_upper, added),
        ]

    # Losses

    def _log_losses(self, k: int, lower_feed: Feed, upper_feed: Feed) -> None:
        """Evaluate both losses at what the models hold. Statistics of the models, such as BatchNorm's, move here."""
        levels, losses = self._engine.levels, self._engine.losses
        models = levels.upper_model, levels.lower_model
        values = [float(losses.lower(lower_feed, *models).item()), float(losses.upper(upper_feed, *models).item())]
        self.save_losses(k, *values)

    def save_losses(self, current_iter: int, ll_loss: float, ul_loss: float) -> None:
        """Add the losses of an iteration to `loss_history` and to the file at `loss_log_path`."""
        self.loss_history.append({"iter": current_iter, "ll_loss": float(ll_loss), "ul_loss": float(ul_loss)})
        if self._loss_file is not None:
            try:
                self._loss_file.append(self.loss_history)
            except OSError as error:
                raise self._source.error("loss_log_path", f"the file cannot be written: {error}") from error

    def plot_losses(self) -> None:
        """Draw both losses into `loss_curve.png` beside `loss_log_path`.

        Raises:
            RunError: Matplotlib is not installed.
        """
        folder = self._loss_file.path.parent if self._loss_file else Path()
        try:
            plot(self.loss_history, folder / "loss_curve.png")
        except ImportError as error:
            raise boat.RunError("plot_losses needs Matplotlib", hint="pip install 'boat-compat[plots]'") from error
