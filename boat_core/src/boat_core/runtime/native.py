"""What is compiled once on a machine, beside Jittor's cache, so that later compilations are few and short.

Two things, started together because each keeps one core busy:

- A precompiled header of what every CPU kernel of Jittor includes, and a launcher that skips the Python script through
  which Jittor sends each kernel to the compiler (it reworks the assembly of kernels marked `@begin`; the launcher
  leaves it those). A kernel then takes a third of the time. Kernels made so lie in a folder of their own: sharing
  Jittor's, a plain Jittor program and ours would recompile each other's.
- The library of operators (`boat_core.autodiff.operators`), whose sources come with the package.

The folder is named by all that they are made from, Jittor's flags and the compiler included: a change of any makes a
new one. What does not compile is reported once a process and Jittor is left as it is.

Jittor lets one process at a time compile, and the others wait. A process with BOAT_KERNELS=NAME keeps its kernels in a
folder own-NAME in there, under a lock of its own, and copies what another has compiled already.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shlex
import sys
import sysconfig
from functools import cache, cached_property
from importlib import util
from pathlib import Path
from typing import Any

from . import onednn
from .background_build import Command, Making, error_line, put
from .machine import interpreter

VARIABLE = "BOAT_NATIVE"
OWN_KERNELS = "BOAT_KERNELS"
_MODULE = "boat_operators"
_SOURCES = Path(__file__).parent.parent / "autodiff" / "operators" / "sources"
#: What packs' kernels include, see `boat_kernel.h` there.
INCLUDE = Path(__file__).parent.parent / "autodiff" / "include"

# NaN and infinity stay what they are; the definition has glibc declare its vector forms of tanh, exp and the like.
_OPTIMISED = (
    *("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fopenmp"),
    *("-fno-math-errno", "-fno-trapping-math", "-D__FAST_MATH__"),
)

_KERNEL = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")

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

# Jittor's script reworks aligned stores in the marked lines of a kernel. To know the lines it compiles with debug
# information, for which our header does not serve: five times as long. The instructions are the same without, so it is
# called only where they hold such a store; the expression is the script's own.
_LAUNCHER = """\
#!/bin/sh
# {python} asm_tuner.py --cc_path=COMPILER SOURCE FLAG... -o KERNEL: straight to the compiler, unless the script has
# something to do; linked by gold, to which such a small library takes a third of the time
script="$1" compiler="${{2#--cc_path=}}" source="$3"
reworked() {{
    grep -q '@begin' "$source" || return 1
    shift 3
    "$compiler" "$source" "$@" -S -o "$assembly" 2> /dev/null || return 0
    if grep -q 'vmova.*,.*(.*)' "$assembly"; then return 0; fi
    source="$assembly"
    return 1
}}
case "$script" in
*/asm_tuner.py)
    for kernel; do :; done
    for other in "${{0%/*}}/jit/${{kernel##*/}}" "${{0%/*}}"/*/jit/"${{kernel##*/}}"; do
        if [ -e "$other.key" ] && [ "$other" != "$kernel" ] && cmp -s "$source" "${{other%.so}}.cc"; then
            exec cp "$other" "$kernel"
        fi
    done
    assembly="${{source%.cc}}.s"
    if ! reworked "$@"; then
        shift 3
        command -v ld.gold > /dev/null && set -- "$@" -fuse-ld=gold
        exec "$compiler" "$source" "$@"
    fi ;;
esac
exec {python} "$@"
"""


def wanted() -> bool:
    """Whether the user lets us compile: BOAT_NATIVE=0 says no."""
    return os.environ.get(VARIABLE, "1") not in ("0", "off")


def operators() -> Any:
    """The library's operators, waited for if they are being compiled; None where they cannot be had."""
    build = _build()
    return build.operators if build is not None else None


def kernel_library(source: Path, origin: str) -> Library | None:
    """A pack's kernels out of one source, being compiled or there; None where nothing is to be compiled.

    `origin` names the pack in messages.
    """
    build = _build()
    try:
        return build.library(source, origin) if build is not None else None
    except OSError as error:
        _say(_unused(source, origin, str(error)))
        return None


def launcher() -> str:
    """What Jittor is to start instead of a Python interpreter."""
    build = _build()
    return str(build.launcher) if build is not None and build.short else interpreter()


def state(core: Path) -> dict[str, Any]:
    """What of ours lies beside a compiled core of Jittor, for the doctor: counts, and what did not compile."""
    return {
        "wanted": wanted(),
        "headers": len(list(core.glob("boat-*/kernels.h.gch"))),
        "operators": len(list(core.glob(f"boat-*/operators-*/{_MODULE}*.so"))),
        "failed": [str(path) for path in sorted(core.glob("boat-*/**/*.failed.txt"))],
    }


def compiled(core: Path, source: Path) -> bool:
    """Whether kernels of a pack have been compiled beside that core."""
    try:
        text = _digest(*_texts(source))
    except OSError:
        return False
    return any(core.glob(f"boat-*/kernels-{text}-*/{source.stem}.so"))


