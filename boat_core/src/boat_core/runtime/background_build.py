"""Builds files in the background. Each file appears by a rename, whole or not at all.

A build that fails leaves the compiler's log beside the place of the file, and is not tried again while the log is
there: a broken compiler would cost every process the same seconds. The shell that runs the commands outlives the
process that started it: if that process ends first, the next one finds the file.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

Command = Sequence[str]


def error_line(log: Path) -> str:
    """Return the most telling line of a compiler's log."""
    try:
        lines = log.read_text(encoding="utf8", errors="replace").splitlines()
    except OSError:
        lines = []
    last = lines[-1] if lines else "no output"
    return next((line for line in lines if "error" in line.lower()), last).strip()


class BackgroundBuild:
    """The build of one file: the file is there, its build has failed before, or commands are at work on it.

    Args:
        target: the path of the file.
        plan: is called if the file is not there and has not failed before. It takes an empty folder and the path in it
            to write to. It returns queues of commands, which run side by side, and the commands that follow them.
    """

    def __init__(
        self, target: Path, plan: Callable[[Path, Path], tuple[Sequence[Sequence[Command]], Sequence[Command]]]
    ) -> None:
        self.target, self.failure = target, target.with_name(f"{target.name}.failed.txt")
        self._shell: subprocess.Popen[bytes] | None = None
        if not target.exists() and not self.failure.exists():
            folder = target.with_name(f"{target.name}.{os.getpid()}")
            folder.mkdir(parents=True, exist_ok=True)
            self._shell = self._start(folder, *plan(folder, folder / target.name))

    @property
    def at_work(self) -> bool:
        """Whether this process started commands and has not waited for them yet."""
        return self._shell is not None

    def wait(self) -> bool:
        """Wait until the commands are through; return whether the file is there."""
        if self._shell is not None:
            self._shell.wait()
            self._shell = None
        return self.target.exists()

    def error(self) -> str:
        """Return the most telling line of what the compiler said."""
        return error_line(self.failure)

    def _start(
        self, folder: Path, queues: Sequence[Sequence[Command]], after: Sequence[Command]
    ) -> subprocess.Popen[bytes]:
        log = folder.with_name(f"{folder.name}.log")
        move = shlex.join(["mv", "-f", str(folder / self.target.name), str(self.target)])
        script = [
            f"trap {shlex.quote(shlex.join(['rm', '-rf', str(folder), str(log)]))} EXIT",
            *("{ " + " && ".join(map(shlex.join, queue)) + '; } & jobs="$jobs $!"' for queue in queues),
            'for job in $jobs; do wait "$job" || failed=1; done',
            'if [ -z "$failed" ] && ' + " && ".join([*map(shlex.join, after), move]) + "; then exit 0; fi",
            shlex.join(["mv", "-f", str(log), str(self.failure)]),
        ]
        with log.open("wb") as out:
            return subprocess.Popen(
                ["/bin/sh", "-c", "\n".join(script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
