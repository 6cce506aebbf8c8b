"""For all tests: how several processes share Jittor's cache, and what a run took.

BOAT is imported before any test imports Jittor: Jittor's environment is then prepared (see `boat doctor`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER:
    # A worker has one core, so it compiles in one process (Jittor's variable). Under Jittor's lock it would wait while
    # another compiles; with kernels of its own it does not, and copies what others have finished.
    os.environ["use_parallel_op_compiler"] = "1"
    os.environ["BOAT_KERNELS"] = WORKER

import boat_core  # noqa: E402, F401


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fused", action="store_true", help="fuse operators also where a test asks for single ones")


@pytest.fixture
def single_operators(request: pytest.FixtureRequest) -> Iterator[None]:
    """Jittor compiles every operator for itself, instead of fusing those of an expression into one kernel.

    For tests of many formulas: each fuses to kernels of its own, but all consist of the same few operators. What Jittor
    fuses is tested by everything else, by tests that are marked `fused`, and by all with `--fused`.
    """
    import jittor

    fused = request.config.getoption("fused") or request.node.get_closest_marker("fused") is not None
    make_float64_sound()
    with jittor.flag_scope(no_fuse=int(not fused)):
        yield


@cache
def make_float64_sound() -> None:
    """Compile the kernel that writes a scalar for float64 first, as `boat_core.runtime.float64` does for fused kernels.

    Its key lacks the dtype: compiled for float32, it would write half of every float64 scalar.
    """
    import jittor
    import numpy

    with jittor.flag_scope(no_fuse=1):
        scalar, *readers = (jittor.array(numpy.ones(shape), dtype="float64") for shape in (1, 2, (2, 1)))
        jittor.sync([reader * scalar for reader in readers])


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Growth())


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what every process needs before there are workers, or each would."""
    if not WORKER and session.config.getoption("numprocesses", None):
        subprocess.run([sys.executable, "-m", "boat_core", "doctor", "--warm"], stdout=subprocess.DEVNULL, check=False)


class Growth:
    """What tests cost: the seconds of each, and the kernels that Jittor compiled for it, also in processes it started.

    The report of a run shows both, so that a test suite that becomes slow is seen.
    """

    def __init__(self) -> None:
        self.start = time.time_ns()
        self.finished: int | None = None
        self.seconds: Counter[str] = Counter()
        self.kernels: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo) -> Iterator[None]:
        report = yield
        if call.when == "teardown":
            report.user_properties.append(("kernels", self.fresh_kernels()))  # so it reaches the process that reports
        return report

    def fresh_kernels(self) -> int:
        """Count the kernels finished since the last call, by the files that Jittor writes last."""
        jittor = sys.modules.get("jittor")
        if not hasattr(jittor, "flags"):
            return 0
        folder = Path(jittor.flags.cache_path, "jit")
        keys = [name for name in os.listdir(folder) if name.endswith(".so.key")]
        if self.finished is None:
            fresh = sum((folder / name).stat().st_mtime_ns > self.start for name in keys)
        else:
            fresh = len(keys) - self.finished
        self.finished = len(keys)
        return fresh

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.when == "teardown":
            self.kernels[report.nodeid] += dict(report.user_properties).get("kernels", 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("the ten slowest tests")
        for name, seconds in self.seconds.most_common(10):
            terminalreporter.write_line(f"{seconds:6.1f} s {self.kernels[name]:4d} kernels  {name}")
        terminalreporter.write_line(f"{self.kernels.total()} kernels compiled in all")
