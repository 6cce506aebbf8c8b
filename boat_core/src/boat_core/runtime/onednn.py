"""Provides oneDNN without a download, by links from Jittor's cache to the files of two wheels.

Jittor needs oneDNN 2.2 in a certain folder of its cache, with `include` and `lib` in it, and downloads it if the folder
is missing. PyPI has the same version as wheels, which put their files under `include` and `lib` of the environment.
"""

from __future__ import annotations

import os
import platform
import sysconfig
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from .._util.replace import replace_file
from .machine import cache_root

WHEELS = ("onednn-cpu-gomp==2021.2.0", "onednn-devel-cpu-gomp==2021.2.0")
PIP = "pip install " + " ".join(WHEELS)
COST = "matrix products run as generated loops, about 35 times slower"
_LIBRARY, _HEADER = "libmkldnn.so", "dnnl.hpp"


@dataclass(frozen=True)
class Source:
    """The two folders to link to."""

    include: Path
    lib: Path


def served_by_wheels() -> bool:
    return platform.system() == "Linux" and platform.machine() == "x86_64"


def folder() -> Path:
    """Return the folder in which Jittor looks for oneDNN on this platform."""
    system, machine = platform.system(), platform.machine()
    if system == "Linux":
        suffix = "_aarch64" if machine == "aarch64" else ""
        name = f"dnnl_lnx_2.2.0_cpu_gomp{suffix}"
    elif system == "Darwin":
        name = f"dnnl_mac_2.2.0_cpu_omp_{'arm64' if machine == 'arm64' else 'x86_64'}"
    else:
        name = "dnnl_win_2.2.0_cpu_vcomp"
    return cache_root() / "mkl" / name


def works(place: Path) -> bool:
    """Whether the headers and the library are there, as links or as files."""
    libraries = [place / "lib" / _LIBRARY, place / "lib" / "libmkldnn.dylib", place / "bin" / "dnnl.dll"]
    return (place / "include" / _HEADER).is_file() and any(library.is_file() for library in libraries)


def can_link(place: Path) -> bool:
    """Whether BOAT's links would replace only links or nothing. A real folder belongs to the user."""
    return all(part.is_symlink() or not part.exists() for part in (place / "include", place / "lib"))


def find_source() -> Source | None:
    """Return the folders of the wheels, from their metadata, or else those where this environment puts data files."""
    if not served_by_wheels():
        return None
    data = Path(sysconfig.get_path("data"))
    lib = _folder_of(WHEELS[0], _LIBRARY) or _containing(data / "lib", _LIBRARY)
    include = _folder_of(WHEELS[1], _HEADER) or _containing(data / "include", _HEADER)
    return Source(include, lib) if include and lib else None


def link(source: Source) -> None:
    """Make the two links, or replace them. A rename puts each in place, since several processes may do this at once."""
    place = folder()
    if place.is_symlink() and not place.exists():
        place.unlink(missing_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    for name, target in (("include", source.include), ("lib", source.lib)):
        replace_file(place / name, partial(Path.symlink_to, target=target, target_is_directory=True))


def _folder_of(requirement: str, filename: str) -> Path | None:
    try:
        files = metadata.distribution(requirement.split("==")[0]).files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == filename:
            found = _containing(Path(os.path.abspath(str(file.locate()))).parent, filename)
            # There is a second copy of the header deeper down. `#include <dnnl.hpp>` means the one at the top.
            if found is not None and found.name != "dnnl":
                return found
    return None


def _containing(place: Path, filename: str) -> Path | None:
    return place if (place / filename).is_file() else None
