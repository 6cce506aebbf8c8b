"""Records every run as a run in MLflow: its configuration, curves, evaluations, and how it ended.

The observer has an MLflow client of its own. It leaves alone the run that a script has active in MLflow.
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
from importlib import import_module
from typing import Any

from boat_core import hookimpl

from ..files import write_atomically
from .curves import evaluation_curves, step_curves
from .options import MLflowOptions

#: The file in the folder of a run that keeps the id of its run in MLflow.
ID_FILE = "mlflow-run-id"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
#: Seconds after which collected numbers are sent at the latest.
SECONDS = 5.0
#: How many numbers and parameters one request takes, and the length of a text that every server accepts.
METRICS, PARAMETERS, LONGEST = 1000, 100, 500


class MLflow:
    """Continues the same run in MLflow when a run is resumed, and sends no number twice."""

    def __init__(self, options: MLflowOptions) -> None:
        self._options = options
        self._entities = _import_mlflow().entities
        self._client: Any = None
        if uri := options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"):
            self._client = _connect(uri)
            self._client.search_experiments(max_results=1)  # an unreachable server is an error before the run
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
        if not self._continue(run.folder / ID_FILE):
            self._begin(run)

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        self._collect(step_curves(step), step.iteration)

    @hookimpl
    def boat_evaluated(self, run: Any, iteration: int, numbers: dict[str, float]) -> None:
        self._collect(evaluation_curves(numbers), iteration)

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if not self._id:
            return
        self._send()
        if "message" in summary:
            self._client.set_tag(self._id, "message", summary["message"][:LONGEST])
        with contextlib.redirect_stdout(sys.stderr):  # MLflow prints where the run can be seen
            self._client.set_terminated(self._id, STATUS[summary["status"]])
        for name in ("config.yaml", "summary.json"):  # last: some servers need more libraries for files
            self._client.log_artifact(self._id, str(run.folder / name))

    def _begin(self, run: Any) -> None:
        versions = json.loads((run.folder / "versions.json").read_text("utf-8"))
        created = self._client.create_run(
            self._experiment(self._options.experiment or run.problem.name),
            run_name=self._options.run_name or run.folder.name,
            tags={name: text for name, text in _flat(versions) if name != "decisions"},
        )
        self._id = created.info.run_id
        write_atomically(run.folder / ID_FILE, lambda file: file.write(self._id.encode("utf-8")))
        settings = run.config.as_dict()
        settings["run"].pop("observers", None)  # observers do not change the numbers of a run
        parameters = [self._entities.Param(name, text) for name, text in dict(_flat(settings)).items()]
        for part in _parts(parameters, PARAMETERS):
            self._client.log_batch(self._id, params=part)

    def _continue(self, path: Any) -> bool:
        """Continue the MLflow run of a resumed run, if there is one.

        Numbers that MLflow has are not sent again, because MLflow cannot replace them.
        """
        if not path.exists():
            return False
        run_id = path.read_text("utf-8")
        try:
            earlier = self._client.get_run(run_id)
        except Exception as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":  # the server is another one now
                return False
            raise
        for name in earlier.data.metrics:
            self._last[name] = max(metric.step for metric in self._client.get_metric_history(run_id, name))
        self._client.update_run(run_id, status="RUNNING")
        self._id = run_id
        return True

    def _experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name))
            except Exception:  # another run may have created it in the meantime
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

    def _collect(self, numbers: dict[str, float], iteration: int) -> None:
        now = int(time.time() * 1000)
        for name, value in numbers.items():
            name = _allowed(name)
            if iteration > self._last.get(name, -1):
                self._pending.append(self._entities.Metric(name, value, now, iteration))
        if len(self._pending) >= METRICS or time.monotonic() > self._sent + SECONDS:
            self._send()

    def _send(self) -> None:
        pending, self._pending, self._sent = self._pending, [], time.monotonic()
        for part in _parts(pending, METRICS):
            self._client.log_batch(self._id, metrics=part)


def _import_mlflow() -> Any:
    """Import MLflow so that it accepts a folder as its store and, by default, sends no telemetry."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    return import_module("mlflow")


def _connect(uri: str) -> Any:
    with warnings.catch_warnings():
        # Versions 3.7 to 3.12 warn about folders; later versions ask for the variable above.
        warnings.filterwarnings("ignore", "The filesystem tracking backend", FutureWarning)
        return _import_mlflow().MlflowClient(tracking_uri=uri)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield (
                _allowed(above + name),
                (value if isinstance(value, str) else json.dumps(value, default=str))[:LONGEST],
            )


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name)[:250]


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
