"""Finds Jittor and its caches, the C++ compiler and Python's headers on this machine. Reads, never writes."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import sysconfig
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from .errors import RuntimeSetupError
from .variables import user_value


def jittor_home() -> Path:
    """Return the folder that holds `.cache/jittor`: JITTOR_HOME, else that of Jittor's config.json, else the home."""
    config = Path.home() / ".cache" / "jittor" / "config.json"
    default = str(Path.home())
    try:
        default = json.loads(config.read_text(encoding="utf8")).get("JITTOR_HOME", default)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, AttributeError) as error:
        raise RuntimeSetupError(
            f'{config}: expected JSON like {{"JITTOR_HOME": "/folder"}} ({error}). Remove or repair it.'
        ) from error
    return Path(os.path.abspath(os.environ.get("JITTOR_HOME", default)))


def cache_root() -> Path:
    return jittor_home() / ".cache" / "jittor"


def boat_folder() -> Path:
    """Return the folder in Jittor's cache for files that BOAT generates."""
    return cache_root() / "boat"


def package_folder(name: str) -> Path | None:
    """Return the folder of a top-level package without importing it."""
    spec = PathFinder.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def interpreter() -> str:
    """Return the path of the running interpreter, the same however it was started (`python`, `python3`, a script)."""
    usual = os.path.join(sys.prefix, "bin", "python3")
    return usual if os.path.realpath(usual) == os.path.realpath(sys.executable) else sys.executable


def compiler_path() -> str | None:
    """Return the C++ compiler that Jittor will use."""
    name = os.environ.get("cc_path") or ("clang++" if platform.system() == "Darwin" else "g++")
    return shutil.which(name)


def python_headers() -> Path | None:
    """Return the folder of Python.h; None if the headers are not installed."""
    for key in ("include", "platinclude"):
        folder = Path(sysconfig.get_path(key))
        if (folder / "Python.h").is_file():
            return folder
    return None


def python_config() -> Path | None:
    """Return the python-config script of the interpreter behind a virtual environment, if Jittor finds none by itself.

    If Jittor finds one, its choice stays: another script gives other flags, and each change between the two would
    rebuild Jittor.
    """
    name = f"python3.{sys.version_info.minor}-config"
    beside = Path(sys.executable).parent
    own = [
        beside / name,
        Path(f"{sys.executable}-config"),
        Path("/usr/bin", name),
        Path("/usr/local/bin", name),
    ]
    if any(script.is_file() for script in [*own, beside / "python3-config"]):
        return None
    script = Path(sys.base_prefix, "bin", name)
    return script if script.is_file() else None


def check_build_tools() -> None:
    """Raise a clear error with the remedy now, where Jittor would fail later with an obscure one."""
    if compiler_path() is None:
        wanted = os.environ.get("cc_path") or "g++"
        raise RuntimeSetupError(
            f"Jittor compiles its kernels, and the C++ compiler {wanted!r} was not found on the PATH. "
            "Install g++ (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; conda: gxx) "
            "or set cc_path to a compiler."
        )
    if python_headers() is None and user_value("python_config_path") is None:
        raise RuntimeSetupError(
            f"Jittor compiles against Python's headers, and Python.h was not found in "
            f"{sysconfig.get_path('include')}. Install the Python headers (Debian, Ubuntu: apt install "
            f"python3.{sys.version_info.minor}-dev; Fedora: dnf install python3-devel), or set "
            "python_config_path to the python3-config of a Python that has them."
        )
