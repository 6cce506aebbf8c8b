"""The compiler service: a precompiled header and a launcher for Jittor's kernels, and builds beside them.

A precompiled header holds what every CPU kernel of Jittor includes. A launcher skips the Python script through which
Jittor sends each kernel to the compiler. With both, a kernel takes a quarter of the time to compile. Kernels made so
lie in a folder of their own: if they shared Jittor's, a plain Jittor program and BOAT would recompile each other's
kernels.

Libraries can be built with the same compiler and flags (`Toolchain`). What is known before Jittor's first kernel is
built beside the header, because each of the two keeps one core busy.

The folder is named by everything that goes into it, Jittor's flags and the compiler included. A change of any part
makes a new folder. What does not compile is reported once per process, and Jittor is left as it is.

Jittor lets one process at a time compile, and the others wait. A process with BOAT_KERNELS=NAME keeps its kernels in a
folder own-NAME in there, under a lock of its own, and copies the kernels that another process has compiled.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .._util.replace import replace_file
from . import onednn
from .background_build import BackgroundBuild, Command
from .machine import interpreter

VARIABLE = "BOAT_NATIVE"
OWN_KERNELS = "BOAT_KERNELS"

CUDA_FLAGS = ("-std=c++17", "-O3", "--extended-lambda")

# Kernels begin with these definitions themselves; a header compiled without them would not do for them.
_HEADER = """\
#define JIT 1
#define JIT_cpu 1
#include <cmath>
#include <limits>
#include <assert.h>
#include "var.h"
#include "op.h"
#include "ops/op_register.h"
#include "executor.h"
#include "fused_op.h"
"""

# Jittor's script compiles a kernel with debug information, for which our header does not serve, and then replaces
# aligned stores by streaming ones. It found no store to replace in any kernel that was looked at, and took four times
# as long as the compiler needs with the header. A kernel computes the same numbers without it.
_LAUNCHER = """\
#!/bin/sh
# {python} asm_tuner.py --cc_path=COMPILER SOURCE FLAG... -o KERNEL: straight to the compiler; linked by gold, to which
# such a small library takes a third of the time
case "$1" in
*/asm_tuner.py)
    compiler="${{2#--cc_path=}}" source="$3"
    shift 3
    for kernel; do :; done
    for other in "${{0%/*}}/jit/${{kernel##*/}}" "${{0%/*}}"/*/jit/"${{kernel##*/}}"; do
        if [ -e "$other.key" ] && [ "$other" != "$kernel" ] && cmp -s "$source" "${{other%.so}}.cc"; then
            exec cp "$other" "$kernel"
        fi
    done
    command -v ld.gold > /dev/null && set -- "$@" -fuse-ld=gold
    exec "$compiler" "$source" "$@" ;;
