"""The systems: their variants and environments, and a function that runs one cell of a system in a fresh process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = {
    "ours": "ours",
    "torch_hand": "torch",
    "torchopt_": "torch",
    "higher_": "torch",
    "boat_torch_": "torch",
    "jax_": "jax",
    "jaxopt_": "jax",
}
OURS, REFERENCE = "ours", "torch by hand"
#: Seconds for one process.
LIMIT = 300.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class CellFailed(Exception):
    """A process ended without an answer. The text says how."""


@dataclass(frozen=True)
class System:
    """A system, or one of its variants. `broken` is the reason why it cannot run at all."""

    name: str
    module: str
    variant: str
    environment: str
    python: str
    works: tuple[str, ...]
    notes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    broken: str = ""

    @property
    def label(self) -> str:
        return f"{self.name} {self.variant}".strip()

    def run(self, *cell: str) -> dict[str, Any]:
        """Run WORK STEPS WIDTH DTYPE REPETITIONS in a separate process. Raises `CellFailed`."""
        if self.broken:
            raise CellFailed(self.broken)
        return ask(self.python, f"{self.module}/{self.variant}", *cell)

    def note(self, work: str) -> str:
        return "; ".join(text for key, text in self.notes.items() if work in key.split(", ") or key == "all")


def pythons(torch: Path | None, jax: Path | None) -> dict[str, str]:
    """Return the interpreter of each environment."""
    paths = {
        "torch": torch or ROOT / ".peers/torch/bin/python",
        "jax": jax or ROOT / ".peers/jax/bin/python",
    }
    if missing := [f"no {name} environment at {path}" for name, path in paths.items() if not path.exists()]:
        raise SystemExit(f"{'; '.join(missing)}. `make peers` makes both; --torch and --jax name others.")
    return {"ours": sys.executable, **{name: str(path) for name, path in paths.items()}}


def discover(python: Mapping[str, str]) -> list[System]:
    """Return every variant of every system. Each module describes its variants in its own environment."""
    systems = []
    for module, environment in MODULES.items():
        interpreter, broken = python[environment], ""
        try:
            about = ask(interpreter, module)
        except CellFailed as error:
            about, broken = {"name": module.strip("_"), "variants": {"": ()}, "notes": {}, "versions": {}}, str(error)
        for variant, works in about["variants"].items():
            who = (about["name"], module, variant, environment, interpreter)
            systems.append(System(*who, tuple(works), about["notes"], about["versions"], broken))
    return systems


def ask(python: str, *arguments: str) -> dict[str, Any]:
    """Return the answer of `cell.py`. Without an answer, raise `CellFailed` with its last line of output."""
    command = [python, str(HERE / "cell.py"), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise CellFailed(f"no answer within {LIMIT:.0f} s") from None
    lines = COLOUR.sub("", done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode < 0:
        lines.append(f"ended by signal {-done.returncode}")
    if done.returncode or not lines:
        raise CellFailed(lines[-1] if lines else f"status {done.returncode}, without a word")
    return json.loads(lines[-1])
