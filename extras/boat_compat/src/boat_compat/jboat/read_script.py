"""Runs a script until its first `run_iter`, and returns what it has built: models, variables, optimizers, feeds."""

from __future__ import annotations

import contextlib
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boat_core import RunError

from ._layer.capture import reached
from .install import install


@dataclass(frozen=True)
class Script:
    """What a script has built when it reaches its first iteration.

    Args:
        config, loss_config: its configurations, with the models, variables and optimizers.
        losses: its loss functions by their keys.
        lower_feed, upper_feed: the feeds of its first iteration.
    """

    config: Mapping[str, Any]
    loss_config: Mapping[str, Any]
    losses: Mapping[str, Callable[..., Any]]
    lower_feed: Any
    upper_feed: Any

    def feeds(self, k: int, rng: Any) -> tuple[Any, Any]:
        """Return the feeds of the first iteration, whatever k is."""
        return self.lower_feed, self.upper_feed


class _Reached(BaseException):
    def __init__(self, problem: Any, lower_feed: Any, upper_feed: Any) -> None:
        self.problem, self.feeds = problem, (lower_feed, upper_feed)


def read_script(path: str | Path, arguments: Sequence[str] = ()) -> Script:
    """Run a script as the main program until it calls `run_iter`.

    What it prints goes to stderr. Its folder stays on Python's path, for the modules that it imports later.

    Args:
        path: the script.
        arguments: its command-line arguments.

    Raises:
        RunError: there is no such file, or the script ends without an iteration.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such script")
    install()
    try:
        with _as_main(path, arguments):
            runpy.run_path(str(path), run_name="__main__")
    except _Reached as end:
        problem = end.problem
        functions = problem.losses
        return Script(problem.boat_configs, problem.loss_configs, functions, *end.feeds)
    except SystemExit as error:
        raise RunError(f"{path} ended with exit code {error.code} before it called run_iter") from None
    raise RunError(f"{path} ended before it called run_iter")


@contextlib.contextmanager
def _as_main(path: Path, arguments: Sequence[str]) -> Iterator[None]:
    def stop(problem: Any, lower_feed: Any, upper_feed: Any) -> None:
        raise _Reached(problem, lower_feed, upper_feed)

    folder, argv = str(path.resolve().parent), sys.argv
    if folder not in sys.path:
        sys.path.insert(0, folder)
    token = reached.set(stop)
    sys.argv = [str(path), *arguments]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.argv = argv
        reached.reset(token)