esac
exec {python} "$@"
"""


#: Starts a build, without waiting for it; None where there is nothing to build.
StartBuild = Callable[[], "BackgroundBuild | None"]


def wanted() -> bool:
    """Whether the user allows BOAT to compile: BOAT_NATIVE=0 forbids it."""
    return os.environ.get(VARIABLE, "1") not in ("0", "off")


@cache
def toolchain() -> Toolchain | None:
    """The toolchain of this process; None where nothing is to be compiled."""
    import jittor

    if not wanted() or platform.system() != "Linux" or jittor.flags.cc_type != "g++":
        return None
    try:
        return Toolchain(jittor)
    except OSError as error:
        say(f"operators and kernels stay Jittor's own: {error}")
        return None


def launcher(beside: Iterable[StartBuild] = ()) -> str:
    """Return what Jittor is to start instead of a Python interpreter, once the header is compiled.

    Args:
        beside: functions that start builds of their own, which run beside that of the header.
    """
    tools = toolchain()
    if tools is None:
        return interpreter()
    return str(tools.launcher) if tools.ready(*(start() for start in beside)) else interpreter()


def state(core: Path) -> dict[str, Any]:
    """What lies beside a compiled core of Jittor, for the doctor: counts, and the logs of what did not compile."""
    return {
        "wanted": wanted(),
        "headers": len(list(core.glob("boat-*/kernels.h.gch"))),
        "failed": [str(path) for path in sorted(core.glob("boat-*/**/*.failed.txt"))],
    }


def digest(*parts: str) -> str:
    """A short name for some texts, another one where any differs."""
    return hashlib.sha1("\0".join(parts).encode()).hexdigest()[:12]


def texts(*places: Path) -> list[str]:
    """The contents of files, and of the files in folders."""
    files = [path for place in places for path in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return [path.read_text(encoding="utf8", errors="replace") for path in files]


def say(line: str) -> None:
    """Print a line about compiling."""
    print(f"BOAT: {line}", file=sys.stderr)


class Toolchain:
    """Jittor's compiler and flags, and the folder for what is built with them.

    Making one starts to compile the header if it is not there.

    Attributes:
        folder: where builds go.
        header: the build of the precompiled header.
        compiler: the path of the C++ compiler.
        cuda: whether sources are compiled for CUDA.
        onednn: the folder of oneDNN, None where it is not used.
    """

    def __init__(self, jittor: Any) -> None:
        self._jittor = jittor
        # As they are now: `ready` adds the header to Jittor's flags, and builds must not include it.
        self._flags, self.compiler = str(jittor.flags.cc_flags), str(jittor.flags.cc_path)
        self.cuda = bool(jittor.flags.use_cuda)
        place = onednn.folder()
        self.onednn = place if jittor.compile_extern.mkl_ops is not None and onednn.works(place) else None
        self._root = Path(jittor.compiler.cache_path)
        self.folder = self._root / f"boat-{self.key(_HEADER, _LAUNCHER)}"
        self._lay_out()
        self.header = BackgroundBuild(self.folder / "kernels.h.gch", self._header_plan)

    def ready(self, *beside: BackgroundBuild | None) -> bool:
        """Wait for the header, and point Jittor to it. Return False where it did not compile.

        Args:
            beside: the builds that run beside that of the header, for the line that says what takes so long.
        """
        if any(build is not None and build.at_work for build in (self.header, *beside)):
            say(f"compiling what later compilations and its operators need, once, about 10 s; kept in {self.folder}")
        return self._uses_header

    @cached_property
    def _uses_header(self) -> bool:
        if not self.header.wait():
            say(
                f"kernels are compiled the long way, their header did not compile: {self.header.error()}. "
                f"To try again, remove {self.header.failure}"
            )
            return False
        self._jittor.flags.cc_flags = f'{self._flags} -include "{self.folder / "kernels.h"}" '
        self._jittor.flags.cache_path = str(self._kernels())
        return True

    @property
    def launcher(self) -> Path:
        """The program that Jittor starts instead of a Python interpreter."""
        return self.folder / "compile"

    @property
    def cuda_libraries(self) -> Path:
        """The folder of CUDA's libraries."""
        return Path(self._jittor.flags.nvcc_path).parent.parent / "lib64"

    def key(self, *parts: str) -> str:
        """A name for what is built of these parts, with this compiler, for this Jittor."""
        stat = os.stat(self.compiler)
        compiler = self.compiler, str((stat.st_size, stat.st_mtime_ns))
        return digest(*parts, self._flags, *compiler, self._jittor.__version__)

    def _lay_out(self) -> None:
        """Make the folder as a cache folder of Jittor, with the text of the header and the launcher."""
        self._lay_out_cache(self.folder)
        if not self.launcher.exists():
            replace_file(self.folder / "kernels.h", lambda fresh: fresh.write_text(_HEADER, encoding="utf8"))
            replace_file(self.launcher, self._write_launcher)

    def _lay_out_cache(self, folder: Path) -> None:
        """Make what Jittor looks for in a cache folder."""
        for name in ("jit", "obj_files", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if not (folder / "gen").exists():
            replace_file(folder / "gen", lambda fresh: fresh.symlink_to(self._root / "gen"))

    def _kernels(self) -> Path:
        """Where this process keeps its kernels: beside the header, or in a folder of its own if the user names one."""
        name = os.environ.get(OWN_KERNELS, "")
        if not name:
            return self.folder
        own = self.folder / f"own-{re.sub(r'[^0-9A-Za-z_.-]', '_', name)}"
        self._lay_out_cache(own)
        (own / "lock").touch()
        self._jittor.core.set_lock_path(str(own / "lock"))
        return own

    def _write_launcher(self, fresh: Path) -> None:
        fresh.write_text(_LAUNCHER.format(python=shlex.quote(interpreter())), encoding="utf8")
        fresh.chmod(0o755)

    def compile_flags(self) -> list[str]:
        """Jittor's own flags without those for the linker. A precompiled header serves only the very same flags."""
        return [flag for flag in shlex.split(self._flags) if not flag.startswith(("-l", "-L", "-Wl,", "-shared"))]

    def _header_plan(self, _: Path, out: Path) -> tuple[list[list[Command]], list[Command]]:
        header = str(self.folder / "kernels.h")
        return [[[self.compiler, *self.compile_flags(), "-x", "c++-header", header, "-o", str(out)]]], []

    def nvcc(self, host: list[str]) -> list[str]:
        """The command of nvcc for a source that serves both devices, from the flags of the host compiler."""
        passed = ",".join(flag for flag in host if flag.startswith(("-f", "-march")))
        jittor_flags = shlex.split(self._jittor.flags.nvcc_flags)
        flags = [flag for flag in jittor_flags if flag.startswith(("-I", "-arch", "-code"))]
        flags += [flag for flag in host if flag.startswith(("-DBOAT", "-I"))]
        nvcc = str(self._jittor.flags.nvcc_path)
        return [
            nvcc,
            *("-x", "cu", *CUDA_FLAGS, "-w"),
            f"-ccbin={self.compiler}",
            f"-Xcompiler={passed}",
            *flags,
        ]
