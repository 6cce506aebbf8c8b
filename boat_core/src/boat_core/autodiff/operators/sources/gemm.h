// C = op(A)·op(B), or C += op(A)·op(B), row-major: oneDNN for float32 where it is there, else register tiles of our own; cuBLAS on a GPU.
// Long inner axes are added up in float64: by our own loops where one side is narrow, as oneDNN loses three digits there,
// and between pieces of the inner axis elsewhere.
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

// From this inner axis on the sums are float64, for shorter ones as the registers have them.
constexpr int long_axis = 4096, panel_depth = 1024, tile_depth = 64;

// A[i, p] = a[i·rows + p·columns]; `panel` holds op(B)[:, j … j + width) row by row, padded with zeros.
// O3: the sums stay in registers.
template <class T, int height, int full>
__attribute__((optimize("O3"), always_inline)) inline void tile_sums(int k, const T* a, int64 rows, int64 columns, const T* panel, T (&sum)[height][full]) {
    for (int p = 0; p < k; p++) {
        const T* b = panel + int64(p) * full;
        for (int i = 0; i < height; i++) {
            const T factor = a[i * rows + p * columns];
            #pragma omp simd
            for (int j = 0; j < full; j++) sum[i][j] += factor * b[j];
        }
    }
}

template <class T, int height, int full>
__attribute__((optimize("O3"))) void multiply_tile(int k, const T* a, int64 rows, int64 columns, const T* panel, T* c, int64 stride, int width, bool add) {
    T sum[height][full] = {};
    tile_sums<T, height, full>(k, a, rows, columns, panel, sum);
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) c[i * stride + j] = sum[i][j] + (add ? c[i * stride + j] : T(0));
}

// total[i, j] += the same, of rows that are `full` wide.
template <class T, int height, int full>
__attribute__((optimize("O3"))) void add_tile(int k, const T* a, int64 rows, int64 columns, const T* panel, double* total) {
    for (int p = 0; p < k; p += tile_depth) {
        T sum[height][full] = {};
        tile_sums<T, height, full>(std::min(tile_depth, k - p), a + p * columns, rows, columns, panel + int64(p) * full, sum);
        for (int i = 0; i < height; i++)
            #pragma omp simd
            for (int j = 0; j < full; j++) total[i * full + j] += double(sum[i][j]);
    }
}

template <class T, int full> void pack_panel(bool trans_b, int n, int k, const T* b, int j, int width, int first, int some, T* panel) {
    for (int p = 0; p < some; p++)
        for (int q = 0; q < full; q++)
            panel[size_t(p) * full + q] =
                q >= width ? T(0) : trans_b ? b[int64(j + q) * k + first + p] : b[int64(first + p) * n + j + q];
}

// Columns [j, j + full) of C, or as many as there are, by several threads if they may.
template <class T, int height, int full>
void multiply_panel(bool trans_a, bool trans_b, int m, int n, int k, const T* a, const T* b, T* c, int j, bool several,
                    bool add) {
    static thread_local vector<T> held;
    const bool deep = sizeof(T) < sizeof(double) && k >= long_axis;
    const int depth = deep ? panel_depth : k;
    held.resize(size_t(depth) * full);
    T* panel = held.data();
    const int width = std::min(full, n - j);
    const int64 rows = trans_a ? 1 : k, columns = trans_a ? m : 1;
    constexpr int some = 8 * height;
    if (!deep) {
        pack_panel<T, full>(trans_b, n, k, b, j, width, 0, k, panel);
        in_parallel((m + some - 1) / some, several, [=](int64 block) {
            int i = int(block) * some;
            const int end = std::min(m, i + some);
            for (; i + height <= end; i += height)
                multiply_tile<T, height, full>(k, a + i * rows, rows, columns, panel, c + int64(i) * n + j, n, width, add);
            for (; i < end; i++)
                multiply_tile<T, 1, full>(k, a + i * rows, rows, columns, panel, c + int64(i) * n + j, n, width, add);
        });
        return;
    }
    vector<double> totals(size_t(m) * full);
    double* total = totals.data();
    for (int first = 0; first < k; first += depth) {
        const int deep_rows = std::min(depth, k - first);
        pack_panel<T, full>(trans_b, n, k, b, j, width, first, deep_rows, panel);
        const T* from = a + first * columns;
        in_parallel((m + some - 1) / some, several, [=](int64 block) {
            int i = int(block) * some;
            const int end = std::min(m, i + some);
            for (; i + height <= end; i += height)
                add_tile<T, height, full>(deep_rows, from + i * rows, rows, columns, panel, total + int64(i) * full);
            for (; i < end; i++)
                add_tile<T, 1, full>(deep_rows, from + i * rows, rows, columns, panel, total + int64(i) * full);
        });
    }
    for (int i = 0; i < m; i++)
        for (int q = 0; q < width; q++) {
            T& place = c[int64(i) * n + j + q];
            place = T(total[int64(i) * full + q] + (add ? double(place) : 0.0));
        }
}

