"""Compare our optimizers with PyTorch's and optax's, step by step.

    python benchmarks/optimizers [--record] [--write docs/optimizers.md] [--torch PYTHON] [--jax PYTHON]

The other libraries run in environments of their own, which `make peers` makes. Without these environments, the
comparison uses the iterates that `--record` wrote for the tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boat_core as boat
from boat_core.declare.options import describe_options
from boat_core.optimizers import RULES

import jittor as jt  # isort: skip
import numpy as np
from cases import CASES, MATRIX, RECORDED, START, STEPS, WAVE, Case, gradient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORD = ROOT / "boat_core/tests/optimizer_references.json"
COMMAND = "python benchmarks/optimizers --record --write docs/optimizers.md"
LIBRARIES = {"torch": "PyTorch", "optax": "optax"}
#: What is different where options have the same values, or other names, or where there is no case to measure.
REMARKS = {
    "adamw": "the paper's λ is our η λ, as in PyTorch and optax",
    "adamax": "the paper has no ε; the other libraries have no further option",
    "radam": "the threshold is 4 in the paper, and 5 in its code and everywhere else",
    "asgd": "PyTorch's t0 is our `start` - 2, and its lambd is our `weight_decay`; it rounds ηₜ to float32 by default",
    "rprop": "PyTorch's etas are our `shrink` and `grow`; its step_sizes are our `smallest` and `largest`",
}


def ours(case: Case) -> np.ndarray:
    """Iterates after every step, or the averages that the state holds."""
    optimizer = getattr(boat, case.optimizer)(**case.options)
    y = jt.array(START, dtype="float64")
    state, seen = optimizer.init(y), []
    for t in range(1, STEPS + 1):
        updates, state = optimizer.update(jt.array(gradient(y.numpy(), t), dtype="float64"), state, y)
        y = boat.apply_updates(y, updates)
        jt.sync([y, *(kept for kept in state.values() if isinstance(kept, jt.Var))])  # or the average's graph grows
        seen.append((state["average"] if case.average else y).numpy())
    return np.array(seen)


def theirs(library: str, python: Path) -> dict[str, Any]:
    """{"version", "iterates": case -> an array of all steps}; recorded steps alone where there is no environment."""
    if python.exists():
        command = [str(python), str(HERE / f"reference_{library}.py")]
        answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        steps = range(1, STEPS + 1)
    else:
        record = json.loads(RECORD.read_text("utf-8"))
        known = {case["name"]: case["references"] for case in record["cases"]}
        iterates = {name: references[library] for name, references in known.items() if library in references}
        answer, steps = {"version": record["versions"][library], "iterates": iterates}, RECORDED
    return {"version": answer["version"], "iterates": answer["iterates"], "steps": [t - 1 for t in steps]}


def record(references: dict[str, Any]) -> str:
    """What the tests read: the problem, and each case with the iterates that it must have, a line for each."""
    places = [t - 1 for t in RECORDED]
    head = {
        "command": COMMAND,
        "versions": {library: found["version"] for library, found in references.items()},
        "matrix": MATRIX.tolist(),
        "wave": WAVE.tolist(),
        "start": START.tolist(),
        "steps": RECORDED,
    }
    rows = []
    for case in CASES:
        agreed = {
            library: [found["iterates"][case.name][place] for place in places]
            for library, found in references.items()
            if case.name in found["iterates"] and library not in case.differs
        }
        if agreed:
            row = {"name": case.name, "optimizer": case.optimizer, "options": case.options, "average": case.average}
            rows.append(json.dumps(row | {"references": agreed}, ensure_ascii=False))
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    return "\n".join(["{", *lines, '  "cases": [', ",\n".join(f"    {row}" for row in rows), "  ]", "}", ""])


def differences(references: dict[str, Any]) -> Iterator[tuple[Case, str, float]]:
    """The largest difference of an entry over all steps, relative to the largest entry."""
    for case in CASES:
        iterates = ours(case)
        for library, found in references.items():
            if case.name in found["iterates"]:
                truth = np.array(found["iterates"][case.name])
                yield case, library, float(np.abs(iterates[found["steps"]] - truth).max() / np.abs(truth).max())


def document(references: dict[str, Any], measured: list[tuple[Case, str, float]]) -> str:
    versions = " and ".join(f"{LIBRARIES[key]} {found['version']}" for key, found in references.items())
    whole = all(len(found["steps"]) == STEPS for found in references.values())
    steps = f"{STEPS} steps" if whole else f"the recorded ones of {STEPS} steps"
    lines = [
        "# Optimizers",
        "",
        f"Made by `{COMMAND}` (`make references`). Defaults are",
        "those of the paper, if it names any. Each number except `threshold` and `start` may be an array, a pytree of",
        "arrays like the parameters, or a function of the step, and it can be differentiated. The modules of these",
        "names have the formulas.",
        "",
        "| optimizer | options | source |",
        "|---|---|---|",
    ]
    for rule in RULES:
        options = ", ".join(_default(row) for row in describe_options(rule.options))
        lines.append(f"| `{rule.name}` | {options} | {rule.declaration.source} |")
    lines += [
        "",
        f"## Beside {versions}",
        "",
        f"The largest difference of an iterate over {steps} in float64, relative to the largest entry, over all cases",
        "in which both libraries mean the same. One part of the gradient changes its sign in every step, and one",
        "entry is always 0.",
        "",
        "| optimizer | cases | PyTorch | optax | note |",
        "|---|---|---|---|---|",
    ]
    for rule in RULES:
        same = [
            (case, at, error) for case, at, error in measured if case.optimizer == rule.name and at not in case.differs
        ]
        worst = (max((error for _, at, error in same if at == library), default=None) for library in LIBRARIES)
        cells = " | ".join("none" if error is None else f"{error:.0e}" if error else "0" for error in worst)
        cases = len({case.name for case, _, _ in same})
        lines.append(f"| `{rule.name}` | {cases} | {cells} | {REMARKS.get(rule.name, '')} |")
    lines += [
        "",
        "Where the same numbers do not mean the same, ours follows the paper or the code of its authors:",
        "",
        "| optimizer | options | library | what it does | difference |",
        "|---|---|---|---|---|",
    ]
    for case, library, error in measured:
        if library in case.differs:
            options = ", ".join(f"{key}={value:g}" for key, value in case.options.items())
            row = (case.optimizer, options, LIBRARIES[library], case.differs[library], f"{error:.1g}")
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _default(row: dict[str, Any]) -> str:
    return f"`{row['name']}`" if row.get("required") else f"`{row['name']}={row['default']!r}`"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.relative_to(ROOT)}")
    parser.add_argument("--write", type=Path, help="put the tables into this Markdown file")
    parser.add_argument("--torch", type=Path, metavar="PYTHON", default=ROOT / ".peers/torch/bin/python")
    parser.add_argument("--jax", type=Path, metavar="PYTHON", default=ROOT / ".peers/jax/bin/python")
    arguments = parser.parse_args()

    pythons = {"torch": arguments.torch, "optax": arguments.jax}
    if arguments.record and (missing := [str(path) for path in pythons.values() if not path.exists()]):
        raise SystemExit(f"no environment at {', '.join(missing)}: `make peers` makes it")
    references = {library: theirs(library, python) for library, python in pythons.items()}
    measured = list(differences(references))
    for case, library, error in measured:
        print(f"{case.name:<34}{LIBRARIES[library]:<9}{error:8.1e}  {case.differs.get(library, '')}")
    if arguments.record:
        RECORD.write_text(record(references), "utf-8")
    text = document(references, measured)
    if arguments.write:
        arguments.write.write_text(text, "utf-8")
    else:
        print(f"\n{text}")


if __name__ == "__main__":
    main()
