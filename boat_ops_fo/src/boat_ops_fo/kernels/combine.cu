// Gradients combined; formulas in combine.py.
#include "boat_kernel.h"

template <class T, int n> void combine(const boat::Call<T>& call) {
    boat::Sums<T, n> weights;
    for (int k = 0; k < n; k++) weights.of[k] = call.number(k);
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        T sum = weights.of[0] * leaf.in(0)[i];
        for (int k = 1; k < n; k++) sum += weights.of[k] * leaf.in(k)[i];
        leaf.out(0)[i] = sum;
    });
}

// in: v₁ … v_n  out: v₁  numbers: w₁ … w_n
template <class T> void combination(const boat::Call<T>& call) {
    switch (call.groups()) {
        case 1: return combine<T, 1>(call);
        case 2: return combine<T, 2>(call);
        case 3: return combine<T, 3>(call);
        case 4: return combine<T, 4>(call);
        case 5: return combine<T, 5>(call);
        default: return combine<T, 6>(call);
    }
}
BOAT_KERNEL(combination)

// in: F q  out: F  numbers: u₁, q, whether φ = u₁q  results: ‖q‖² ⟨F,q⟩ λ
template <class T> void multiplier(const boat::Call<T>& call) {
    const double u1 = call.number64(0), value = call.number64(1), of_value = call.number64(2);
    const double* weight = call.results(2);
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T q = leaf.in(1)[i];
        return boat::Sums<T, 2>{{q * q, leaf.in(0)[i] * q}};
    });
    call.once([=] BOAT_HD(double* result) {
        const double qq = result[0], phi = u1 * (of_value != 0 ? value : qq), ratio = (phi - result[1]) / qq;
        result[2] = qq == 0 || ratio < 0 ? 0 : ratio;  // a NaN stays one
    });
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        leaf.out(0)[i] = leaf.in(0)[i] + T(*weight) * leaf.in(1)[i];
    });
}
BOAT_KERNEL(multiplier)
