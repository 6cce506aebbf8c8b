"""What is compiled once: when, when again, and what happens where it cannot be. A script stands in for g++."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from boat_core.autodiff.operators import library
from boat_core.runtime import toolchain

COMPILER = """\
#!/bin/sh
# writes what it was asked for, unless it is to fail
echo "$@" >> "$0.log"
if [ -e "$0.fails" ]; then echo "nonsense.h:1:2: error: this is no C++" >&2; exit 1; fi
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then echo made > "$2"; fi; shift; done
"""


@pytest.fixture
def machine(tmp_path):
    """A machine with nothing compiled: its Jittor's flags, its compiler, its copy of our sources."""
    compiler, core, sources = tmp_path / "g++", tmp_path / "core", tmp_path / "sources"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    core.mkdir()
    (core / "gen").mkdir()
    shutil.copytree(library.SOURCES, sources)
    flags = SimpleNamespace(cc_flags="-O1 -shared -lm", cc_path=str(compiler), cc_type="g++", use_cuda=0, cache_path="")
    fake = SimpleNamespace(
        flags=flags,
        compiler=SimpleNamespace(cache_path=str(core)),
        compile_extern=SimpleNamespace(mkl_ops=None),
        __version__="1",
    )
    return SimpleNamespace(jittor=fake, compiler=compiler, core=core, sources=sources)


def commands(machine):
    log = machine.compiler.with_name("g++.log")
    return log.read_text().splitlines() if log.exists() else []


def build(machine):
    """The toolchain and the library of operators, both through."""
    tools = toolchain.Toolchain(machine.jittor)
    operators = library.OperatorLibrary(tools, machine.sources)
    tools.ready(operators.build)
    operators.operators  # noqa: B018 (waits for them)
    return SimpleNamespace(folder=tools.folder, launcher=tools.launcher, operators=operators.operators)


def state(machine):
    found = toolchain.state(machine.core)
    return found["headers"], library.built(machine.core), len(found["failed"])


def test_everything_is_compiled_once(machine, capsys):
    plain = machine.jittor.flags.cc_flags
    first = build(machine)
    assert "once" in capsys.readouterr().err
    assert len(commands(machine)) == 4  # header, operators, binding, link
    assert machine.jittor.flags.cc_flags == f'{plain} -include "{first.folder / "kernels.h"}" '
    assert machine.jittor.flags.cache_path == str(first.folder)
    assert {path.name for path in first.folder.iterdir() if path.is_dir()} >= {"jit", "gen", "obj_files", "tmp"}
    assert not [path for path in first.folder.rglob("*") if path.suffix in (".log", ".o")]
    machine.jittor.flags.cc_flags = plain
    build(machine)
    assert len(commands(machine)) == 4
    assert state(machine) == (1, 1, 0)


@pytest.mark.parametrize("changed", ["source", "compiler", "jittor", "flags"])
def test_a_change_compiles_anew(machine, changed):
    plain = machine.jittor.flags.cc_flags
    first = build(machine)
    machine.jittor.flags.cc_flags = plain
    if changed == "source":
        with (machine.sources / "matmul.h").open("a") as file:
            file.write("// more\n")
    elif changed == "compiler":
        machine.compiler.write_text(COMPILER + "# newer\n")
    elif changed == "jittor":
        machine.jittor.__version__ = "2"
    else:
        machine.jittor.flags.cc_flags += " -O2"
    second = build(machine)
    assert len(commands(machine)) == (7 if changed == "source" else 8)  # kernels do not depend on our operators
    assert (first.folder == second.folder) == (changed == "source")


def test_a_failing_compiler_is_reported_once_and_leaves_jittor_as_it_is(machine, capsys):
    machine.compiler.with_name("g++.fails").touch()
    before = vars(machine.jittor.flags).copy()
    made = build(machine)
    assert made.operators is None
    assert vars(machine.jittor.flags) == before
    said = capsys.readouterr().err
    assert said.count("kernels are compiled the long way, their header did not compile: nonsense.h:1:2: error") == 1
    assert said.count("its operators did not compile, Jittor's own are used") == 1
    failed = toolchain.state(machine.core)["failed"]
    assert len(failed) == 2
    assert all(f"remove {path}" in said for path in failed)
    # the next process does not try again, and says why
    count = len(commands(machine))
    machine.compiler.with_name("g++.fails").unlink()
    assert build(machine).operators is None
    assert len(commands(machine)) == count
    assert capsys.readouterr().err.count("this is no C++") == 2
    for path in failed:
        Path(path).unlink()
    build(machine)
    assert state(machine) == (1, 1, 0)


def test_a_library_that_does_not_load_leaves_jittors_operators(machine, capsys):
    made = build(machine)  # what the script made is no library
    assert made.operators is None
    assert capsys.readouterr().err.count("its operators did not load, Jittor's own are used") == 1


def test_a_read_only_cache_leaves_jittors_operators(machine, capsys, monkeypatch):
    (machine.core / "gen").rmdir()
    machine.core.rmdir()
    machine.core.write_text("a file")
    monkeypatch.setitem(__import__("sys").modules, "jittor", machine.jittor)
    assert toolchain.toolchain.__wrapped__() is None
    assert "operators and kernels stay Jittor's own" in capsys.readouterr().err


def test_the_user_can_switch_it_off(machine, monkeypatch):
    monkeypatch.setenv("BOAT_NATIVE", "0")
    monkeypatch.setitem(__import__("sys").modules, "jittor", machine.jittor)
    assert toolchain.toolchain.__wrapped__() is None
    assert not commands(machine)
    assert toolchain.state(machine.core)["wanted"] is False


def test_the_launcher_runs_the_script_only_if_the_assembly_is_to_be_reworked(machine, tmp_path):
    launcher = build(machine).launcher
    script = tmp_path / "asm_tuner.py"
    script.write_text("import sys; open(sys.argv[0] + '.ran', 'w').write(' '.join(sys.argv[1:]))")
    for text, through in (("int f();", False), ("//@begin replace", True)):
        source = tmp_path / "kernel.cc"
        source.write_text(text)
        count = len(commands(machine))
        subprocess.run([launcher, script, f"--cc_path={machine.compiler}", source, "-o", tmp_path / "k.so"], check=True)
        assert (len(commands(machine)) == count) == through
        assert (tmp_path / "asm_tuner.py.ran").exists() == through
    assert commands(machine)[-1].startswith(f"{source} -o {tmp_path / 'k.so'}")
