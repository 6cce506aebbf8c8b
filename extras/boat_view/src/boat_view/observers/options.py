"""The options of the observers, as configurations give them."""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import option


@dataclass(frozen=True)
class TensorBoardOptions:
    folder: str | None = option(
        None, doc="the folder for the event files of this run; by default tensorboard in the folder of the run"
    )


@dataclass(frozen=True)
class MLflowOptions:
    tracking_uri: str | None = option(
        None,
        doc="a server or a folder (with all of mlflow a database); by default MLFLOW_TRACKING_URI, or the run's folder",
    )
    experiment: str | None = option(None, doc="the name of the experiment; by default the name of the problem")
    run_name: str | None = option(None, doc="the name of the run; by default the name of its folder")
