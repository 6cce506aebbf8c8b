"""Compiles Jittor's core, about 150 files, in a child process, so that the user sees the progress.

A stamp records that it is done. It is written when a child has succeeded, and holds the settings that Jittor's build
depends on. Without a matching stamp the child runs; with a warm cache that takes a second or two, once.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

from .._util.replace import replace_file
from .errors import RuntimeSetupError
from .machine import boat_folder, check_build_tools, compiler_path, package_folder
from .progress import Display, parse_progress

_INSIDE = "BOAT_RUNTIME_COMPILING"  # marks the child, which must not start a child of its own
_ATTEMPTS = 5  # Jittor may ask to be run again after a stage: the first run and four more
_SETTINGS = (
    "cc_flags", "nvcc_flags", "kernel_flags", "nvcc_path", "debug", "enable_lto", "use_mkl", "use_mpi",
    "use_nccl", "use_data_gz", "conv_opt", "mpicc_path", "python_config_path", "cache_name",
    "ASCEND_TOOLKIT_HOME", "JITTOR_HOME",
)  # fmt: skip

# While log_silent is set, Jittor prints nothing, not even its progress. Without it, some of its warnings become fatal.
# So the child keeps the setting and switches it off only for the progress. Jittor alone decides what is compiled.
_CHILD = """
import sys
sys.path[:] = sys.argv[1:]
import jittor_utils
from jittor_utils import lock
try:
    import fcntl
    with open(lock.lock_path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except ImportError:
    pass
except OSError:
    print("boat: waiting")
silent = jittor_utils.LOG.log_silent
class Progress(jittor_utils.DelayProgress):
    def update(self, i):
        jittor_utils.LOG.log_silent = 0
        super().update(i)
        jittor_utils.LOG.log_silent = silent
jittor_utils.DelayProgress = Progress
import jittor
print("boat: ready", jittor.compiler.cache_path)
"""

_READY = re.compile(r"boat: ready (.+)")

_REMEDIES = (
    (
        r"Python\.h|python3[.\d]*-config",
        "install the Python headers (Debian, Ubuntu: apt install python3-dev)",
    ),
    (r"g\+\+: (command )?not found|g\+\+ not found|No such file or directory: '?g\+\+", "install g++"),
    (r"openmp library not found|-lgomp", "install OpenMP's library (Debian, Ubuntu: apt install libgomp1)"),
    (
        r"No space left on device|Disk quota",
        "free some space (1 GB does), or set JITTOR_HOME to another disk",
    ),
    (r"Permission denied|Read-only file system", "set JITTOR_HOME to a folder that can be written"),
    (
        r"_ARRAY_API|numpy\.core\.multiarray|compiled using NumPy 1",
        "install an older numpy: pip install 'numpy<2'",
    ),
    (
        r"urlopen error|URLError|name resolution|md5|Downloading",
        "Jittor tried a download: set use_mkl=0, see `boat doctor`",
    ),
    (r"libcudart|nvcc|cuInit|CUDA", "set nvcc_path to nothing to run on the CPU, see `boat doctor`"),
    (
        r"Killed|bad_alloc|SIGCHLD|cannot allocate|out of memory",
        "give it more memory: the compilers run in parallel",
    ),
    (r"No module named '([\w.]+)'", "install what is missing: pip install jittor numpy"),
)


def ensure_compiled(command: Sequence[str] | None = None, out: TextIO | None = None) -> None:
    """Compile Jittor's core in a child process, unless the stamp says that it is compiled.

    Args:
        command: replaces the command of the child.
        out: where the progress goes, by default stderr.
    """
    if os.environ.get(_INSIDE) or not sys.executable:
        return
    check_build_tools()
    if compiled_cache() is not None:
        return
    command = command or [sys.executable, "-u", "-c", _CHILD, *sys.path]
    shown = Display(out or sys.stderr)
    lines: list[str] = []
    for _attempt in range(_ATTEMPTS):
        code, lines = _run(command, shown)
        cache = next((found.group(1) for found in map(_READY.match, lines) if found), None)
        if code == 0 and cache is not None:
            shown.end(cache)
            _write_stamp(cache)
            return
        if code != 0:
            break
    shown.clear()
    raise RuntimeSetupError(_failure(code, lines))


def compiled_cache(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the cache folder with a core built under these settings; None if there is none or it is unknown."""
    try:
        stamp = json.loads(_stamp(environ).read_text(encoding="utf8"))
        cache = Path(stamp["cache"])
        matches = stamp["settings"] == _settings(environ)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cache if matches and any(cache.glob("jittor_core*.so")) else None


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what Jittor's build depends on and may change in one folder."""
    settings = {name: environ[name] for name in _SETTINGS if name in environ}
    for what, path in (("compiler", compiler_path()), ("jittor", package_folder("jittor"))):
        if path is not None:
            settings[what] = f"{os.path.realpath(path)} {os.stat(path).st_mtime_ns}"
    return {**settings, "python": f"{sys.base_prefix} {sys.version}"}


def _stamp(environ: Mapping[str, str]) -> Path:
    """Return the path of the stamp: one for each folder that Jittor builds in, which it names by the same parts."""
    machine = os.uname() if hasattr(os, "uname") else ()
    place = [sys.version, str(package_folder("jittor")), environ.get("cache_name", ""), *machine]
    place += [str(compiler_path()), environ.get("nvcc_path", "")]
    return boat_folder() / f"compiled-{hashlib.sha1(repr(place).encode()).hexdigest()[:16]}.json"


def _write_stamp(cache: str) -> None:
    stamp = _stamp(os.environ)
    text = json.dumps({"cache": cache, "settings": _settings(os.environ)}, indent=1)
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        replace_file(stamp, lambda fresh: fresh.write_text(text, encoding="utf8"))
    except OSError:
        return  # the cache is read-only, so the child runs again next time


def _run(command: Sequence[str], shown: Display) -> tuple[int, list[str]]:
    """Run the child to its end; its exit status and what it said, progress aside."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, _INSIDE: "1"},
    )
    assert process.stdout is not None
    heard: queue.Queue[str | None] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(process.stdout, heard), daemon=True)
    listener.start()
    lines: list[str] = []
    try:
        while True:
            try:
                line = heard.get(timeout=1.0)
            except queue.Empty:
                if process.poll() is not None:
                    break  # the child is gone; a process that it left behind still holds the pipe
                shown.tick()
                continue
            if line is None:
                break
            progress = parse_progress(line)
            if progress is not None:
                shown.progress(progress)
            elif line == "boat: waiting":
                shown.say("Jittor: another process is compiling, waiting for it")
            elif line:
                lines.append(line)
        return process.wait(), lines
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        listener.join(timeout=5)
        process.stdout.close()


def _listen(pipe: IO[bytes], heard: queue.Queue[str | None]) -> None:
    """Hand on what the child says line by line; Jittor ends its progress lines with a carriage return."""
    rest = b""
    while chunk := os.read(pipe.fileno(), 65536):
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in whole:
            heard.put(_plain(line))
    heard.put(_plain(rest))
    heard.put(None)


def _plain(line: bytes) -> str:
    return re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", line.decode("utf8", "replace")).rstrip()


def _failure(code: int, lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), "see `boat doctor`")
    what = (
        f"Jittor's first compilation ended with status {code}"
        if code
        else f"Jittor asked to be run again {_ATTEMPTS} times and did not get through"
    )
    last = "\n".join(f"  {line}" for line in lines[-20:])
    return f"{what}. Most likely remedy: {remedy}. The last that it said:\n{last}"
