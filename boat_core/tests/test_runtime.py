"""The runtime room: what is decided before `import jittor`, checked without Jittor, a GPU or a compiler."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from boat_core.runtime import KernelWatch, RuntimeSetupError, compilation, cuda, machine, onednn, plan, preparation
from boat_core.runtime.kernel_watch import readable_name
from boat_core.runtime.progress import Progress, parse_progress
from boat_core.runtime.variables import apply, user_value

SOURCE = str(Path(plan.__file__).parents[2])
NO_DRIVER = cuda.Driver(problem="no NVIDIA driver")
DRIVER = cuda.Driver("13.0", ("a device",))


@pytest.fixture(autouse=True)
def clean_machine(monkeypatch, tmp_path):
    """A home of our own, no variable set, no driver, a process in which nothing was decided."""
    names = (
        "nvcc_path",
        "use_mkl",
        "use_cuda",
        "cc_path",
        "cc_flags",
        "log_silent",
        "cache_name",
        "JITTOR_HOME",
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "GOMP_SPINCOUNT",
    )
    for name in (*names, "python_config_path", "BOAT_RUNTIME_ENV", "BOAT_RUNTIME_COMPILING"):
        monkeypatch.setenv(name, "")  # so that monkeypatch puts back what the code under test sets
        monkeypatch.delenv(name)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(cuda, "ask_driver", lambda: NO_DRIVER)
    monkeypatch.setattr(preparation, "_decided", None)
    monkeypatch.setattr(preparation, "jittor_is_loaded", lambda: False)
    monkeypatch.setattr(compilation, "ensure_compiled", lambda: None)


@pytest.fixture
def wheels(monkeypatch, tmp_path) -> onednn.Source:
    source = onednn.Source(tmp_path / "env" / "include", tmp_path / "env" / "lib")
    for folder, name in ((source.include, "dnnl.hpp"), (source.lib, "libmkldnn.so")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    monkeypatch.setattr(onednn, "find_source", lambda: source)
    monkeypatch.setattr(onednn, "served_by_wheels", lambda: True)
    return source


@pytest.fixture
def cuda13(monkeypatch, tmp_path) -> Path:
    """A driver, a toolkit 13, and a Jittor whose header reads what CUDA 13 removed. Returns the nvcc."""
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    header = tmp_path / "jittor" / "extern" / "cuda" / "inc" / "helper_cuda.h"
    header.parent.mkdir(parents=True)
    header.write_text(HEADER)
    monkeypatch.setattr(cuda, "ask_driver", lambda: DRIVER)
    monkeypatch.setattr(cuda, "find_toolkit", lambda users=None: cuda.Toolkit(Path(users or nvcc), "13.0"))
    monkeypatch.setattr(plan, "package_folder", lambda name: tmp_path / name)
    return nvcc


def chosen(what: str, device: str = "auto") -> plan.Decision:
    (found,) = [decision for decision in plan.make_plan(device).decisions if decision.what == what]
    return found


# decisions


def test_without_a_driver_nvcc_is_switched_off(wheels):
    decided = preparation.prepare()
    assert decided.device == "cpu"
    assert os.environ["nvcc_path"] == ""
    assert os.environ["log_silent"] == "1"
    json.dumps(asdict(decided))


@pytest.mark.parametrize(
    ("name", "value"),
    [("nvcc_path", ""), ("use_mkl", "0"), ("log_silent", "0"), ("cache_name", "mine"), ("GOMP_SPINCOUNT", "7")],
)
def test_what_the_user_set_wins(monkeypatch, wheels, name, value):
    monkeypatch.setenv(name, value)
    preparation.prepare()
    assert os.environ[name] == value
    decision = chosen(name)
    assert (decision.choice, decision.set_by) == (value, "user")


def test_threads_are_the_users_or_the_cores_of_the_process(monkeypatch, wheels):
    assert chosen("threads").choice == str(len(os.sched_getaffinity(0)))
    assert int(chosen("GOMP_SPINCOUNT").choice) > 0
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert (chosen("threads").choice, chosen("threads").set_by) == ("3", "user")
    assert "GOMP_SPINCOUNT" not in [decision.what for decision in plan.make_plan().decisions]


def test_cuda_without_a_driver_is_an_error_that_says_why():
    with pytest.raises(RuntimeSetupError, match=r"no NVIDIA driver.*CUDA_HOME"):
        preparation.prepare("cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(RuntimeSetupError, match=r"auto, cpu, cuda \(got 'gpu'\)"):
        preparation.prepare("gpu")


def test_cuda_13_gets_a_header_before_the_users_flags(monkeypatch, wheels, cuda13):
    monkeypatch.setenv("cc_flags", "-DMINE")
    assert preparation.prepare().device == "cuda"
    folder = machine.boat_folder() / "cuda13"
    assert os.environ["cc_flags"] == f'-I"{folder}" -DMINE'
    assert os.environ["nvcc_path"] == str(cuda13)
    assert "deviceProp.clockRate" not in (folder / "helper_cuda.h").read_text()


def test_asking_for_the_cpu_after_all_puts_the_users_flags_back(monkeypatch, wheels, cuda13):
    monkeypatch.setenv("cc_flags", "-DMINE")
    preparation.prepare("cuda")
    assert preparation.prepare("cpu").device == "cpu"
    assert (os.environ["cc_flags"], os.environ["nvcc_path"]) == ("-DMINE", "")


def test_what_boat_set_does_not_look_like_the_users_to_a_child(monkeypatch):
    monkeypatch.setenv("cc_flags", "-DMINE")
    apply({"cc_flags": "-Iours -DMINE", "nvcc_path": ""})
    assert (user_value("cc_flags"), user_value("nvcc_path")) == ("-DMINE", None)
    monkeypatch.setenv("nvcc_path", "/their/nvcc")
    assert user_value("nvcc_path") == "/their/nvcc"


def test_jittor_home_follows_the_config_file_and_the_variable(monkeypatch, tmp_path):
    config = tmp_path / ".cache" / "jittor" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"JITTOR_HOME": str(tmp_path / "a")}))
    assert machine.jittor_home() == tmp_path / "a"
    monkeypatch.setenv("JITTOR_HOME", str(tmp_path / "b"))
    assert machine.jittor_home() == tmp_path / "b"
    config.write_text("{")
    with pytest.raises(RuntimeSetupError, match="config.json"):
        machine.jittor_home()


# oneDNN


def test_onednn_is_linked(wheels):
    preparation.prepare()
    place = onednn.folder()
    assert ((place / "include").resolve(), (place / "lib").resolve()) == (wheels.include, wheels.lib)
    assert sorted(path.name for path in place.iterdir()) == ["include", "lib"]
    assert "use_mkl" not in os.environ


def test_a_dangling_link_is_made_anew(wheels, tmp_path):
    place = onednn.folder()
    place.mkdir(parents=True)
    (place / "lib").symlink_to(tmp_path / "gone")
    preparation.prepare()
    assert onednn.works(place)


def test_a_real_folder_that_works_is_left_alone(wheels):
    place = onednn.folder()
    for name in ("include/dnnl.hpp", "lib/libmkldnn.so"):
        (place / name).parent.mkdir(parents=True)
        (place / name).touch()
    preparation.prepare()
    assert not (place / "include").is_symlink()
    assert not (place / "lib").is_symlink()


def test_without_onednn_one_line_says_what_it_costs(monkeypatch, wheels, capsys):
    monkeypatch.setattr(onednn, "find_source", lambda: None)
    preparation.prepare()
    preparation.prepare()
    out, err = capsys.readouterr()
    assert os.environ["use_mkl"] == "0"
    assert out == ""
    (line,) = err.splitlines()
    assert "35 times slower" in line
    assert "pip install onednn-cpu-gomp==2021.2.0" in line


def test_a_broken_real_folder_is_not_ours_to_replace(wheels, capsys):
    (onednn.folder() / "lib").mkdir(parents=True)
    preparation.prepare()
    assert os.environ["use_mkl"] == "0"
    assert f"remove {onednn.folder()}" in capsys.readouterr().err


# CUDA's header

HEADER = """
  cudaGetDeviceProperties(&deviceProp, devID);
  if (deviceProp.computeMode == cudaComputeModeProhibited) return -1;
    cudaGetDeviceProperties(&deviceProp, current_device);
    uint64_t performance = (uint64_t)deviceProp.multiProcessorCount * deviceProp.clockRate;
