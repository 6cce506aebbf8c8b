// What all operators share: a Jittor operator that is compiled once instead of per dtype and shape, and the loops
// in which its formula runs, on a CPU or as a CUDA kernel.
#pragma once
#include <cstring>
#include "boat_kernel.h"
#include "op.h"
#include "var.h"
#include "var_holder.h"
#include "ops/op_register.h"

namespace jittor {
namespace boat {

using ::boat::chunk;
using ::boat::in_parallel;
using ::boat::parallel_from;

// An operator whose run() is a library function: Jittor compiles nothing for it.
struct Native : Op {
    Native() {
        flags.set(NodeFlags::_cpu);
#ifdef __CUDACC__
        flags.set(NodeFlags::_cuda);
#endif
    }
#ifdef BOAT_SIMULATOR
    bool on_device() const { return true; }
#else
    bool on_device() const { return flags.get(NodeFlags::_cuda); }
#endif
    Var* out() { return output(0); }
};

// Build an operator with one output: what Jittor's generated makers do.
template <class Operator, class... Arguments>
VarPtr make(const vector<Var*>& inputs, const Arguments&... arguments) {
    auto* op = new Operator(inputs, arguments...);
    op->outputs_holder[0]->set_inputs({op});
    VarPtr out(move(op->outputs_holder[0]));
    op->add_inputs(inputs);
    op->init();
    return out;
}

inline VarPtr plus(Var* a, Var* b) {
    static auto binary = get_op_info("binary").get_constructor<VarPtr, Var*, Var*, NanoString>();
    return binary(a, b, ns_add);
}

inline VarPtr minus(Var* a, Var* b) {
    static auto binary = get_op_info("binary").get_constructor<VarPtr, Var*, Var*, NanoString>();
    return binary(a, b, ns_subtract);
}

inline bool is_double(Var* v) { return v->dtype() == ns_float64; }

// The shape as (before, at, after) one axis.
struct Split {
    int64 outer = 1, width = 1, inner = 1;
    Split(const NanoVector& shape, int axis) {
        for (int i = 0; i < shape.size(); i++) (i < axis ? outer : i == axis ? width : inner) *= shape[i];
    }
};

// Those who work on one row together: one on a CPU, a warp on a GPU.
struct Alone {
    static constexpr int lane = 0, lanes = 1;
    template <class T> BOAT_HD T sum(T v) const { return v; }
    template <class T> BOAT_HD T max(T v) const { return v; }
    template <class T> BOAT_HD void add_to(T* place, T v) const { *place += v; }
};

#ifdef __CUDACC__
struct Warp {
    static constexpr int lanes = 32;
    int lane;
    template <class T> __device__ T sum(T v) const {
        for (int step = 16; step; step >>= 1) v += __shfl_xor_sync(0xffffffffu, v, step);
        return v;
    }
    template <class T> __device__ T max(T v) const {
        for (int step = 16; step; step >>= 1) {
            T other = __shfl_xor_sync(0xffffffffu, v, step);
            v = other > v || other != other ? other : v;
        }
        return v;
    }
    template <class T> __device__ void add_to(T* place, T v) const { atomicAdd(place, v); }
};

template <class Body> __global__ void each_kernel(int64 n, Body body) {
    int64 step = int64(blockDim.x) * gridDim.x;
    for (int64 i = int64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) body(i, i + 1);
}

template <class Body> __global__ void rows_kernel(int64 n, Body body) {
    int64 step = int64(gridDim.x) * (blockDim.x / 32);
    Warp warp{int(threadIdx.x) % 32};
    for (int64 row = (int64(blockIdx.x) * blockDim.x + threadIdx.x) / 32; row < n; row += step) body(row, warp);
}

inline unsigned blocks(int64 n, int64 per_block) {
    return unsigned(std::min<int64>((n + per_block - 1) / per_block, 1 << 16));
}
#endif

// Run body(begin, end) over [0, n).
template <class Body> void each(const Native* op, int64 n, const Body& body) {
    if (n <= 0) return;
#ifdef __CUDACC__
    if (op->on_device()) {
        ::boat::launch(each_kernel<Body>, blocks(n, 256), 256, n, body);
        return;
    }
#endif
    in_parallel((n + chunk - 1) / chunk, n >= parallel_from,
                [&](int64 i) { body(i * chunk, std::min(n, (i + 1) * chunk)); });
}

// Run body(row, team) for every row; `work` elements in all.
template <class Body> void rows(const Native* op, int64 n, int64 work, const Body& body) {
    if (n <= 0) return;
#ifdef __CUDACC__
    if (op->on_device()) {
        ::boat::launch(rows_kernel<Body>, blocks(n, 8), 256, n, body);
        return;
    }
#endif
    in_parallel(n, work >= parallel_from, [&](int64 row) { body(row, Alone()); });
}

template <class T> void fill_zero(const Native* op, T* place, int64 n) {
#ifdef __CUDACC__
    if (op->on_device()) {
        cudaMemsetAsync(place, 0, n * sizeof(T), 0);
        return;
    }
#endif
    std::memset(place, 0, n * sizeof(T));
}

}  // namespace boat
}  // namespace jittor
