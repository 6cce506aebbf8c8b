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

// A number for the arguments of an operator: two operators of one kind and with other arguments have another one.
inline void mix(uint64& digest, uint64 value) { digest = (digest ^ value) * 1099511628211ull; }
template <class T> void digest_into(uint64& digest, const T& value) {
    if constexpr (std::is_floating_point<T>::value) {
        const double number = value;
        uint64 bits;
        std::memcpy(&bits, &number, sizeof bits);
        mix(digest, bits);
    } else if constexpr (std::is_integral<T>::value || std::is_enum<T>::value) {
        mix(digest, uint64(value));
    } else {
        value.digest_into(digest);
    }
}
inline void digest_into(uint64& digest, const NanoVector& shape) {
    mix(digest, shape.size());
    for (int i = 0; i < shape.size(); i++) mix(digest, shape[i]);
}
template <class A, class B> void digest_into(uint64& digest, const std::pair<A, B>& value) {
    digest_into(digest, value.first);
    digest_into(digest, value.second);
}
template <class T> void digest_into(uint64& digest, const vector<T>& values) {
    mix(digest, values.size());
    for (const T& value : values) digest_into(digest, value);
}

// The same numbers in another floating-point dtype; v itself where it has that dtype already, or is no such array.
inline VarPtr as_dtype(Var* v, NanoString dtype) {
    static auto unary = get_op_info("unary").get_constructor<VarPtr, Var*, NanoString>();
    if (v->dtype() == dtype || !v->is_float() || !dtype.is_float()) return VarPtr(v);
    return unary(v, dtype);
}

// An operator whose run() is a library function: Jittor compiles nothing for it. It reads all its floating-point inputs
// in the dtype of its output, so `make` refuses others.
struct Native : Op {
    uint64 arguments = 14695981039346656037ull;  // the digest of what it was made with, beside its inputs
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

    // The derivative by input `index`. The cotangent g has the dtype of `out`.
    virtual VarPtr pullback(Var* out, Var* g, Var* v, int index) { return nullptr; }

    // Jittor hands on a cotangent in the dtype of whatever used the output, such as float64 targets beside float32.
    VarPtr grad(Var* out, Var* dout, Var* v, int index) final {
        VarPtr g = as_dtype(dout, out->dtype());
        return pullback(out, g, v, index);
    }
};

