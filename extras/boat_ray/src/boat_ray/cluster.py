"""The connection to Ray: to a running cluster, or to an instance on this machine that ends with this process.

An instance of our own reports nothing, shows no dashboard, writes into a folder of its own, and bounds its memory.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from boat_core import OptionError, RunError

from .options import ClusterOptions

LOG = logging.getLogger("boat_ray")
_untyped: Any = ray

_PREFIX = "boat-ray-"
#: Ray makes sockets in the folder, and the path of a socket has at most 107 bytes. Ray's own part takes 62.
_LONGEST_FOLDER = 40
#: Seconds between two questions to the head, and how many in a row it may leave without an answer.
_ASK_EVERY, _UNANSWERED = 2.0, 3
#: Seconds after which Ray itself ends a process that has lost the head. We have noticed and saved long before.
_RAYS_PATIENCE = "300"


class Cluster:
    """Connects this process to Ray.

    If the process is connected already, that connection is used and left as it is.

    Args:
        options: the address and the size of an instance of our own.
        workers: how many workers an instance of our own has room for.

    Raises:
        OptionError: there is no cluster at the address.
    """

    def __init__(self, options: ClusterOptions, workers: int | None) -> None:
        self._folder: Path | None = None
        self._process = os.getpid()
        self._asked, self._unanswered = time.monotonic(), 0
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            with _own_signals():
                self._connect(options, workers)
            atexit.register(self.close)
        self.is_open = True

    def _connect(self, options: ClusterOptions, workers: int | None) -> None:
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _RAYS_PATIENCE)
        if options.address != "local":
            address = os.environ.get("RAY_ADDRESS", "auto") if options.address == "auto" else options.address
            try:
                _init(address=address)
                return
            except ConnectionError as error:
                if address != "auto":
                    hint = "`ray status --address HOST:PORT` shows a cluster; address: local starts Ray here"
                    raise OptionError(f"no cluster answers: {error}", where="address", got=address, hint=hint) from None
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = max(1, int(cores / options.cpus)) if workers is None else workers
        self._folder = _new_folder()
        # Ray would report its use, and write a token into the home folder.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        size = {"num_cpus": math.ceil(count * options.cpus), "object_store_memory": options.object_store * 2**20}
        if options.gpus:
            size["num_gpus"] = math.ceil(count * options.gpus)
        try:
            _init(address="local", include_dashboard=False, _temp_dir=str(self._folder), **size)
        except BaseException:
            self._remove_folder()
            raise

    def places(self, options: ClusterOptions) -> int:
        """Return how many workers with these resources the cluster has room for, at least 1."""
        total: dict[str, float] = _untyped.cluster_resources()
        wanted = {"CPU": options.cpus, "GPU": options.gpus}
        return max(1, int(min(total.get(name, 0.0) / amount for name, amount in wanted.items() if amount)))

    @property
    def nodes(self) -> int:
        """The number of nodes of the cluster."""
        return sum(node["Alive"] for node in _untyped.nodes())

    def require_head(self, now: bool = False) -> None:
        """Ask from time to time, or now, whether the head of the cluster still answers.

        Raises:
            RunError: it does not. Ray itself would wait, and then end this process at once.
        """
        if not now and time.monotonic() < self._asked + _ASK_EVERY:
            return
        address = str(ray.get_runtime_context().gcs_address)
        while not _answers(address):
            self._unanswered += 1
            if self._unanswered >= _UNANSWERED:
                hint = "start it again and go on with --resume, which takes any executor"
                raise RunError(f"the head of the Ray cluster at {address} does not answer", hint=hint)
            time.sleep(1.0)
        self._asked, self._unanswered = time.monotonic(), 0

    @property
    def has_lost_head(self) -> bool:
        """Whether the head has been found not to answer."""
        return self._unanswered >= _UNANSWERED

    def close(self) -> None:
        """Disconnect, and end an instance of our own. A second call changes nothing."""
        if not self.is_open or os.getpid() != self._process:
            return
        self.is_open = False
        if not self._is_ours:
            return
        atexit.unregister(self.close)
        with _own_signals(), contextlib.suppress(Exception):
            ray.shutdown()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _init(**arguments: Any) -> None:
    ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, namespace="boat", **arguments)
    # Ray prints a paragraph on stdout for each worker that dies, and has no setting for it. We say it in one line.
    if hasattr(worker := _untyped._private.worker, "print_to_stdstream"):
        worker.print_to_stdstream = _print_nothing


def _print_nothing(*_: object, **__: object) -> None:
    """Stand in for Ray's printing of messages from its daemons."""


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM: Ray sets one that exits at once, and a run would not save its state."""
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
            return True
    except OSError:
        return False


def _new_folder() -> Path:
    """Make a folder for Ray's sockets and logs, and remove those of processes that were killed."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > _LONGEST_FOLDER - len(_PREFIX) - 16:
        root = Path("/tmp")  # the shortest that every POSIX system has
    for folder in root.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
