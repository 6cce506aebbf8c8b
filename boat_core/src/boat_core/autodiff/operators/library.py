"""The library of operators and the packs' kernels: what they are compiled from, where they lie, and loading them.

Both are compiled once on a machine, in the folder of `boat_core.runtime.toolchain`.
"""

from __future__ import annotations

import ctypes
import os
import sysconfig
from functools import cache, cached_property
from importlib import util
from pathlib import Path
from typing import Any

from ...runtime.background_build import BackgroundBuild, Command, error_line
from ...runtime.toolchain import Toolchain, digest, say, texts, toolchain

_MODULE = "boat_operators"
SOURCES = Path(__file__).with_name("sources")
#: What packs' kernels include, see `boat_kernel.h` there.
INCLUDE = Path(__file__).parent.parent / "include"

# NaN and infinity stay what they are; the definition has glibc declare its vector forms of tanh, exp and the like.
_OPTIMISED = (
    *("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fopenmp"),
    *("-fno-math-errno", "-fno-trapping-math", "-D__FAST_MATH__"),
)

#: Runs the device code on the CPU, for tests where there is no GPU; see `cuda_runtime.h` there.
SIMULATOR = Path(__file__).parent.parent / "simulator"

_KERNEL = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")


def simulator_flags() -> tuple[str, ...]:
    """The compiler's flags for simulated device code; none, unless BOAT_SIMULATOR=1 asks for it."""
    wanted = os.environ.get("BOAT_SIMULATOR", "0") not in ("", "0", "off")
    return ("-D__CUDACC__", "-DBOAT_SIMULATOR", f"-I{SIMULATOR}") if wanted else ()


def operators() -> Any:
    """The library's operators, waited for if they are being compiled; None where they cannot be had."""
    library = _library()
    return library.operators if library is not None else None


def start_build() -> BackgroundBuild | None:
    """Start to compile the library if it is not there, without waiting for it; None where that cannot be done."""
    library = _library()
    return library.build if library is not None else None


def kernel_library(source: Path, origin: str) -> KernelLibrary | None:
    """The kernels in one source of a pack, compiled or being compiled; None where nothing is to be compiled.

    Args:
        source: the file that holds the kernels.
        origin: the name of the pack, for messages.
    """
    tools = toolchain()
    try:
        return _kernel_library(tools, source, origin) if tools is not None else None
    except OSError as error:
        say(_unused(source, origin, str(error)))
        return None


def built(core: Path) -> int:
    """How many builds of the library lie beside a compiled core of Jittor."""
    return len(list(core.glob(f"boat-*/operators-*/{_MODULE}*.so")))


def compiled(core: Path, source: Path) -> bool:
    """Whether the kernels in a pack's source have been compiled beside that core."""
    try:
        text = digest(*texts(source))
    except OSError:
        return False
    return any(core.glob(f"boat-*/kernels-{text}-*/{source.stem}.so"))


def failure(core: Path, source: Path) -> str | None:
    """Why the kernels in a pack's source did not compile beside that core, and how to try again; None if they did not
    fail."""
    try:
        logs = core.glob(f"boat-*/kernels-{digest(*texts(source))}-*/{source.stem}.so.failed.txt")
    except OSError as error:
        return f"{source} cannot be read: {error}"
    for log in logs:
        return f"{error_line(log)}. {_retry(log)}"
    return None


def _texts(*folders: Path) -> list[str]:
    """The sources in these folders, and what all kernels include."""
    flags = simulator_flags()
    return [*texts(*folders, INCLUDE), *(texts(SIMULATOR) if flags else []), *flags]


def _retry(log: Path) -> str:
    return f"The compiler's words are in {log}; to try again, remove it"


def _unused(source: Path, origin: str, why: str) -> str:
    pack = f"{origin}: " if origin else ""
    return f"{pack}kernels of {source} are not used, plain operators are (slower, the same numbers): {why}"


@cache
def _library() -> OperatorLibrary | None:
    tools = toolchain()
    if tools is None:
        return None
    try:
        return OperatorLibrary(tools)
    except OSError as error:
        say(f"operators stay Jittor's own: {error}")
        return None


