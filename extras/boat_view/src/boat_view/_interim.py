"""INTERIM: `read_config` and `Job` until boat_core has them as public names. Then this file goes."""

from __future__ import annotations

from typing import Any

from boat_core.config.build import build_problem, build_solver, check
from boat_core.config.schema import read_config as read_config
from boat_core.plugins.registry import registry
from boat_core.runs.run import draw_batches
from boat_core.runtime import prepare, select_device


class Job:
    def __init__(self, config: Any) -> None:
        self._config = config
        check(config, registry())
        prepare(config.run.device)
        select_device()
        self._problem = build_problem(config, registry())
        self.solver = build_solver(config, registry(), self._problem)

    def batches(self, k: int) -> Any:
        return draw_batches(self._problem, self._config.run.seed, k)
