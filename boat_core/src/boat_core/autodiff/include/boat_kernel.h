// What the kernels of packs are written with. One text serves both devices: g++ compiles it for the CPU, nvcc for the
// GPU. A kernel works on groups of leaves (y, g … of one pytree each), reads numbers, and may leave results:
//
//     // y - ηg        groups in: y g        out: y        numbers: η
//     template <class T> void descend(const boat::Call<T>& call) {
//         const T rate = call.number(0);
//         call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
//             leaf.out(0)[i] = leaf.in(0)[i] - rate * leaf.in(1)[i];
//         });
//     }
//     BOAT_KERNEL(descend)
//
// each   runs for every element of every leaf; a group's leaves differ in size, the groups of a call do not
// sum    adds up what a body returns for every element, and leaves the sums in results
// once   runs once, after what was asked for before, with the results; a body after it may read them
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <omp.h>
#include <utility>
#include <vector>
#ifdef __CUDACC__
#include <cuda_runtime.h>
#define BOAT_HD __host__ __device__
#else
#define BOAT_HD
#endif

extern "C" {
struct boat_call {
    int32_t leaves, inputs, outputs;  // leaves of a group; groups in, groups out
    const int64_t* sizes;             // elements of each leaf
    const void* const* in;            // in[group * leaves + leaf]
    void* const* out;
    const double* numbers;
    double* results;  // where the arrays are
    int32_t is_double, on_device;
};
// Null, or what went wrong.
typedef const char* (*boat_function)(const boat_call*);
}

namespace boat {

constexpr int64_t chunk = 4096;             // elements that one thread takes at a time: they stay in the first cache
constexpr int64_t parallel_from = 1 << 18;  // elements below which one thread works: about 100 µs
constexpr int most_groups = 8, lanes = 16;
constexpr int most_steps = 32;  // additions of one lane in T; more of them would cost more than 10⁻⁶ of Σ |term|

// one(i) for every i, by several threads or by this one. Not `parallel if (…)`: a region of one thread makes a region
// inside it (oneDNN's) a nested one, for which OpenMP starts new threads each time.
template <class One> void in_parallel(int64_t n, bool several, const One& one) {
    if (several && n > 1 && !omp_in_parallel()) {
        #pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) one(i);
    } else {
        for (int64_t i = 0; i < n; i++) one(i);
    }
}

#ifdef __CUDACC__
// Run a kernel on the device: the one place where anything is launched.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, const Arguments&... arguments) {
#ifdef BOAT_SIMULATOR
    boat_simulator::launch(blocks, threads, [&] { kernel(arguments...); });
#else
    kernel<<<blocks, threads>>>(arguments...);
#endif
}
#endif

// The arrays of one leaf, by group.
template <class T> struct Leaf {
    const T* given[most_groups];
    T* made[most_groups];
    BOAT_HD const T* in(int group) const { return given[group]; }
    BOAT_HD T* out(int group) const { return made[group]; }
};

// What a body that is summed returns: n numbers for an element.
template <class T, int n> struct Sums {
    static constexpr int count = n;
    T of[n];
};

#ifdef __CUDACC__
constexpr int most_leaves = 16, most_blocks = 256, threads = 256;

template <class T> struct Leaves {  // for one launch
    Leaf<T> leaf[most_leaves];
    int64_t end[most_leaves];
    int count;
    // body(leaf, index in it) for the elements of this thread
    template <class Body> __device__ void mine(const Body& body) const {
        const int64_t step = int64_t(blockDim.x) * gridDim.x;
        int at = 0;
        for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < end[count - 1]; i += step) {
            while (i >= end[at]) at++;
            body(leaf[at], i - (at ? end[at - 1] : 0));
        }
    }
};

template <class T, class Body> __global__ void each_kernel(const Leaves<T> leaves, const Body body) {
    leaves.mine(body);
}

template <class T, int n, class Body>
__global__ void sum_kernel(const Leaves<T> leaves, const Body body, double* partial) {
    __shared__ double shared[threads];
    double sums[n] = {};
    leaves.mine([&](const Leaf<T>& leaf, int64_t i) {
        const Sums<T, n> found = body(leaf, i);
        for (int k = 0; k < n; k++) sums[k] += double(found.of[k]);
    });
    for (int k = 0; k < n; k++) {
        shared[threadIdx.x] = sums[k];
        __syncthreads();
        for (int half = threads / 2; half; half >>= 1) {
            if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
            __syncthreads();
        }
        if (threadIdx.x == 0) partial[k * most_blocks + blockIdx.x] = shared[0];
        __syncthreads();
    }
}

// In the order of the blocks: the same sum every time.
template <int n> __global__ void total_kernel(const double* partial, int blocks, double* results, bool add) {
    if (threadIdx.x >= n) return;
    double sum = add ? results[threadIdx.x] : 0;
    for (int block = 0; block < blocks; block++) sum += partial[threadIdx.x * most_blocks + block];
    results[threadIdx.x] = sum;
}

template <class Body> __global__ void once_kernel(const Body body, double* results) { body(results); }

inline double* scratch() {
    static double* place = nullptr;
    if (!place) cudaMalloc(&place, most_groups * most_blocks * sizeof(double));
    return place;
}
#endif