class OperatorLibrary:
    """The operators in `sources`; making one starts to compile them if they are not there.

    Args:
        tools: the toolchain that compiles them.
        sources: the folder of their sources.
    """

    def __init__(self, tools: Toolchain, sources: Path = SOURCES) -> None:
        self._tools, self._sources = tools, sources
        key = tools.key(*_texts(sources), *_OPTIMISED, str(tools.onednn), str(tools.cuda))
        target = tools.folder / f"operators-{key}" / f"{_MODULE}{sysconfig.get_config_var('EXT_SUFFIX')}"
        self.build = BackgroundBuild(target, self._plan)

    @cached_property
    def operators(self) -> Any:
        """What the library holds; None where it was not made or does not load."""
        if not self.build.wait():
            say(
                "its operators did not compile, Jittor's own are used (slower; max pooling has no second derivatives): "
                f"{self.build.error()}. To try again, remove {self.build.failure}"
            )
            return None
        try:
            return self._load()
        except ImportError as error:
            made = self.build.target
            say(f"its operators did not load, Jittor's own are used: {error}. To build anew, remove {made}")
            return None

    def _plan(self, folder: Path, out: Path) -> tuple[list[list[Command]], list[Command]]:
        from jittor import pyjt_compiler

        tools, sources = self._tools, self._sources
        binding = folder / "binding.cc"
        pyjt_compiler.compile_single(str(sources / f"{_MODULE}.h"), str(binding))
        flags = [*tools.compile_flags(), *_OPTIMISED, f"-I{sources}", f"-I{INCLUDE}", *simulator_flags()]
        libraries = []
        if tools.onednn is not None:
            flags += ["-DBOAT_ONEDNN", f"-I{tools.onednn}/include"]
            libraries += [f"-L{tools.onednn}/lib", f"-Wl,-rpath,{tools.onednn}/lib", "-lmkldnn"]
        objects = []

        def compile_(source: Path, *compiler: str) -> list[str]:
            objects.append(str(folder / f"{source.stem}.o"))
            return [*compiler, f"-I{sources}", "-c", str(source), "-o", objects[-1]]

        host = (tools.compiler, *flags)
        if tools.cuda:
            libraries += [f"-L{tools.cuda_libraries}", f"-Wl,-rpath,{tools.cuda_libraries}", "-lcudart", "-lcublas"]
        first = compile_(sources / "operators.cc", *(tools.nvcc(flags) if tools.cuda else host))
        second: list[Command] = [compile_(binding, *host, "-O0"), compile_(sources / "programs.cc", *host)]
        if tools.onednn is not None:
            second.append(compile_(sources / "conv2d_onednn.cc", *host))
        link = [tools.compiler, "-shared", "-fopenmp", *objects, "-o", str(out), *libraries]
        return [[first], second], [link]

    def _load(self) -> Any:
        from jittor_utils import import_scope

        spec = util.spec_from_file_location(_MODULE, self.build.target)
        assert spec is not None and spec.loader is not None
        with import_scope(os.RTLD_NOW | os.RTLD_DEEPBIND):
            module = util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module.ops


class KernelLibrary:
    """The functions of one source of a pack's kernels, waited for when one is asked for."""

    def __init__(self, source: Path, origin: str, build: BackgroundBuild) -> None:
        self._source, self._origin, self._build = source, origin, build

    @cached_property
    def _loaded(self) -> ctypes.CDLL | None:
        if not self._build.wait():
            self._say(f"did not compile: {self._build.error()}. {_retry(self._build.failure)}")
            return None
        try:
            return ctypes.CDLL(str(self._build.target))
        except OSError as error:
            self._say(f"did not load: {error}. To build anew, remove {self._build.target}")
            return None

    def _say(self, what: str) -> None:
        say(_unused(self._source, self._origin, f"it {what}"))

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


@cache
def _kernel_library(tools: Toolchain, source: Path, origin: str) -> KernelLibrary:
    key = tools.key(*_texts(), *_KERNEL, str(tools.cuda))
    folder = tools.folder / f"kernels-{digest(*texts(source))}-{key}"
    build = BackgroundBuild(folder / f"{source.stem}.so", lambda _, out: ([], [_kernel_command(tools, source, out)]))
    return KernelLibrary(source, origin, build)


def _kernel_command(tools: Toolchain, source: Path, out: Path) -> list[str]:
    host = [tools.compiler, "-x", "c++", *_KERNEL, *(f for f in tools.compile_flags() if f.startswith("-march"))]
    host += simulator_flags()
    compiler = tools.nvcc([*host, f"-I{INCLUDE}"]) if tools.cuda else [*host, f"-I{INCLUDE}"]
    return [*compiler, "-shared", str(source), "-o", str(out)]
