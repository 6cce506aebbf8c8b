"""Files that a compiler makes in the background: each appears by a rename, whole or not at all.

A file that could not be made leaves the compiler's log beside it, and is not tried again while that is there: a broken
compiler would cost every process the same seconds. The shell that runs the commands needs nobody: where the process
that wants the file ends first, the next one finds it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

Command = Sequence[str]


def put(place: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file or link under another name, then rename it to `place`."""
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    write(fresh)
    os.replace(fresh, place)


def error_line(log: Path) -> str:
    """The line of a compiler's log that tells most."""
    try:
        lines = log.read_text(encoding="utf8", errors="replace").splitlines()
    except OSError:
        lines = []
    last = lines[-1] if lines else "no output"
    return next((line for line in lines if "error" in line.lower()), last).strip()


class Making:
    """One file in the making: it is there, it has failed before, or commands are at work on it.

    Args:
        target: the file.
        plan: called if it is neither there nor has failed: given an empty folder and the path to write to in it, it
            returns queues of commands that run side by side, and the commands after them.
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
        return self._shell is not None

    def wait(self) -> bool:
        """Whether the file is there, once its commands are through."""
        if self._shell is not None:
            self._shell.wait()
            self._shell = None
        return self.target.exists()

    def error(self) -> str:
        """The line that tells most of what the compiler said."""
        return error_line(self.failure)

    def _start(
        self, folder: Path, queues: Sequence[Sequence[Command]], after: Sequence[Command]
    ) -> subprocess.Popen[bytes]:
        log = folder.with_name(f"{folder.name}.log")
        made, kept = shlex.join(["mv", "-f", str(folder / self.target.name), str(self.target)]), str(self.failure)
        script = [
            f"trap {shlex.quote(shlex.join(['rm', '-rf', str(folder), str(log)]))} EXIT",
            *("{ " + " && ".join(map(shlex.join, queue)) + '; } & jobs="$jobs $!"' for queue in queues),
            'for job in $jobs; do wait "$job" || failed=1; done',
            'if [ -z "$failed" ] && ' + " && ".join([*map(shlex.join, after), made]) + "; then exit 0; fi",
            shlex.join(["mv", "-f", str(log), kept]),
        ]
        with log.open("wb") as out:
            return subprocess.Popen(
                ["/bin/sh", "-c", "\n".join(script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