"""


def test_removed_fields_are_asked_of_the_right_device():
    text = cuda.rewrite_header(HEADER)
    assert "cudaDeviceGetAttribute(&value, cudaDevAttrComputeMode, devID)" in text
    assert "cudaDeviceGetAttribute(&value, cudaDevAttrClockRate, current_device)" in text
    assert "deviceProp.multiProcessorCount" in text


def test_the_installed_header_is_rewritten_whole():
    jittor = machine.package_folder("jittor")
    if jittor is None:
        pytest.skip("Jittor is not installed")
    original = (jittor / "extern" / "cuda" / "inc" / "helper_cuda.h").read_text()
    text = cuda.rewrite_header(original)
    assert original.count(".computeMode") + original.count(".clockRate") == text.count("cudaDeviceGetAttribute")
    assert ".computeMode" not in text
    assert ".clockRate" not in text
    assert cuda.rewrite_header(text) == text


def test_a_header_that_cannot_be_understood_is_an_error():
    with pytest.raises(RuntimeSetupError, match="deviceProp.clockRate"):
        cuda.rewrite_header("rate = deviceProp.clockRate;")


def test_a_wrapper_is_not_a_toolkit(monkeypatch, tmp_path):
    real, wrapper = tmp_path / "cuda" / "bin" / "nvcc", tmp_path / "bin" / "nvcc"
    for nvcc in (real, wrapper):
        nvcc.parent.mkdir(parents=True)
        nvcc.write_text("#!/bin/sh\necho Cuda compilation tools, release 12.4, V12.4.1\n")
        nvcc.chmod(0o755)
    (tmp_path / "cuda" / "lib64").mkdir()
    (tmp_path / "cuda" / "lib64" / "libcudart.so").touch()
    monkeypatch.setattr(cuda, "_candidates", lambda: iter([wrapper, real]))
    assert cuda.find_toolkit() == cuda.Toolkit(real, "12.4")


# the first compilation

RECORDED = (
    "Compiling jittor_core(24/150) used: 14.201s eta: 74.556s\r"
    "Compiling jittor_core(150/150) used: 88.014s eta: 0.000s\r\n"
    "Compiling gen_ops_mkl_matmul_mkl_conv_backward_x_mkl_test_mk___hash7f1612(3/7) used: 3.1s eta: 4.2s\r"
)


def child(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-u", "-c", code, *arguments]


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """The real `ensure_compiled`, a machine on which it may run, and the folder that a child would fill."""
    monkeypatch.undo()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("JITTOR_HOME", raising=False)
    monkeypatch.setattr(compilation, "check_build_tools", lambda: None)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "jittor_core.so").touch()
    return cache


def test_progress_lines_are_read():
    found = [parse_progress(line) for line in RECORDED.replace("\n", "").split("\r") if line]
    assert found[0] == Progress("jittor_core", 24, 150, 74.556)
    assert found[2] is not None
    assert (found[2].what, found[2].done) == ("mkl_matmul_mkl_conv_bac…", 3)
    assert parse_progress("[i 1121 04:44:01 12 compiler.py:956] cache_path") is None


def test_progress_is_shown_and_the_stamp_saves_the_next_child(compiler, capsys):
    shown = io.StringIO()
    talk = f"import sys; sys.stdout.write({RECORDED!r}); print('boat: ready', sys.argv[1])"
    compilation.ensure_compiled(child(talk, str(compiler)), shown)
    lines = shown.getvalue().splitlines()
    assert lines[0] == "Jittor: first compilation, jittor_core 24/150, about 75 s left"
    assert lines[-1].endswith(f"kept in {compiler}")
    assert compilation.compiled_cache() == compiler
    compilation.ensure_compiled(child("raise SystemExit(1)"), shown)
    assert capsys.readouterr() == ("", "")


def test_a_changed_setting_or_a_lost_core_voids_the_stamp(compiler, monkeypatch):
    compilation.ensure_compiled(child(f"print('boat: ready', {str(compiler)!r})"), io.StringIO())
    monkeypatch.setenv("cc_flags", "-DOTHER")
    assert compilation.compiled_cache() is None
    monkeypatch.undo()
    monkeypatch.setattr(Path, "home", lambda: compiler.parent)
    (compiler / "jittor_core.so").unlink()
    assert compilation.compiled_cache() is None


def test_a_child_that_asks_for_it_is_run_again(compiler, tmp_path):
    runs = tmp_path / "runs"
    talk = (
        "import sys; file = open(sys.argv[1], 'a'); file.write('x'); file.close()\n"
        "if len(open(sys.argv[1]).read()) == 3: print('boat: ready', sys.argv[2])\n"
        "else: print('jit_utils updated, please rerun your command.')"
    )
    compilation.ensure_compiled(child(talk, str(runs), str(compiler)), io.StringIO())
    assert runs.read_text() == "xxx"


def test_a_child_that_never_gets_through_is_an_error(compiler):
    with pytest.raises(RuntimeSetupError, match="run again 5 times"):
        compilation.ensure_compiled(child("print('please rerun your command.')"), io.StringIO())


def test_a_failing_child_is_quoted_with_the_remedy(compiler):
    talk = (
        "for i in range(30): print('line', i)\n"
        "print('fatal error: \\x1b[31mPython.h\\x1b[0m: No such file or directory'); raise SystemExit(3)"
    )
    with pytest.raises(RuntimeSetupError) as caught:
        compilation.ensure_compiled(child(talk), io.StringIO())
    message = str(caught.value)
    assert "status 3" in message
    assert "install the Python headers" in message
    assert "fatal error: Python.h: No such file" in message
    assert "line 11\n" in message
    assert "line 10\n" not in message


def test_missing_tools_are_named_before_anything_starts(monkeypatch):
    monkeypatch.setattr(machine, "compiler_path", lambda: None)
    with pytest.raises(RuntimeSetupError, match=r"'g\+\+' was not found.*apt install g\+\+"):
        machine.check_build_tools()
    monkeypatch.setattr(machine, "compiler_path", lambda: "/some/g++")
    monkeypatch.setattr(machine, "python_headers", lambda: None)
    with pytest.raises(RuntimeSetupError, match=r"Python\.h was not found.*-dev"):
        machine.check_build_tools()


# kernels


def write_kernel(folder: Path, name: str, begin: int, end: int, now: int) -> None:
    """A kernel whose source and library changed `begin` and `end` seconds after `now`."""
    for suffix, after in ((".cc", begin), (".so", end), (".so.key", end)):
        path = folder / f"{name}_op{suffix}"
        path.touch()
        os.utime(path, ns=(now, now + after * 10**9))


def test_the_watch_takes_the_union_of_what_ran_in_parallel(tmp_path):
    now = time.time_ns()
    write_kernel(tmp_path, "old_hash_1", -20, -10, now)
    watch = KernelWatch(tmp_path)
    assert watch.poll() == []
    write_kernel(tmp_path, "code__X_hash_2", 10, 14, now)
    write_kernel(tmp_path, "random__T_float32_hash_3", 12, 17, now)
    write_kernel(tmp_path, "mkl_matmul__T_hash_4", 30, 31, now)
    assert sorted(watch.poll()) == ["code", "mkl_matmul", "random"]
    assert watch.poll() == []
    assert (watch.count, watch.seconds) == (3, 8.0)


def test_a_kernel_counts_when_its_key_is_there(tmp_path):
    watch = KernelWatch(tmp_path)
    write_kernel(tmp_path, "code_hash_1", 1, 2, time.time_ns())
    key = (tmp_path / "code_hash_1_op.so.key").rename(tmp_path / "kept")
    assert watch.poll() == []
    key.rename(tmp_path / "code_hash_1_op.so.key")
    assert watch.poll() == ["code"]


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("mkl_matmul__T_float32__Trans_a_N__JIT_1__JIT_cpu_1__index_t_int32_hash_742e_op", "mkl_matmul"),
        ("__opkey0_binary__Tx_float32__Tz_float32__OP_add__JIT_1__JIT_c___hash_4f7d_op", "add…"),
        (
            "__opkey0_broadcast_to__Tx__DIM_2__BCAST_1__opkey1_reduce__Tx__OP_add__DIM_1_hash_1b_op",
            "broadcast_to+reduce_add",
        ),
    ],
)
def test_kernels_have_readable_names(filename, name):
    assert readable_name(filename) == name


# the hook and the doctor, each in a process of its own


def run(code: str, *paths: Path | str, **variables: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, *map(str, paths)]), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


HOOKED = """
import importlib.util, sys
from boat_core.runtime import install_import_hook
install_import_hook(); install_import_hook()
assert not {"boat_core.runtime.plan", "boat_core.runtime.preparation"} & set(sys.modules)
assert importlib.util.find_spec("jittor").origin.endswith("__init__.py")
assert "boat_core.runtime.preparation" not in sys.modules
from boat_core.runtime import preparation
calls = []
preparation.prepare = lambda: calls.append(hasattr(sys.modules.get("jittor"), "answer"))
preparation.select_device = lambda beside: calls.append(hasattr(sys.modules.get("jittor"), "answer"))
from boat_core.runtime import hook
hook._then[:] = [lambda: calls.append("then")]  # not the routes: this Jittor has nothing to route
import jittor, jittor_utils
assert jittor.__loader__.__class__.__name__ == "SourceFileLoader" and jittor.answer == 42
assert not any(type(finder).__name__ == "_Finder" for finder in sys.meta_path)
print(calls)
"""


def test_the_hook_prepares_before_and_settles_after_whoever_imports_jittor(tmp_path):
    for name in ("jittor", "jittor_utils"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("answer = 42\n")
    assert run(HOOKED, tmp_path) == "[False, True, 'then']\n"


EXAMINED = """
import json, sys
from boat_core.runtime import facts
text = json.dumps(facts())
assert "jittor" not in sys.modules and "jittor_utils" not in sys.modules
print(text)
"""


IGNORES_SIGTERM = """
import signal
signal.signal(signal.SIGTERM, lambda *_: None)
import boat_core, jittor, jittor_utils
from boat_core.runtime.interrupts import dismiss_workers
for _ in range(4):
    jittor_utils.run_cmds([], "", "")  # Jittor starts its pool
    dismiss_workers()