// Build an operator with one output: what Jittor's generated makers do.
template <class Operator, class... Arguments>
VarPtr make(const vector<Var*>& inputs, const Arguments&... arguments) {
    for (Var* v : inputs)
        ASSERT(!v->is_float() || v->dtype() == inputs[0]->dtype())
            << "a native operator of BOAT was given the dtypes" << inputs[0]->dtype() << "and" << v->dtype()
            << "; cast one of the arrays, as array.cast(\"float32\") does";
    auto* op = new Operator(inputs, arguments...);
    (digest_into(op->arguments, arguments), ...);
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

// Float sums that are added up in float64: each of many lanes adds up at most 32 terms before, which costs less than 10⁻⁶ of
// Σ |term|.
constexpr int most_steps = 32;
template <class T> constexpr int side_by_side = 256 / int(sizeof(T));  // lanes on a CPU: they fill some registers

// O3: the lanes stay in registers.
#ifdef __CUDACC__
#define BOAT_O3
#else
#define BOAT_O3 __attribute__((optimize("O3")))
#endif

template <class T, class Term> BOAT_O3 BOAT_HD double total_of_one(int64 n, const Term& term) {
    constexpr int lanes = side_by_side<T>;
    double sum = 0;
    int64 i = 0;
    while (i + lanes <= n) {
        T part[lanes] = {};
        for (int step = 0; step < most_steps && i + lanes <= n; step++, i += lanes) {
            #pragma omp simd
            for (int lane = 0; lane < lanes; lane++) part[lane] += term(i + lane);
        }
        constexpr int some = lanes / 4;  // four lanes are one before the sums widen
        double few = 0;
        #pragma omp simd reduction(+ : few)
        for (int lane = 0; lane < some; lane++)
            few += double((part[lane] + part[lane + some]) + (part[lane + 2 * some] + part[lane + 3 * some]));
        sum += few;
    }
    T rest = 0;
    #pragma omp simd reduction(+ : rest)
    for (int64 j = i; j < n; j++) rest += term(j);
    return sum + double(rest);
}

// Σ term(i) over [0, n), the whole of it for all of the team.
template <class T, class Team, class Term>
__attribute__((always_inline)) inline BOAT_HD double total(int64 n, Team team, const Term& term) {
    if (team.lanes == 1 && n < side_by_side<T>) {
        T sum = 0;
        #pragma omp simd reduction(+ : sum)
        for (int64 i = 0; i < n; i++) sum += term(i);
        return double(sum);
    }
    if (team.lanes == 1) return total_of_one<T>(n, term);
    double sum = 0;
    for (int64 i = team.lane; i < n; i += team.lanes) sum += double(term(i));
    return team.sum(sum);
}

// The same on a CPU by several threads, in an order that does not depend on their number.
template <class T, class Term> double total_in_parallel(int64 n, const Term& term) {
    if (n < parallel_from) return total_of_one<T>(n, term);
    vector<double> partial((n + chunk - 1) / chunk);
    in_parallel(int64(partial.size()), true, [&](int64 i) {
        const int64 first = i * chunk;
        partial[i] = total_of_one<T>(std::min<int64>(chunk, n - first), [&](int64 j) { return term(first + j); });
    });
    double sum = 0;
    for (double part : partial) sum += part;
    return sum;
}

// sum[c] += Σ factor(o) · x[o, c] over the rows of a strip [height, some] of a matrix of that width.
template <class T, class Factor>
BOAT_O3 void sum_strip(const T* x, double* sum, int64 height, int64 width, int64 some, const Factor& factor) {
    constexpr int lanes = side_by_side<T>;
    for (int64 top = 0; top < height; top += most_steps) {
        const int64 bottom = std::min<int64>(height, top + most_steps);
        int64 c = 0;
        for (; c + lanes <= some; c += lanes) {
            T part[lanes] = {};
            for (int64 o = top; o < bottom; o++) {
                const T *at = x + o * width + c, by = factor(o);
                #pragma omp simd
                for (int lane = 0; lane < lanes; lane++) part[lane] += by * at[lane];
            }
            #pragma omp simd
            for (int lane = 0; lane < lanes; lane++) sum[c + lane] += double(part[lane]);
        }
        const int rest = int(some - c);
        T part[lanes] = {};
        for (int64 o = top; o < bottom; o++) {
            const T *at = x + o * width + c, by = factor(o);
            #pragma omp simd
            for (int lane = 0; lane < rest; lane++) part[lane] += by * at[lane];
        }
        for (int lane = 0; lane < rest; lane++) sum[c + lane] += double(part[lane]);
    }
}

// out[c] ← Σ factor(o) · x[o, c] over the rows of x [height, width], or out[c] += that, on a CPU.
template <class T, class Factor>
void sum_rows(const T* x, T* out, int64 height, int64 width, const Factor& factor, bool add = false) {
    constexpr int64 block = 256;
    const int64 strips = std::max<int64>(1, std::min<int64>(64, height * width / parallel_from));
    const int64 rows = (height + strips - 1) / strips;
    for (int64 first = 0; first < width; first += block) {
        const int64 some = std::min<int64>(block, width - first);
        double sum[block] = {};
        if (strips == 1) {
            sum_strip(x + first, sum, height, width, some, factor);
        } else {
            vector<double> partial(strips * some);
            in_parallel(strips, true, [&](int64 strip) {
                const int64 top = strip * rows, high = std::min<int64>(rows, height - top);
                sum_strip(x + top * width + first, &partial[strip * some], high, width, some,
                          [&](int64 o) { return factor(top + o); });
            });
            for (int64 i = 0; i < strips * some; i++) sum[i % some] += partial[i];
        }
        for (int64 c = 0; c < some; c++) out[first + c] = T(sum[c] + (add ? double(out[first + c]) : 0.0));
    }
}

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
