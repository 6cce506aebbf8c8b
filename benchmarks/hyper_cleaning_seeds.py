"""The quality, not the speed, of the data-cleaning example on several seeds.

    python benchmarks/hyper_cleaning_seeds.py [CONFIG …] [--seeds 0 1 2 3 4]

Prints one row per configuration and seed. The last row of a configuration has the lowest F1, and the recovered part
of the accuracy that corruption costs, over all seeds: Σ(after - before) / Σ(ceiling - before).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
COLUMNS = ("accuracy_before", "accuracy_after", "accuracy_ceiling", "precision", "recall", "f1")


def run(config: Path, seed: int) -> dict[str, float]:
    """Run one configuration in a separate process and folder. Return its evaluation and the seconds of computing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "boat_core", "run", str(config), "--json"]
        command += ["--set", f"run.seed={seed}", "--set", f"run.out={folder}/run"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    summary = json.loads(out.splitlines()[-1])
    return summary["evaluation"] | {"seconds": summary["seconds_computing"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", type=Path, default=sorted(EXAMPLES.glob("hyper_cleaning*.yaml")))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    print(f"{'config':<20} {'seed':>4}  before   after ceiling  precis  recall      f1 seconds")
    for config in arguments.configs:
        rows = []
        for seed in arguments.seeds:
            row = run(config, seed)
            rows.append(row)
            print(f"{config.stem:<20} {seed:>4} " + " ".join(f"{row[c]:7.3f}" for c in COLUMNS), end="")
            print(f" {row['seconds']:7.1f}", flush=True)
        lost = sum(r["accuracy_ceiling"] - r["accuracy_before"] for r in rows)
        won = sum(r["accuracy_after"] - r["accuracy_before"] for r in rows)
        print(f"{config.stem:<20}  all  lowest f1 {min(r['f1'] for r in rows):.3f}, won back {won / lost:.0%}")


if __name__ == "__main__":
    main()
