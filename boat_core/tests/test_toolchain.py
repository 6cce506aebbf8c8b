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
def machine(tmp_path, monkeypatch):
    """A machine with nothing compiled: its Jittor's flags, its compiler, its copy of our sources."""
    compiler, core, sources = tmp_path / "g++", tmp_path / "core", tmp_path / "sources"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    core.mkdir()
    (core / "gen").mkdir()
    shutil.copytree(library.SOURCES, sources)
    monkeypatch.delenv("BOAT_KERNELS", raising=False)
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
    assert len(commands(machine)) == 5  # header, operators, binding, programs, link
    assert machine.jittor.flags.cc_flags == f'{plain} -include "{first.folder / "kernels.h"}" '
    assert machine.jittor.flags.cache_path == str(first.folder)
    assert {path.name for path in first.folder.iterdir() if path.is_dir()} >= {"jit", "gen", "obj_files", "tmp"}
    assert not [path for path in first.folder.rglob("*") if path.suffix in (".log", ".o")]
    machine.jittor.flags.cc_flags = plain
    build(machine)
    assert len(commands(machine)) == 5
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
    assert len(commands(machine)) == (9 if changed == "source" else 10)  # kernels do not depend on our operators
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


def launch(launcher, machine, folder, text):
    """Have the launcher compile a kernel into the cache folder `folder`. Returns the compiler's new commands."""
    script = machine.compiler.with_name("asm_tuner.py")
    script.write_text("raise SystemExit('called')")
    before = len(commands(machine))
    source, kernel = folder / "jit" / "k.cc", folder / "jit" / "k.so"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    subprocess.run([launcher, script, f"--cc_path={machine.compiler}", source, "-O1", "-o", kernel], check=True)
    return commands(machine)[before:]


def test_the_launcher_compiles_a_kernel_by_one_command_and_without_the_script(machine, tmp_path):
    launcher = build(machine).launcher
    (command,) = launch(launcher, machine, tmp_path, "//@begin replace")
    assert command.startswith(f"{tmp_path / 'jit' / 'k.cc'} -O1 -o {tmp_path / 'jit' / 'k.so'}")
    other = tmp_path / "other.py"
    other.write_text("import sys; print(sys.argv[1:])")
    shown = subprocess.run([launcher, other, "a b"], check=True, capture_output=True, text=True).stdout
    assert shown == "['a b']\n"


def test_processes_that_keep_their_kernels_apart_copy_finished_ones(machine, tmp_path, monkeypatch):
    locks = []
    machine.jittor.core = SimpleNamespace(set_lock_path=locks.append)
    plain = machine.jittor.flags.cc_flags

    def cache_of(name):
        monkeypatch.setenv("BOAT_KERNELS", name)
        machine.jittor.flags.cc_flags = plain
        build(machine)
        machine.jittor.flags.cc_flags = plain
        return Path(machine.jittor.flags.cache_path)

    one, two, shared = cache_of("one"), cache_of("two"), cache_of("")
    assert len({one, two, shared}) == 3
    assert locks == [str(one / "lock"), str(two / "lock")] and Path(locks[0]).exists()
    assert {path.name for path in one.iterdir() if path.is_dir()} == {"jit", "gen", "obj_files", "tmp"}
    monkeypatch.setenv("BOAT_KERNELS", "two")
    for text, key, times in (("a", False, 1), ("a", True, 0), ("b", True, 1)):
        launch(shared / "compile", machine, one, "a")
        (one / "jit" / "k.so").write_text("by one")
        if key:
            (one / "jit" / "k.so.key").touch()
        done = launch(shared / "compile", machine, two, text)
        assert len(done) == times  # copied if it is finished and of the same source
        assert (two / "jit" / "k.so").read_text() == ("made\n" if times else "by one")
