"""What is compiled once on a machine, beside Jittor's cache, so that later compilations are few and short.

Two things, started together because each keeps one core busy:

- A precompiled header of what every CPU kernel of Jittor includes, and a launcher that skips the Python script through
  which Jittor sends each kernel to the compiler (it reworks the assembly of kernels marked `@begin`; the launcher
  leaves it those). A kernel then takes a third of the time. Kernels made so lie in a folder of their own: sharing
  Jittor's, a plain Jittor program and ours would recompile each other's.
- The library of operators (`boat_core.autodiff.operators`), whose sources come with the package.

The folder is named by all that they are made from, Jittor's flags and the compiler included: a change of any makes a
new one. What does not compile is reported once a process and Jittor is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from . import onednn
from .machine import interpreter

VARIABLE = "BOAT_NATIVE"
_MODULE = "boat_operators"
_SOURCES = Path(__file__).parent.parent / "autodiff" / "operators" / "sources"

# NaN and infinity stay what they are; the definition has glibc declare its vector forms of tanh, exp and the like.
_OPTIMISED = ("-O2", "-ftree-vectorize", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-D__FAST_MATH__")

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

_LAUNCHER = """\
#!/bin/sh
# {python} asm_tuner.py --cc_path=COMPILER SOURCE …: straight to the compiler unless the assembly is to be reworked;
# and by gold, which links such a small library in a third of the time
case "$1" in
*/asm_tuner.py)
    if ! grep -q '@begin' "$3"; then
        compiler="${{2#--cc_path=}}"
        shift 2
        command -v ld.gold > /dev/null && set -- "$@" -fuse-ld=gold
        exec "$compiler" "$@"
    fi ;;
esac
exec {python} "$@"
"""


def wanted() -> bool:
    """Whether the user lets us compile: BOAT_NATIVE=0 says no."""
    return os.environ.get(VARIABLE, "1") not in ("0", "off")


@cache
def start() -> _Build | None:
    """Begin to compile what is not there yet, once in a process, and have kernels compiled the short way."""
    import jittor

    if not wanted() or platform.system() != "Linux" or jittor.flags.cc_type != "g++":
        return None
    try:
        build = _Build(jittor)
    except OSError as error:
        _say(f"operators and kernels stay Jittor's own: {error}")
        return None
    build.shorten()
    return build


def operators() -> Any:
    """The library's operators, waited for if they are being compiled; None where they cannot be had."""
    build = start()
    return build.library() if build is not None else None


def state(core: Path) -> dict[str, Any]:
    """What of ours lies beside a compiled core of Jittor, for the doctor: counts, and what did not compile."""
    return {
        "wanted": wanted(),
        "headers": len(list(core.glob("boat-*/kernels.h.gch"))),
        "operators": len(list(core.glob(f"boat-*/operators-*/{_MODULE}*.so"))),
        "failed": [str(path) for path in sorted(core.glob("boat-*/operators-*/failed.txt"))],
    }


def launcher() -> str:
    """What Jittor is to start instead of a Python interpreter."""
    build = start()
    return str(build.launcher) if build is not None and build.short else interpreter()


def _say(line: str) -> None:
    print(f"BOAT: {line}", file=sys.stderr)