"""


def test_jittors_pool_ends_in_a_process_with_a_handler_for_sigterm():
    # The pool inherits the handler, and Jittor ends the pool by SIGTERM and waits for it. Nothing is captured: a pool
    # that stays would hold the pipe open, and the test would wait for that.
    subprocess.run([sys.executable, "-c", IGNORES_SIGTERM], stdout=subprocess.DEVNULL, check=True, timeout=60)


def test_the_doctor_neither_imports_jittor_nor_changes_anything(tmp_path):
    found = json.loads(run(EXAMINED, HOME=str(tmp_path)))
    assert found["decisions"]
    assert {finding["level"] for finding in found["findings"]} <= {"ok", "warning", "error"}
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_says_that_jittor_came_first(tmp_path):
    (tmp_path / "jittor").mkdir()
    (tmp_path / "jittor" / "__init__.py").touch()
    code = "import jittor, json\nfrom boat_core.runtime import facts\nprint(json.dumps(facts()['findings']))"
    assert "imported before BOAT could prepare it" in run(code, tmp_path, HOME=str(tmp_path))


def test_kernels_are_compiled_through_one_name_of_the_interpreter():
    code = "import boat_core, jittor; print(jittor.flags.python_path)"
    names = {sys.executable, str(Path(sys.executable).with_name("python3"))}
    paths = {subprocess.run([name, "-c", code], capture_output=True, text=True, check=True).stdout for name in names}
    assert len(paths) == 1


MIXED = """
{first}
import numpy as np
import jittor as jt
def products(dtype):
    c, a, b = (jt.array(np.array(v, dtype=dtype), dtype=dtype) for v in ([1.5], [1.0, 2.0], [[2.0], [4.0]]))
    u, v = a * c, b * c
    jt.sync([u, v])
    return u.numpy().tolist() + v.numpy().ravel().tolist()
print(products("float32") == products("float64") == [1.5, 3.0, 3.0, 6.0])
import boat_core
from boat_core.autodiff.vectors import Vector
try:
    Vector.of(np.ones(2), "upper")
except boat_core.BoatError as error:
    print(error)
Vector.of(np.ones(2, dtype="float32"), "upper")
"""


def test_float64_after_float32():
    """Jittor mixes them up, unless BOAT is imported first; where it was not, float64 is refused."""
    assert run(MIXED.format(first="import boat_core")) == "True\n"
    unhook = "sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != '_Finder']"
    late = f"import sys, boat_core\nfrom boat_core.runtime.preparation import prepare\nprepare()\n{unhook}"
    said = run(MIXED.format(first=late)).splitlines()
    assert said[0] == "False"
    assert said[1].startswith("upper: Jittor was used in float32 before BOAT was imported")
