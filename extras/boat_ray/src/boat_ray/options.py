"""The options of the executor and of the place. This file imports neither Ray nor Jittor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import OptionError, option


@dataclass(frozen=True)
class ClusterOptions:
    """Where Ray runs, and what a worker gets of it."""

    address: str = option(
        "auto",
        doc="`local` starts Ray on this machine for this run; HOST:PORT joins a cluster; `auto` joins the cluster that"
        " RAY_ADDRESS or `ray start` names, and starts Ray on this machine where there is none",
    )
    cpus: float = option(1.0, gt=0, doc="CPUs of Ray for each worker")
    gpus: float = option(0.0, ge=0, doc="GPUs of Ray for each worker")
    memory: int | None = option(None, ge=1, doc="MiB of memory that Ray reserves for each worker")
    object_store: int = option(
        256, ge=80, doc="MiB of Ray's object store where Ray is started on this machine: x, batches, hypergradients"
    )
    runtime_env: dict[str, Any] | None = option(
        None, doc="Ray's runtime environment for the workers, such as {working_dir: ., pip: [boat-ray]}"
    )

    def resources(self) -> dict[str, Any]:
        """Return the resources of one worker as Ray takes them."""
        memory = {} if self.memory is None else {"memory": self.memory * 2**20}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, **memory}


@dataclass(frozen=True)
class ExecutorOptions(ClusterOptions):
    """Options of `run.executor: {name: ray}` and of `RayExecutor`."""

    workers: int | None = option(None, ge=1, doc="workers; without it as many as the CPUs of the cluster allow")
    batches: str = option(
        "driver",
        choices=("driver", "workers"),
        doc="who draws the batches: `driver` sends each task's to its worker; `workers` draw them with the problem's"
        " `batches`, so that none travels",
    )
    group: int = option(
        1, ge=1, doc="how many consecutive tasks' hypergradients a worker sums before it sends them, a power of two"
    )
    reduce: str = option(
        "driver",
        choices=("driver", "tree"),
        doc="who sums the hypergradients: the driver, or the workers in pairs, so that the driver receives one",
    )
    retries: int = option(3, ge=0, doc="how often tasks are solved elsewhere after the worker that had them died")

    def __post_init__(self) -> None:
        if self.group & (self.group - 1):
            raise OptionError(where="group", expected="a power of two", got=str(self.group))


@dataclass(frozen=True)
class PlaceOptions(ClusterOptions):
    """Options of `boat sweep --on ray`."""

    jobs: int | None = option(None, ge=1, doc="runs at once; without it as many as the CPUs of the cluster allow")
    retries: int = option(
        3, ge=0, doc="how often Ray starts a run again whose worker died; it goes on from its checkpoint"
    )
    device: str = option("auto", choices=("auto", "cpu", "cuda"), doc="the device of the runs; the sweep sets it")