class _Build:
    """The folder, and the compilers at work on it. Every file appears by a rename: whole, or not at all."""

    def __init__(self, jittor: Any) -> None:
        self._jittor = jittor
        self._cuda = bool(jittor.flags.use_cuda)
        self._flags = str(jittor.flags.cc_flags)
        self._compiler = str(jittor.flags.cc_path)
        root = Path(jittor.compiler.cache_path)
        self.folder = root / f"boat-{self._key(_HEADER, _LAUNCHER)}"
        self.folder.mkdir(exist_ok=True)
        for name in ("jit", "obj_files", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        if not (self.folder / "gen").exists():
            self._put("gen", lambda fresh: fresh.symlink_to(root / "gen"))
        self.launcher, self.short = self.folder / "compile", False
        self._header = self.folder / "kernels.h"
        sources = [path.read_text(encoding="utf8") for path in sorted(_SOURCES.iterdir())]
        key = self._key(*sources, *_OPTIMISED, self._onednn_folder(), str(self._cuda))
        self._operators = self.folder / f"operators-{key}"
        self._operators.mkdir(exist_ok=True)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        self._library = self._operators / f"{_MODULE}{suffix}"
        self._failure = self._operators / "failed.txt"
        self._loaded: Any = None
        self._tried = False
        self._header_job = None if self._compiled_header.exists() else self._start_header()
        made = self._library.exists() or self._failure.exists()
        self._library_job = None if made else self._start_library()
        if self._header_job is not None or self._library_job is not None:
            _say(f"compiling what later compilations and its operators need, once, about 10 s; kept in {self.folder}")

    def shorten(self) -> None:
        """Wait for the header, then point Jittor to it, to the launcher and to the folder."""
        if self._header_job is not None:
            log, _ = self._header_job.communicate()
            self._header_job = None
            if not self._compiled_header.exists():
                _say(f"kernels are compiled the long way, their header did not compile: {_first_error(log)}")
                return
        if not self.launcher.exists():
            self._put("compile", self._write_launcher)
        flags = self._jittor.flags
        flags.cc_flags = f'{self._flags} -include "{self._header}" '
        flags.cache_path = str(self.folder)
        self.short = True

    def library(self) -> Any:
        if self._tried:
            return self._loaded
        self._tried = True
        if self._library_job is not None:
            log, _ = self._library_job.communicate()
            self._library_job = None
            for own in self._operators.glob(f"build-{os.getpid()}"):
                shutil.rmtree(own, ignore_errors=True)
            if not self._library.exists():
                self._failure.write_text(log, encoding="utf8")
        if not self._library.exists():
            _say(
                "its operators did not compile, Jittor's own are used (slower; max pooling has no second derivatives): "
                f"{_first_error(self._failure.read_text(encoding='utf8'))}. To try again, remove {self._failure}"
            )
            return None
        try:
            self._loaded = self._load()
        except ImportError as error:
            _say(f"its operators did not load, Jittor's own are used: {error}. To build anew, remove {self._operators}")
        return self._loaded

    @property
    def _compiled_header(self) -> Path:
        return self._header.with_name("kernels.h.gch")

    def _key(self, *parts: str) -> str:
        stat = os.stat(self._compiler)
        text = [*parts, self._flags, self._compiler, str((stat.st_size, stat.st_mtime_ns)), self._jittor.__version__]
        return hashlib.sha1("\0".join(text).encode()).hexdigest()[:12]

    def _onednn_folder(self) -> str:
        place = onednn.folder()
        return str(place) if self._jittor.compile_extern.mkl_ops is not None and onednn.works(place) else ""

    def _put(self, name: str, write: Callable[[Path], Any]) -> None:
        fresh = self.folder / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        write(fresh)
        os.replace(fresh, self.folder / name)

    def _write_launcher(self, fresh: Path) -> None:
        fresh.write_text(_LAUNCHER.format(python=shlex.quote(interpreter())), encoding="utf8")
        fresh.chmod(0o755)

    def _start_header(self) -> subprocess.Popen[str]:
        self._put("kernels.h", lambda fresh: fresh.write_text(_HEADER, encoding="utf8"))
        fresh = f"{self._compiled_header}.{os.getpid()}"
        compile_ = [self._compiler, *self._compile_flags(), "-x", "c++-header", str(self._header), "-o", fresh]
        return self._shell([[compile_]], [fresh, str(self._compiled_header)])

    def _start_library(self) -> subprocess.Popen[str]:
        from jittor import pyjt_compiler

        own = self._operators / f"build-{os.getpid()}"
        own.mkdir(exist_ok=True)
        binding = own / "binding.cc"
        pyjt_compiler.compile_single(str(_SOURCES / f"{_MODULE}.h"), str(binding))
        place = self._onednn_folder()
        flags = [*self._compile_flags(), *_OPTIMISED, f"-I{_SOURCES}"]
        link = [self._compiler, "-shared", "-fopenmp"]
        if place:
            flags += ["-DBOAT_ONEDNN", f"-I{place}/include"]
        objects = []

        def compile_(source: Path, *more: str) -> list[str]:
            objects.append(str(own / f"{source.stem}.o"))
            return [self._compiler, *flags, *more, "-c", str(source), "-o", objects[-1]]

        first = [self._device_command(own, objects) if self._cuda else compile_(_SOURCES / "operators.cc")]
        second = [compile_(binding, "-O0")]
        if place:
            second.append(compile_(_SOURCES / "conv2d_onednn.cc"))
        fresh = str(own / self._library.name)
        link += [*objects, "-o", fresh]
        if place:
            link += [f"-L{place}/lib", f"-Wl,-rpath,{place}/lib", "-lmkldnn"]
        if self._cuda:
            lib = Path(self._jittor.flags.nvcc_path).parent.parent / "lib64"
            link += [f"-L{lib}", f"-Wl,-rpath,{lib}", "-lcudart", "-lcublas"]
        return self._shell([first, second], [fresh, str(self._library)], after=[link])

    def _device_command(self, own: Path, objects: list[str]) -> list[str]:
        """All operators by nvcc: one source serves both devices."""
        objects.append(str(own / "operators.o"))
        host = ",".join(flag for flag in self._compile_flags() if flag.startswith(("-f", "-march")))
        given = shlex.split(self._jittor.flags.nvcc_flags)
        flags = [flag for flag in given if flag.startswith(("-I", "-arch", "-code"))]
        place = self._onednn_folder()
        if place:
            flags += ["-DBOAT_ONEDNN", f"-I{place}/include"]
        return [
            *(str(self._jittor.flags.nvcc_path), "-x", "cu", "-std=c++17", "-O3", "-w", f"-ccbin={self._compiler}"),
            *("--cudart=shared", f"-Xcompiler={host},-fopenmp,-fno-math-errno", *flags, f"-I{_SOURCES}"),
            *("-c", str(_SOURCES / "operators.cc"), "-o", objects[-1]),
        ]

    def _compile_flags(self) -> list[str]:
        """Jittor's own flags without those for the linker: a precompiled header serves the very same flags only."""
        return [flag for flag in shlex.split(self._flags) if not flag.startswith(("-l", "-L", "-Wl,", "-shared"))]

    def _shell(
        self, queues: Sequence[Sequence[Sequence[str]]], rename: Sequence[str], after: Sequence[Sequence[str]] = ()
    ) -> subprocess.Popen[str]:
        """Queues of commands side by side, then others, then a rename; no later command runs if one fails."""
        script = ["set -e"]
        for queue in queues:
            script.append("{ " + " && ".join(map(shlex.join, queue)) + '; } & jobs="$jobs $!"')
        script.append('for job in $jobs; do wait "$job"; done')
        script += [shlex.join(command) for command in [*after, ["mv", "-f", *rename]]]
        return subprocess.Popen(
            ["/bin/sh", "-c", "\n".join(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip

    def _load(self) -> Any:
        from jittor_utils import import_scope

        spec = util.spec_from_file_location(_MODULE, self._library)
        assert spec is not None and spec.loader is not None
        with import_scope(os.RTLD_NOW | os.RTLD_DEEPBIND):
            module = util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module.ops


def _first_error(log: str) -> str:
    lines = log.splitlines()
    return next(
        (line.strip() for line in lines if "error" in line.lower()), lines[-1].strip() if lines else "no output"
    )
