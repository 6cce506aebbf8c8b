"""A run in MLflow for every run: its configuration, curves, evaluations, and how it ended.

It works with a client of its own: the run that a script has active in MLflow is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..._util.atomic import json_text, write_text
from ...declare.options import option
from ...plugins.hookspecs import hookimpl
from .curves import evaluation_curves, step_curves

#: The file in the run's folder that keeps the id of the run in MLflow.
ID_FILE = "mlflow-run-id"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
#: Numbers are sent together, after so many seconds at most.
SECONDS = 5.0
#: How many numbers and parameters one request takes, and how long a text may be for any server.
METRICS, PARAMETERS, LONGEST = 1000, 100, 500


@dataclass(frozen=True)
class Options:
    tracking_uri: str | None = option(
        None,
        doc="a server or folder (with all of mlflow a database); else MLFLOW_TRACKING_URI, else the run's folder",
    )
    experiment: str | None = option(None, doc="the experiment's name; without it the problem's")
    run_name: str | None = option(None, doc="the run's name; without it that of its folder")


class MLflow:
    """Goes on with the same run in MLflow when a run is resumed, and sends no number twice."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._entities = _import_mlflow().entities
        self._client: Any = None
        if uri := options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"):
            self._client = _connect(uri)
            self._client.search_experiments(max_results=1)  # a server that is not there is an error before the run
        self._id = ""
        self._pending: list[Any] = []
        self._sent = time.monotonic()
        self._last: dict[str, int] = {}

    @hookimpl
    def boat_run_started(self, run: Any) -> None:
        if self._client is None:
            folder = (run.folder / "mlruns").resolve()
            folder.mkdir(exist_ok=True)
            self._client = _connect(folder.as_uri())
        if not self._go_on(run.folder / ID_FILE):
            self._begin(run)

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        self._note(step_curves(step), step.iteration)

    @hookimpl
    def boat_evaluated(self, run: Any, iteration: int, numbers: dict[str, float]) -> None:
        self._note(evaluation_curves(numbers), iteration)

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if not self._id:
            return
        self._send()
        if "message" in summary:
            self._client.set_tag(self._id, "message", summary["message"][:LONGEST])
        with contextlib.redirect_stdout(sys.stderr):  # MLflow says where the run can be seen
            self._client.set_terminated(self._id, STATUS[summary["status"]])
        for name in ("config.yaml", "summary.json"):  # last: where a server keeps files may take more libraries
            self._client.log_artifact(self._id, str(run.folder / name))

    def _begin(self, run: Any) -> None:
        versions = json.loads((run.folder / "versions.json").read_text("utf-8"))
        made = self._client.create_run(
            self._experiment(self._options.experiment or run.problem.name),
            run_name=self._options.run_name or run.folder.name,
            tags={name: text for name, text in _flat(versions) if name != "decisions"},
        )
        self._id = made.info.run_id
        write_text(run.folder / ID_FILE, self._id)
        settings = run.config.as_dict()
        settings["run"].pop("observers", None)  # how a run is watched does not change its numbers
        parameters = [self._entities.Param(name, text) for name, text in dict(_flat(settings)).items()]
        for some in _parts(parameters, PARAMETERS):
            self._client.log_batch(self._id, params=some)

    def _go_on(self, path: Any) -> bool:
        """Take up the run of a resumed run; what it has is not sent again, since MLflow takes nothing back."""
        if not path.exists():
            return False
        known = path.read_text("utf-8")
        try:
            found = self._client.get_run(known)
        except Exception as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":  # another server than before
                return False
            raise
        for name in found.data.metrics:
            self._last[name] = max(one.step for one in self._client.get_metric_history(known, name))
        self._client.update_run(known, status="RUNNING")
        self._id = known
        return True

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except Exception:  # another run may have been faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _note(self, numbers: dict[str, float], iteration: int) -> None:
        now = int(time.time() * 1000)
        for name, value in numbers.items():
            name = _allowed(name)
            if iteration > self._last.get(name, -1):
                self._pending.append(self._entities.Metric(name, value, now, iteration))
        if len(self._pending) >= METRICS or time.monotonic() > self._sent + SECONDS:
            self._send()

    def _send(self) -> None:
        pending, self._pending, self._sent = self._pending, [], time.monotonic()
        for some in _parts(pending, METRICS):
            self._client.log_batch(self._id, metrics=some)


def _import_mlflow() -> Any:
    """Import MLflow, which then keeps a folder where it is given one and, unless told otherwise, calls nobody."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    return import_module("mlflow")


def _connect(uri: str) -> Any:
    with warnings.catch_warnings():
        # Versions 3.7 to 3.12 say that folders have no future; later ones ask for the variable above.
        warnings.filterwarnings("ignore", "The filesystem tracking backend", FutureWarning)
        return _import_mlflow().MlflowClient(tracking_uri=uri)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield _allowed(above + name), (value if isinstance(value, str) else json_text(value))[:LONGEST]


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name)[:250]


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def build(options: Options) -> MLflow:
    return MLflow(options)
