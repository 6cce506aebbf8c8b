"""`boat solvers` and `boat explain CONFIG`: which solvers there are, and what one of them would do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .._util.text import bytes_text, count
from ..autodiff.memory import Memory, read_bytes
from ..config.source import is_mapping
from ..plugins.composition import Composition, solvers
from ..plugins.discovery import installed
from ..plugins.entries import Registered
from .output import print_facts, print_json
from .parsing import add_config_arguments

if TYPE_CHECKING:
    from ..config.build import Job
    from ..config.schema import SolverConfig


def list_solvers_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--with",
        dest="including",
        action="append",
        default=[],
        metavar="OP",
        help="only those with this operation or method",
    )


def list_solvers(arguments: argparse.Namespace) -> int:
    registry = installed()
    wanted: list[Registered] = []
    for name in arguments.including:
        names = registry.alias(name).operations if name in registry.aliases() else [name]
        wanted += map(registry.find, names)
    compositions = [s for s in solvers(registry) if all(entry in s.operations for entry in wanted)]
    if arguments.json:
        print_json({"count": len(compositions), "solvers": [s.as_config() for s in compositions]})
    else:
        for composition in compositions:
            print(composition)
        print(count(len(compositions), "solver"))
    return 0


def explain_config_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--sizes", action="store_true", help="compute one lower step too, and give the memory in bytes")


def explain_config(arguments: argparse.Namespace) -> int:
    from ..config.build import Job
    from ..config.schema import read_config

    config = read_config(arguments.config, arguments.overrides)
    job = Job(config)
    composition = job.composition
    steps = config.solver.lower_steps
    cost = composition.cost(steps)
    facts = {
        "problem": config.problem,
        "solver": composition.as_config(),
        "stages": [_stage(composition, o) for o in composition.operations],
        "lower_steps": steps,
        **{f"{level}_optimizer": _optimizer(job, level) for level in ("lower", "upper")},
        "start": composition.start_rule(config.solver.start),
        "lower_state": "carry" if composition.stateful_operation else config.solver.lower_state,
        "segment": config.solver.segment,
        "memory": config.solver.memory,
        "engine": config.solver.engine,
        "cost": {"gradients": cost.gradients, "hvps": cost.hvps},
        "second_derivatives": composition.second_order(steps),
        "holds": _held(composition, config.solver),
        "run": config.as_dict()["run"],
    }
    if arguments.sizes:
        _sizes(job, facts)
    if arguments.json:
        print_json(facts)
    else:
        _print_explanation(facts)
    return 0


def _stage(composition: Composition, entry: Registered) -> dict[str, Any]:
    operation = entry.operation
    return {
        "name": entry.name,
        "stage": operation.stage,
        "role": operation.role,
        "summary": operation.summary,
        "formula": operation.formula,
        "distribution": entry.distribution,
        "version": entry.version,
        "options": composition.own_options(entry),
        "done_by": composition.executed_by(entry),
    }


def _optimizer(job: Job, level: str) -> dict[str, Any]:
    written = [options for _, _, options in job.config.solver.optimizer_parts(level)]
    parts = [
        # What varies is shown as it stands in the configuration.
        {"name": part.declaration.name, **part.values, **{k: v for k, v in own.items() if is_mapping(v)}}
        for part, own in zip(job.optimizer_parts(level), written)
    ]
    return parts[0] if len(parts) == 1 else {"name": "chain", "parts": parts}


def _held(composition: Composition, section: SolverConfig) -> dict[str, Any]:
    """What the pullback will hold; `graph_steps` is None where that is measured at the first step."""
    if composition.stateful_operation:
        return {"iterates": 0, "graph_steps": 0}
    memory = Memory(section.segment, section.memory)
    held = memory.plan(section.lower_steps, 0, 0)
    if memory.segment == "auto":
        return {"iterates": held.iterates, "graph_steps": None, "allowed": read_bytes(memory.allowed)}
    return {"iterates": held.iterates, "graph_steps": max(1, held.graphs)}


def _sizes(job: Job, facts: dict[str, Any]) -> None:
    """Build the problem, compute one lower step, and add to the facts what that shows of memory."""
    import optree

    solver, batches = job.solver, job.batches(0)
    held = solver.held(**batches)
    facts["engine"] = solver.engine(**batches)
    facts["holds"] |= {"iterates": held["iterates"], "graph_steps": held["graphs"] or min(1, held["iterates"])}
    facts["bytes"] = {
        "upper": sum(map(_bytes, optree.tree_leaves(solver.upper))),
        "lower": sum(map(_bytes, optree.tree_leaves(solver.start))),
        "iterate": held["iterate_bytes"],
        "graph_of_a_step": held["graph_bytes"],
        "held": held["bytes"],
    }


def _bytes(leaf: Any) -> int:
    import numpy

    if not hasattr(leaf, "dtype"):
        return 0
    return int(numpy.prod(leaf.shape)) * numpy.dtype(str(leaf.dtype)).itemsize


def _print_explanation(facts: dict[str, Any]) -> None:
    rows: list[tuple[str, Any]] = [("problem", facts["problem"])]
    for place, stage in enumerate(facts["stages"], start=1):
        rows += [
            (f"{place}. {stage['stage']}", f"{stage['name']} ({stage['role']}): {stage['summary']}"),
            ("", stage["formula"]),
            ("", _pairs(stage["options"]) or "no options to set"),
        ]
        if stage["done_by"] != stage["name"]:
            rows.append(("", f"{stage['done_by']} has an adjoint of its own and does this in its way"))
    for level in ("lower", "upper"):
        optimizer = dict(facts[f"{level}_optimizer"])
        rows.append((f"{level} optimizer", f"{optimizer.pop('name')} {_pairs(optimizer)}"))
    cost, held = facts["cost"], facts["holds"]
    rows += [
        ("lower steps", f"{facts['lower_steps']}, start {facts['start']}, optimizer state {facts['lower_state']}"),
        (
            "per outer step",
            f"{count(cost['gradients'], 'gradient')}, {count(cost['hvps'], 'Hessian-vector product')} at most",
        ),
        ("derivatives", "first and second" if facts["second_derivatives"] else "first only"),
    ]
    if held["iterates"]:
        graph = f"and the graph of {_graphs(held)}"
        rows.append(("memory", f"y and its optimizer's state {held['iterates']} times, {graph}"))
    else:
        rows.append(("memory", "no trajectory is held"))
    engine = facts["engine"]
    rows.append(
        ("engine", "programs of the lower steps where they are valid (--sizes tries)" if engine == "auto" else engine)
    )
    if "bytes" in facts:
        rows += [(f"  {name.replace('_', ' ')}", bytes_text(size)) for name, size in facts["bytes"].items()]
    rows.append(("run", _pairs(facts["run"])))
    print_facts(rows)


def _graphs(held: dict[str, Any]) -> str:
    if held["graph_steps"] is None:
        return f"as many steps as fit into {bytes_text(held['allowed'])} with them (one is measured; see --sizes)"
    return count(held["graph_steps"], "step")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
