// The products of cuBLAS that operators call, as plain loops: column-major, C = alpha·op(A)·op(B) + beta·C.
#pragma once
#include <cstdint>

typedef void* cublasHandle_t;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };

inline cublasStatus_t cublasCreate(cublasHandle_t* handle) {
    *handle = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}

namespace boat_simulator {

template <class T>
cublasStatus_t products(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T* alpha, const T* a,
                        int lda, int64_t step_a, const T* b, int ldb, int64_t step_b, const T* beta, T* c, int ldc,
                        int64_t step_c, int count) {
    for (int64_t p = 0; p < count; p++, a += step_a, b += step_b, c += step_c)
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < m; i++) {
                double sum = 0;
                for (int64_t q = 0; q < k; q++)
                    sum += double(ta == CUBLAS_OP_T ? a[i * lda + q] : a[q * lda + i]) *
                           double(tb == CUBLAS_OP_T ? b[q * ldb + j] : b[j * ldb + q]);
                T& place = c[j * ldc + i];
                place = T(*alpha * sum + (*beta == T(0) ? T(0) : *beta * place));
            }
    return CUBLAS_STATUS_SUCCESS;
}

}  // namespace boat_simulator

inline cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m,
                                                int n, int k, const float* alpha, const float* a, int lda,
                                                int64_t step_a, const float* b, int ldb, int64_t step_b,
                                                const float* beta, float* c, int ldc, int64_t step_c, int count) {
    return boat_simulator::products(ta, tb, m, n, k, alpha, a, lda, step_a, b, ldb, step_b, beta, c, ldc, step_c, count);
}

inline cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m,
                                                int n, int k, const double* alpha, const double* a, int lda,
                                                int64_t step_a, const double* b, int ldb, int64_t step_b,
                                                const double* beta, double* c, int ldc, int64_t step_c, int count) {
    return boat_simulator::products(ta, tb, m, n, k, alpha, a, lda, step_a, b, ldb, step_b, beta, c, ldc, step_c, count);
}
