// C = op(A)·op(B), or C += op(A)·op(B), row-major: oneDNN for float32 where it is there, else register tiles of our own; cuBLAS on a GPU.
#pragma once
#include "native.h"
#include "threads.h"
#ifdef BOAT_ONEDNN
#include <dnnl.h>
#endif
#ifdef __CUDACC__
#include <cublas_v2.h>
#endif

namespace jittor {
namespace boat {

template <class T> constexpr int tile_width = 128 / int(sizeof(T));  // of the register tiles

// A[i, p] = a[i·rows + p·columns]; `panel` holds op(B)[:, j … j + width) row by row, padded with zeros.
// O3: the sums stay in registers.
template <class T, int height, int full>
__attribute__((optimize("O3"))) void multiply_tile(int k, const T* a, int64 rows, int64 columns, const T* panel, T* c, int64 stride, int width, bool add) {
    T sum[height][full] = {};
    for (int p = 0; p < k; p++) {
        const T* b = panel + int64(p) * full;
        for (int i = 0; i < height; i++) {
            const T factor = a[i * rows + p * columns];
            #pragma omp simd
            for (int j = 0; j < full; j++) sum[i][j] += factor * b[j];
        }
    }
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) c[i * stride + j] = sum[i][j] + (add ? c[i * stride + j] : T(0));
}

// Columns [j, j + full) of C, or as many as there are, by several threads if they may.
template <class T, int height, int full>
void multiply_panel(bool trans_a, bool trans_b, int m, int n, int k, const T* a, const T* b, T* c, int j, bool several,
                    bool add) {
    static thread_local vector<T> held;
    held.resize(size_t(k) * full);
    T* panel = held.data();
    const int width = std::min(full, n - j);
    for (int p = 0; p < k; p++)
        for (int q = 0; q < full; q++)
            panel[size_t(p) * full + q] = q >= width ? T(0) : trans_b ? b[int64(j + q) * k + p] : b[int64(p) * n + j + q];
    const int64 rows = trans_a ? 1 : k, columns = trans_a ? m : 1;
    constexpr int some = 8 * height;
    in_parallel((m + some - 1) / some, several, [=](int64 block) {
        int i = int(block) * some;
        const int end = std::min(m, i + some);
        for (; i + height <= end; i += height)
            multiply_tile<T, height, full>(k, a + i * rows, rows, columns, panel, c + int64(i) * n + j, n, width, add);
        for (; i < end; i++)
            multiply_tile<T, 1, full>(k, a + i * rows, rows, columns, panel, c + int64(i) * n + j, n, width, add);
    });
}

template <class T>
void own_gemm(bool trans_a, bool trans_b, int m, int n, int k, const T* a, const T* b, T* c, bool add) {
    constexpr int full = tile_width<T>;
    const int panels = (n + full - 1) / full;
    const bool several = int64(m) * n * k >= gemm_parallel_from;
    in_parallel(panels, several && panels > 1, [=](int64 number) {
        multiply_panel<T, 4, full>(trans_a, trans_b, m, n, k, a, b, c, int(number) * full, several && panels == 1, add);
    });
}

inline void cpu_gemm(bool trans_a, bool trans_b, int m, int n, int k, const double* a, const double* b, double* c,
                     bool add) {
    own_gemm(trans_a, trans_b, m, n, k, a, b, c, add);
}

inline void cpu_gemm(bool trans_a, bool trans_b, int m, int n, int k, const float* a, const float* b, float* c,
                     bool add) {
#ifdef BOAT_ONEDNN
    constexpr int narrow = tile_width<float> / 2;
    if (n <= narrow && n > 1 && k >= narrow && m >= narrow) {  // oneDNN's tiles are half empty there
        const bool several = int64(m) * n * k >= gemm_parallel_from;
        multiply_panel<float, 8, narrow>(trans_a, trans_b, m, n, k, a, b, c, 0, several, add);
        return;
    }
    Threads threads(int64(m) * n * k);
    auto status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, 1.f, a, trans_a ? m : k, b,
                             trans_b ? k : n, add ? 1.f : 0.f, c, n);
    ASSERT(status == dnnl_success) << "oneDNN: dnnl_sgemm returned" << int(status);
#else
    own_gemm(trans_a, trans_b, m, n, k, a, b, c, add);
#endif
}

#ifdef __CUDACC__
inline void check_cublas(cublasStatus_t status) { ASSERT(status == CUBLAS_STATUS_SUCCESS) << "cuBLAS:" << int(status); }

inline cublasHandle_t cublas() {
    static cublasHandle_t handle = [] {
        cublasHandle_t made;
        check_cublas(cublasCreate(&made));
        return made;
    }();
    return handle;
}

// cuBLAS is column-major: Cᵀ = op(B)ᵀ·op(A)ᵀ
inline void device_gemm(bool ta, bool tb, int m, int n, int k, const float* a, const float* b, float* c, int64 step_a,
                        int64 step_b, int batch, bool add) {
    const float one = 1, keep = add;
    check_cublas(cublasSgemmStridedBatched(cublas(), tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, n,
                                           m, k, &one, b, tb ? k : n, step_b, a, ta ? m : k, step_a, &keep, c, n,
                                           int64(m) * n, batch));
}

inline void device_gemm(bool ta, bool tb, int m, int n, int k, const double* a, const double* b, double* c,
                        int64 step_a, int64 step_b, int batch, bool add) {
    const double one = 1, keep = add;
    check_cublas(cublasDgemmStridedBatched(cublas(), tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, n,
                                           m, k, &one, b, tb ? k : n, step_b, a, ta ? m : k, step_a, &keep, c, n,
                                           int64(m) * n, batch));
}
#endif

// `batch` products of matrices `step_a` and `step_b` elements apart (0: the same one each time).
template <class T>
void gemm(const Native* op, bool trans_a, bool trans_b, int m, int n, int k, const T* a, const T* b, T* c, int64 batch,
          int64 step_a, int64 step_b, bool add = false) {
    if (m == 0 || n == 0 || batch == 0) return;
    if (k == 0) {
        if (!add) fill_zero(op, c, batch * m * n);
        return;
    }
#ifdef __CUDACC__
    if (op->on_device()) {
        device_gemm(trans_a, trans_b, m, n, k, a, b, c, step_a, step_b, int(batch), add);
        return;
    }
#endif
    const auto one = [=](int64 i) {
        cpu_gemm(trans_a, trans_b, m, n, k, a + i * step_a, b + i * step_b, c + i * m * n, add);
    };
    in_parallel(batch, batch > 1 && batch * m * n * k >= parallel_from, one);
}

}  // namespace boat
}  // namespace jittor