template <class T> struct Call {
    const boat_call& raw;

    T number(int k) const { return T(raw.numbers[k]); }
    int groups() const { return raw.inputs; }
    double number64(int k) const { return raw.numbers[k]; }
    // The results from place k on; to be read inside bodies only.
    double* results(int k = 0) const { return raw.results + k; }

    // body(leaf, i)
    template <class Body> void each(const Body& body) const {
#ifdef __CUDACC__
        if (raw.on_device) {
            launches([&](const Leaves<T>& leaves, int blocks) {
                launch(each_kernel<T, Body>, blocks, threads, leaves, body);
            });
            return;
        }
#endif
        for (int l = 0; l < raw.leaves; l++) {
            const Leaf<T> arrays = leaf(l);
            const int64_t n = raw.sizes[l];
            in_parallel((n + chunk - 1) / chunk, n >= parallel_from, [&](int64_t c) {
                const Leaf<T> mine = arrays;
                const Body run = body;
                const int64_t end = std::min(n, (c + 1) * chunk);
                #pragma omp simd
                for (int64_t i = c * chunk; i < end; i++) run(mine, i);
            });
        }
    }

    // results[first + k] ← Σ body(leaf, i).of[k], in an order that does not depend on the number of threads
    template <class Body> void sum(int first, const Body& body) const {
        constexpr int n = decltype(body(std::declval<const Leaf<T>&>(), int64_t()))::count;
        double* total = results(first);
#ifdef __CUDACC__
        if (raw.on_device) {
            bool add = false;
            cudaMemsetAsync(total, 0, n * sizeof(double), 0);
            launches([&](const Leaves<T>& leaves, int blocks) {
                launch(sum_kernel<T, n, Body>, blocks, threads, leaves, body, scratch());
                launch(total_kernel<n>, 1, 32, scratch(), blocks, total, add);
                add = true;
            });
            return;
        }
#endif
        for (int k = 0; k < n; k++) total[k] = 0;
        std::vector<double> partial;
        for (int l = 0; l < raw.leaves; l++) {
            const Leaf<T> arrays = leaf(l);
            const int64_t size = raw.sizes[l], chunks = (size + chunk - 1) / chunk;
            partial.assign(chunks * n, 0);
            in_parallel(chunks, size >= parallel_from, [&](int64_t c) {
                const int64_t end = std::min(size, (c + 1) * chunk);
                chunk_sums<n>(arrays, body, c * chunk, end, &partial[c * n]);
            });
            for (int64_t c = 0; c < chunks; c++)
                for (int k = 0; k < n; k++) total[k] += partial[c * n + k];
        }
    }

    // body(results)
    template <class Body> void once(const Body& body) const {
#ifdef __CUDACC__
        if (raw.on_device) {
            launch(once_kernel<Body>, 1, 1, body, raw.results);
            return;
        }
#endif
        body(raw.results);
    }

  private:
    Leaf<T> leaf(int l) const {
        Leaf<T> found{};
        for (int g = 0; g < raw.inputs; g++) found.given[g] = static_cast<const T*>(raw.in[g * raw.leaves + l]);
        for (int g = 0; g < raw.outputs; g++) found.made[g] = static_cast<T*>(raw.out[g * raw.leaves + l]);
        return found;
    }

    // Several sums side by side, so that the compiler can take that many elements at once; float64 after some of them.
    template <int n, class Body>
    static void chunk_sums(const Leaf<T>& arrays, const Body& body, int64_t begin, int64_t end, double* sums) {
        const Leaf<T> mine = arrays;
        const Body run = body;
        int64_t i = begin;
        while (i + lanes <= end) {
            T wide[n][lanes] = {};
            for (int step = 0; step < most_steps && i + lanes <= end; step++, i += lanes) {
                #pragma omp simd
                for (int lane = 0; lane < lanes; lane++) {
                    const Sums<T, n> found = run(mine, i + lane);
                    for (int k = 0; k < n; k++) wide[k][lane] += found.of[k];
                }
            }
            for (int k = 0; k < n; k++)
                for (int lane = 0; lane < lanes; lane++) sums[k] += double(wide[k][lane]);
        }
        for (; i < end; i++) {
            const Sums<T, n> found = run(mine, i);
            for (int k = 0; k < n; k++) sums[k] += double(found.of[k]);
        }
    }

#ifdef __CUDACC__
    template <class Launch> void launches(const Launch& launch) const {
        for (int first = 0; first < raw.leaves; first += most_leaves) {
            Leaves<T> leaves;
            leaves.count = std::min(most_leaves, raw.leaves - first);
            int64_t end = 0;
            for (int l = 0; l < leaves.count; l++) {
                leaves.leaf[l] = leaf(first + l);
                leaves.end[l] = end += raw.sizes[first + l];
            }
            if (end) launch(leaves, int(std::min<int64_t>((end + threads - 1) / threads, most_blocks)));
        }
    }
#endif
};

}  // namespace boat

// Make a kernel out of a template: what the library exports under its name.
#ifdef __CUDACC__
#define BOAT_FAILED(call) ((call)->on_device && cudaPeekAtLastError() ? cudaGetErrorString(cudaGetLastError()) : nullptr)
#else
#define BOAT_FAILED(call) nullptr
#endif
#define BOAT_KERNEL(kernel)                                               \
    extern "C" __attribute__((visibility("default"))) const char* boat_##kernel(const boat_call* call) { \
        if (call->is_double)                                              \
            kernel(boat::Call<double>{*call});                            \
        else                                                              \
            kernel(boat::Call<float>{*call});                             \
        return BOAT_FAILED(call);                                         \
    }