def failure(core: Path, source: Path) -> str | None:
    """Why kernels of a pack did not compile beside that core, and how to try again; None where they did or may yet."""
    try:
        found = core.glob(f"boat-*/kernels-{_digest(*_texts(source))}-*/{source.stem}.so.failed.txt")
    except OSError as error:
        return f"{source} cannot be read: {error}"
    for log in found:
        return f"{error_line(log)}. {_retry(log)}"
    return None


def _retry(log: Path) -> str:
    return f"The compiler's words are in {log}; to try again, remove it"


def _unused(source: Path, origin: str, why: str) -> str:
    pack = f"{origin}: " if origin else ""
    return f"{pack}kernels of {source} are not used, plain operators are (slower, the same numbers): {why}"


def _digest(*parts: str) -> str:
    return hashlib.sha1("\0".join(parts).encode()).hexdigest()[:12]


@cache
def _build() -> _Build | None:
    import jittor

    if not wanted() or platform.system() != "Linux" or jittor.flags.cc_type != "g++":
        return None
    try:
        return _Build(jittor)
    except OSError as error:
        _say(f"operators and kernels stay Jittor's own: {error}")
        return None


def _say(line: str) -> None:
    print(f"BOAT: {line}", file=sys.stderr)


def _lay_out_cache(folder: Path, root: Path) -> None:
    for name in ("jit", "obj_files", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if not (folder / "gen").exists():
        put(folder / "gen", lambda fresh: fresh.symlink_to(root / "gen"))


def _texts(*places: Path) -> list[str]:
    """What files and the files of folders hold."""
    files = [path for place in places for path in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return [path.read_text(encoding="utf8", errors="replace") for path in files]


class Library:
    """The functions of one source of a pack's kernels, waited for when one is asked for."""

    def __init__(self, source: Path, origin: str, making: Making) -> None:
        self._source, self._origin, self._making = source, origin, making

    @cached_property
    def _loaded(self) -> ctypes.CDLL | None:
        if not self._making.wait():
            self._say(f"did not compile: {self._making.error()}. {_retry(self._making.failure)}")
            return None
        try:
            return ctypes.CDLL(str(self._making.target))
        except OSError as error:
            self._say(f"did not load: {error}. To build anew, remove {self._making.target}")
            return None

    def _say(self, what: str) -> None:
        _say(_unused(self._source, self._origin, f"it {what}"))

    @cache  # noqa: B019 - as many as there are sources, for the life of the process
    def function(self, name: str) -> int:
        """The address of a kernel, 0 where it cannot be had."""
        if self._loaded is None:
            return 0
        try:
            return ctypes.cast(getattr(self._loaded, f"boat_{name}"), ctypes.c_void_p).value or 0
        except AttributeError:
            self._say(f"holds no kernel {name!r}; BOAT_KERNEL({name}) makes one of a template")
            return 0


class _Build:
    """The folder. Begins to compile what is not there, waits for the header alone, and points Jittor to it."""

    def __init__(self, jittor: Any) -> None:
        self._jittor = jittor
        self._flags, self._compiler = str(jittor.flags.cc_flags), str(jittor.flags.cc_path)
        self._cuda = bool(jittor.flags.use_cuda)
        place = onednn.folder()
        self._onednn = place if jittor.compile_extern.mkl_ops is not None and onednn.works(place) else None
        root = Path(jittor.compiler.cache_path)
        self.folder = root / f"boat-{self._key(_HEADER, _LAUNCHER)}"
        self._lay_out(root)
        name = f"operators-{self._key(*_texts(_SOURCES, INCLUDE), *_OPTIMISED, str(self._onednn), str(self._cuda))}"
        self._header = Making(self.folder / "kernels.h.gch", self._header_plan)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        self._library = Making(self.folder / name / f"{_MODULE}{suffix}", self._library_plan)
        if self._header.at_work or self._library.at_work:
            _say(f"compiling what later compilations and its operators need, once, about 10 s; kept in {self.folder}")
        self.short = self._header.wait()
        if self.short:
            jittor.flags.cc_flags = f'{self._flags} -include "{self.folder / "kernels.h"}" '
            jittor.flags.cache_path = str(self._kernels(root))
        else:
            _say(
                f"kernels are compiled the long way, their header did not compile: {self._header.error()}. "
                f"To try again, remove {self._header.failure}"
            )

    @cached_property
    def operators(self) -> Any:
        """What the library holds, None where it was not made or does not load."""
        if not self._library.wait():
            _say(
                "its operators did not compile, Jittor's own are used (slower; max pooling has no second derivatives): "
                f"{self._library.error()}. To try again, remove {self._library.failure}"
            )
            return None
        try:
            return self._load()
        except ImportError as error:
            made = self._library.target
            _say(f"its operators did not load, Jittor's own are used: {error}. To build anew, remove {made}")
            return None

    @property
    def launcher(self) -> Path:
        return self.folder / "compile"

    def _key(self, *parts: str) -> str:
        stat = os.stat(self._compiler)
        compiler = self._compiler, str((stat.st_size, stat.st_mtime_ns))
        return _digest(*parts, self._flags, *compiler, self._jittor.__version__)

    def _lay_out(self, root: Path) -> None:
        """What Jittor looks for in a cache folder, the header's text, and the launcher."""
        _lay_out_cache(self.folder, root)
        if not self.launcher.exists():
            put(self.folder / "kernels.h", lambda fresh: fresh.write_text(_HEADER, encoding="utf8"))
            put(self.launcher, self._write_launcher)

    def _kernels(self, root: Path) -> Path:
        """Where this process keeps its kernels: beside the header, or in the folder that the user names there."""
        name = os.environ.get(OWN_KERNELS, "")
        if not name:
            return self.folder
        own = self.folder / f"own-{re.sub(r'[^0-9A-Za-z_.-]', '_', name)}"
        _lay_out_cache(own, root)
        (own / "lock").touch()
        self._jittor.core.set_lock_path(str(own / "lock"))
        return own

    def _write_launcher(self, fresh: Path) -> None:
        fresh.write_text(_LAUNCHER.format(python=shlex.quote(interpreter())), encoding="utf8")
        fresh.chmod(0o755)

    def _compile_flags(self) -> list[str]:
        """Jittor's own flags without those for the linker: a precompiled header serves the very same flags only."""
        return [flag for flag in shlex.split(self._flags) if not flag.startswith(("-l", "-L", "-Wl,", "-shared"))]

    def _header_plan(self, _: Path, out: Path) -> tuple[list[list[Command]], list[Command]]:
        header = str(self.folder / "kernels.h")
        return [[[self._compiler, *self._compile_flags(), "-x", "c++-header", header, "-o", str(out)]]], []

    def _library_plan(self, folder: Path, out: Path) -> tuple[list[list[Command]], list[Command]]:
        from jittor import pyjt_compiler

        binding = folder / "binding.cc"
        pyjt_compiler.compile_single(str(_SOURCES / f"{_MODULE}.h"), str(binding))
        flags, libraries = [*self._compile_flags(), *_OPTIMISED, f"-I{_SOURCES}", f"-I{INCLUDE}"], []
        if self._onednn is not None:
            flags += ["-DBOAT_ONEDNN", f"-I{self._onednn}/include"]
            libraries += [f"-L{self._onednn}/lib", f"-Wl,-rpath,{self._onednn}/lib", "-lmkldnn"]
        objects = []

        def compile_(source: Path, *compiler: str) -> list[str]:
            objects.append(str(folder / f"{source.stem}.o"))
            return [*compiler, f"-I{_SOURCES}", "-c", str(source), "-o", objects[-1]]

        host = (self._compiler, *flags)
        if self._cuda:
            place = Path(self._jittor.flags.nvcc_path).parent.parent / "lib64"
            libraries += [f"-L{place}", f"-Wl,-rpath,{place}", "-lcudart", "-lcublas"]
        first = compile_(_SOURCES / "operators.cc", *(self._nvcc(flags) if self._cuda else host))
        second: list[Command] = [compile_(binding, *host, "-O0")]
        if self._onednn is not None:
            second.append(compile_(_SOURCES / "conv2d_onednn.cc", *host))
        link = [self._compiler, "-shared", "-fopenmp", *objects, "-o", str(out), *libraries]
        return [[first], second], [link]

    def _nvcc(self, host: list[str]) -> list[str]:
        """nvcc for all operators: one source serves both devices."""
        passed = ",".join(flag for flag in host if flag.startswith(("-f", "-march")))
        given = shlex.split(self._jittor.flags.nvcc_flags)
        flags = [flag for flag in given if flag.startswith(("-I", "-arch", "-code"))]
        flags += [flag for flag in host if flag.startswith(("-DBOAT", "-I"))]
        nvcc = str(self._jittor.flags.nvcc_path)
        return [
            nvcc,
            *("-x", "cu", *CUDA_FLAGS, "-w"),
            f"-ccbin={self._compiler}",
            f"-Xcompiler={passed}",
            *flags,
        ]

    @cache  # noqa: B019 - there is one build a process
    def library(self, source: Path, origin: str) -> Library:
        key = self._key(*_texts(INCLUDE), *_KERNEL, str(self._cuda))
        folder = self.folder / f"kernels-{_digest(*_texts(source))}-{key}"
        made = Making(folder / f"{source.stem}.so", lambda _, out: ([], [self._kernel(source, out)]))
        return Library(source, origin, made)

    def _kernel(self, source: Path, out: Path) -> list[str]:
        host = [self._compiler, "-x", "c++", *_KERNEL, *(f for f in self._compile_flags() if f.startswith("-march"))]
        compiler = self._nvcc([*host, f"-I{INCLUDE}"]) if self._cuda else [*host, f"-I{INCLUDE}"]
        return [*compiler, "-shared", str(source), "-o", str(out)]

    def _load(self) -> Any:
        from jittor_utils import import_scope

        spec = util.spec_from_file_location(_MODULE, self._library.target)
        assert spec is not None and spec.loader is not None
        with import_scope(os.RTLD_NOW | os.RTLD_DEEPBIND):
            module = util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module.ops
