"""What docs/ shows as code works."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from boat_core.testing import KernelClaim, conformance

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text("utf8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_the_kernel_of_the_page_on_kernels(tmp_path, dtype, tolerance):
    (python,), (cuda,) = blocks("kernels.md", "python"), blocks("kernels.md", "cpp")
    (tmp_path / "shrink.py").write_text(python, "utf8")
    (tmp_path / "shrink.cu").write_text(cuda, "utf8")
    spec = importlib.util.spec_from_file_location("shrink", tmp_path / "shrink.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    conformance.check_kernel(module.shrink, KernelClaim(numbers=(0.5,)), dtype, tolerance)


def test_the_page_on_kernels_names_all_of_ours():
    from boat_core.plugins.discovery import installed
    from boat_core.plugins.known_packs import published_operations

    ours = {name for names in published_operations().values() for name in names}
    kernels = {k.name for e in installed().entries if e.name in ours for k in e.operation.kernels}
    assert kernels == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| boat-ops.*", page(), flags=re.MULTILINE))))


def page():
    return (DOCS / "kernels.md").read_text("utf8")