// c = op(A)·b, or c += op(A)·b, for a vector b.
template <class T> void multiply_vector(bool trans_a, int m, int k, const T* a, const T* b, T* c, bool add) {
    if (trans_a && m > 1) return sum_rows(a, c, k, m, [=](int64 p) { return b[p]; }, add);
    const bool each_by_itself = m >= 8;
    in_parallel(m, each_by_itself && int64(m) * k >= parallel_from, [=](int64 i) {
        const T* row = a + i * k;
        const auto term = [=](int64 p) { return row[p] * b[p]; };
        const double sum = each_by_itself ? total<T>(k, Alone(), term) : total_in_parallel<T>(k, term);
        c[i] = T(sum + (add ? double(c[i]) : 0.0));
    });
}

template <class T>
void own_gemm(bool trans_a, bool trans_b, int m, int n, int k, const T* a, const T* b, T* c, bool add) {
    constexpr int full = tile_width<T>;
    const int panels = (n + full - 1) / full;
    const bool several = product_work(m, n, k) >= gemm_parallel_from;
    in_parallel(panels, several && panels > 1, [=](int64 number) {
        multiply_panel<T, 4, full>(trans_a, trans_b, m, n, k, a, b, c, int(number) * full, several && panels == 1, add);
    });
}

inline void cpu_gemm(bool trans_a, bool trans_b, int m, int n, int k, const double* a, const double* b, double* c,
                     bool add) {
    own_gemm(trans_a, trans_b, m, n, k, a, b, c, add);
}

#ifdef BOAT_ONEDNN
// `wide_a` and `wide_b` are the lengths of the rows in which A and B lie.
inline void onednn_gemm(bool trans_a, bool trans_b, int m, int n, int k, const float* a, int wide_a, const float* b,
                        int wide_b, float* c, bool add) {
    Threads threads(product_work(m, n, k));
    auto status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, 1.f, a, wide_a, b, wide_b,
                             add ? 1.f : 0.f, c, n);
    ASSERT(status == dnnl_success) << "oneDNN: dnnl_sgemm returned" << int(status);
}

// Piece by piece of the inner axis.
inline void onednn_gemm_long(bool trans_a, bool trans_b, int m, int n, int k, const float* a, const float* b, float* c,
                             bool add, int piece) {
    const int wide_a = trans_a ? m : k, wide_b = trans_b ? k : n;
    const int64 all = int64(m) * n;
    vector<double> total(all, 0.0);
    if (add) std::copy(c, c + all, total.begin());
    for (int first = 0; first < k; first += piece) {
        const float *from_a = a + int64(first) * (trans_a ? m : 1), *from_b = b + int64(first) * (trans_b ? 1 : n);
        onednn_gemm(trans_a, trans_b, m, n, std::min(piece, k - first), from_a, wide_a, from_b, wide_b, c, false);
        double* sum = total.data();
        #pragma omp simd
        for (int64 i = 0; i < all; i++) sum[i] += double(c[i]);
    }
    for (int64 i = 0; i < all; i++) c[i] = float(total[i]);
}
#endif

inline void cpu_gemm(bool trans_a, bool trans_b, int m, int n, int k, const float* a, const float* b, float* c,
                     bool add) {
    if (n == 1 && k >= long_axis) return multiply_vector(trans_a, m, k, a, b, c, add);
    if (m == 1 && k >= long_axis) return multiply_vector(!trans_b, n, k, b, a, c, add);
#ifdef BOAT_ONEDNN
    constexpr int narrow = tile_width<float> / 2;
    if (n <= narrow && n > 1 && k >= narrow && m >= narrow) {  // oneDNN's tiles are half empty there
        const bool several = product_work(m, n, k) >= gemm_parallel_from;
        multiply_panel<float, 8, narrow>(trans_a, trans_b, m, n, k, a, b, c, 0, several, add);
        return;
    }
    // The smaller the product, the cheaper its pieces are to add.
    const int64 all = int64(m) * n;
    const int piece = all <= 64 ? 256 : all <= 4096 ? 512 : 2048;
    if (k >= 2 * long_axis && k >= 8 * piece) return onednn_gemm_long(trans_a, trans_b, m, n, k, a, b, c, add, piece);
    onednn_gemm(trans_a, trans_b, m, n, k, a, trans_a ? m : k, b, trans_b ? k : n, c, add);
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
