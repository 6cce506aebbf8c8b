"""`boat check CONFIG`: are the derivatives of a problem's objectives right?"""

from __future__ import annotations

import argparse
from typing import Any

from .output import print_json, print_table
from .parsing import add_config_arguments as check_derivatives_arguments  # noqa: F401


def check_derivatives(arguments: argparse.Namespace) -> int:
    from ..config.build import Job
    from ..config.schema import read_config

    config = read_config(arguments.config, arguments.overrides)
    job = Job(config)
    job.prepare()
    from ..bilevel.gradcheck import check_problem

    batches = job.batches(0)
    if "tasks" in batches:  # all tasks share the objectives: one of them is enough
        batches = dict(zip(("lower_batch", "upper_batch"), next(iter(batches["tasks"].by_name().values()))))
    rows = check_problem(
        job.problem, batches.get("lower_batch"), batches.get("upper_batch"), config.run.seed, config.solver.operators
    )
    wrong = [row for row in rows if not row["ok"]]
    if arguments.json:
        print_json({"ok": not wrong, "derivatives": rows})
    else:
        print_table(
            ("objective", "derivative", "leaf", "error", "tolerance", ""),
            [_cells(row) for row in rows],
        )
    return 1 if wrong else 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    verdict = "ok" if row["ok"] else "WRONG"
    return row["objective"], row["derivative"], row["leaf"], f"{row['error']:.1e}", f"{row['tolerance']:.1e}", verdict
