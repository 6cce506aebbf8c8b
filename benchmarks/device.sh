#!/usr/bin/env bash
# What to ask of a machine with a GPU, in under eight minutes. It needs a CUDA toolkit and the packages of `make tools`,
# and changes nothing in the project. Every part has a time limit, so that a slow one does not cost the others.
#
#     benchmarks/device.sh [FOLDER]      the logs go to FOLDER, `device-figures` if it is not given
#
# PYTHON names the interpreter of our environment, TORCH and JAX those of the peers, if there are any.
set -uo pipefail
cd "$(dirname "$0")/.."
out="${1:-device-figures}"
python="${PYTHON:-.venv/bin/python}"
mkdir -p "$out"
failed=0

part() { # part NAME SECONDS COMMAND...
    local name="$1" limit="$2"
    shift 2
    echo "== $name"
    timeout "$limit" "$@" 2>&1 | tee "$out/$name.txt"
    local code=${PIPESTATUS[0]}
    [ "$code" = 0 ] || { echo "== $name ended with status $code" && failed=1; }
}

export use_cuda=1
part doctor 60 "$python" -m boat_core doctor
part build 180 "$python" -m boat_core doctor --warm
part kernels 60 "$python" -m pytest -q -p no:cacheprovider tests/test_operations.py plugins_example/tests -k "test_kernels and cuda"
part operators 90 "$python" -m pytest -q -p no:cacheprovider boat_core/tests/test_operators.py boat_core/tests/test_kernels.py
part bandwidth 30 "$python" benchmarks/bandwidth.py --elements 67108864
part hypergradient 60 "$python" benchmarks/hypergradient.py --steps 20
if [ -n "${TORCH:-}" ] && [ -n "${JAX:-}" ]; then
    part peers 120 "$python" benchmarks/peers --quick --torch "$TORCH" --jax "$JAX"
fi
exit "$failed"
