"""What a run solved, and by which chain: the operations with their formulas, and the derivatives that they declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import BoatError, Composition, compose

from .runs import RecordedRun

CHAIN_KEYS = ("map", "approximate", "first_order", "method")


@dataclass(frozen=True)
class SolverFacts:
    """The solver of a run as the installed packs know it.

    Args:
        name: the chain as text, such as "NGD | CG".
        operations: one row for each operation: stage, name, summary, formula, source, options.
        gradients, hvps: the derivatives of one outer step of one task, at most, as the operations declare them; None
            where they are unknown.
        problem: why the operations cannot be looked up here, or where they differ from those of the run.
    """

    name: str
    operations: list[dict[str, Any]]
    gradients: int | None
    hvps: int | None
    problem: str


def solver_facts(run: RecordedRun) -> SolverFacts:
    """Look up the chain of a run among the installed operations."""
    section = run.config.get("solver", {})
    chain = {key: section[key] for key in CHAIN_KEYS if section.get(key)}
    try:
        composition = compose(**chain, options=section.get("options") or None)
        cost = composition.cost(section["lower_steps"])
    except (BoatError, KeyError, TypeError, ValueError) as error:
        return SolverFacts(_name(chain), [], None, None, f"The operations cannot be looked up here: {error}")
    rows = [_row(composition, entry) for entry in composition.operations]
    return SolverFacts(str(composition), rows, cost.gradients, cost.hvps, _other_versions(run, rows))


def _row(composition: Composition, entry: Any) -> dict[str, Any]:
    operation = entry.operation
    done_by = composition.executed_by(entry)
    return {
        "stage": operation.stage,
        "name": entry.name,
        "summary": operation.summary,
        "formula": operation.formula,
        "source": operation.source,
        "options": composition.own_options(entry),
        "distribution": entry.distribution,
        "version": entry.version,
        "done_by": "" if done_by == entry.name else done_by,
    }


def _other_versions(run: RecordedRun, rows: list[dict[str, Any]]) -> str:
    """Say which packs have another version here than in the run. Their formulas and costs may have changed."""
    packs = run.versions.get("packs", {})
    others = {
        f"{row['distribution']} {packs.get(row['distribution'], 'of an unknown version')} (here {row['version']})": None
        for row in rows
        if packs.get(row["distribution"]) != row["version"]
    }
    return f"The run used {', '.join(others)}. Formulas and costs are those of the version here." if others else ""


def _name(chain: dict[str, Any]) -> str:
    return " | ".join(" + ".join(names) if isinstance(names, list) else str(names) for names in chain.values())
