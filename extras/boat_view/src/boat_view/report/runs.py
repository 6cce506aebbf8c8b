"""The recorded runs that a report shows, read from their folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from boat_core import RunError

CONFIG, METRICS = "config.yaml", "metrics.jsonl"
VERSIONS, SUMMARY, EVALUATIONS, PICTURE = "versions.json", "summary.json", "evaluations.jsonl", "picture.png"
#: The file in which a sweep records how its runs ended.
RESULTS = "results.jsonl"
#: All files that a report is made of.
FILES = (CONFIG, METRICS, VERSIONS, SUMMARY, EVALUATIONS, PICTURE)
#: The sections of a configuration that a report reads.
SECTIONS = ("problem_options", "solver", "run")
#: The levels of folders below a sweep that are searched for runs.
DEPTH = 3


@dataclass(frozen=True)
class RecordedRun:
    """What the folder of one run holds.

    Args:
        label: the name of the run in the report, which no other run of the report has.
        config: the values of `config.yaml`; `config_text` is the file itself.
        summary: `summary.json`, or an empty dictionary if the run is going on or was killed.
        steps: the lines of `metrics.jsonl`.
        evaluations: the lines of `evaluations.jsonl`.
        picture: `picture.png`, which shows the panels of the problem, if there is one.
    """

    folder: Path
    label: str
    config: dict[str, Any]
    config_text: str
    versions: dict[str, Any]
    summary: dict[str, Any]
    steps: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    picture: bytes | None

    @property
    def status(self) -> str:
        """How the run ended: finished, failed, interrupted, or "no summary"."""
        return str(self.summary.get("status", "no summary"))

    @property
    def seed(self) -> Any:
        return self.config.get("run", {}).get("seed")


def find_runs(places: Iterable[Path]) -> list[Path]:
    """Return the folders of runs among these folders and below them, each once, in order.

    Raises:
        RunError: a folder does not exist, or holds no run.
    """
    folders: dict[Path, Path] = {}
    for place in places:
        below = [place] if _is_run(place) else sorted(_runs_below(place, DEPTH))
        if not below:
            raise RunError(
                f"expected the folder of a run, with {CONFIG} and {METRICS}, or a folder of such folders",
                where=str(place),
                got="no such folder" if not place.is_dir() else "a folder without runs",
            )
        for folder in below:
            folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def read_runs(folders: Iterable[Path]) -> list[RecordedRun]:
    """Read runs from their folders, and label each by the shortest end of its path that names it alone."""
    folders = list(folders)
    return [_read_run(folder, label) for folder, label in zip(folders, _labels(folders))]


def absent_runs(places: Iterable[Path]) -> list[str]:
    """Return what became of the runs that sweeps among these folders record and that have no folder to be read."""
    absent = []
    for place in places:
        rows = {row["run"]: row for row in _read_lines(place / RESULTS, "run", str)}
        for name, row in rows.items():
            if not _is_run(place / "runs" / name):
                reason = f": {row['error']}" if row.get("error") else "."
                absent.append(f"Run {name} of {place} is {row.get('status')} and has nothing to show{reason}")
    return absent


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / METRICS).is_file()


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    for inner in folder.iterdir() if folder.is_dir() else ():
        if not inner.is_dir() or inner.name.startswith("."):
            continue
        if _is_run(inner):
            yield inner
        elif depth > 1:
            yield from _runs_below(inner, depth - 1)


def _labels(folders: list[Path]) -> list[str]:
    parts = [folder.resolve().parts for folder in folders]
    length = 1
    while len({names[-length:] for names in parts}) < len(set(parts)):
        length += 1
    return ["/".join(names[-length:]) for names in parts]


def _read_run(folder: Path, label: str) -> RecordedRun:
    picture = folder / PICTURE
    try:
        text = (folder / CONFIG).read_text("utf-8")
        return RecordedRun(
            folder,
            label,
            _config(folder / CONFIG, text),
            text,
            _read_json(folder / VERSIONS),
            _read_json(folder / SUMMARY),
            [_checked_step(folder, line) for line in _read_lines(folder / METRICS)],
            _read_lines(folder / EVALUATIONS),
            picture.read_bytes() if picture.is_file() else None,
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"cannot be read: {error}", where=str(folder)) from None


def _config(path: Path, text: str) -> dict[str, Any]:
    """Return a configuration whose sections are mappings; one that is absent is empty."""
    config = _mapping(path, yaml.safe_load(text))
    return config | {name: _mapping(f"{path}: {name}", config.get(name) or {}) for name in SECTIONS}


def _checked_step(folder: Path, line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the metrics whose report has the form that `boat run` records."""
    place = f"{folder / METRICS}, outer step {line['iteration']}"
    report = _mapping(place, line.get("report", {}))
    for name, figures in _mapping(place, report.get("operations", {})).items():
        _mapping(f"{place}, {name}", figures)
    if not isinstance(report.get("concerns", []), list):
        raise RunError(where=place, expected="a list of concerns", got=repr(report["concerns"])[:80])
    return line


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return _mapping(path, json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise RunError(f"is not JSON: {error}", where=str(path)) from None


def _read_lines(path: Path, key: str = "iteration", kind: type = int) -> list[dict[str, Any]]:
    """Return the lines of a file. A last line without its end is left out, for a run may be writing it.

    Raises:
        RunError: any other line has no value of that kind by that key, so what follows cannot be trusted either.
    """
    if not path.is_file():
        return []
    lines = []
    for number, text in enumerate(path.read_text("utf-8").split("\n")[:-1], start=1):
        place = f"{path}, line {number}"
        try:
            line = _mapping(place, json.loads(text))
        except ValueError as error:
            raise RunError(f"is not JSON: {error}", where=place) from None
        if not isinstance(line.get(key), kind):
            raise RunError(where=place, expected=f"{key} of type {kind.__name__}", got=repr(line)[:80])
        lines.append(line)
    return lines


def _mapping(place: Any, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RunError(where=str(place), expected="a mapping", got=type(value).__name__)
    return value
