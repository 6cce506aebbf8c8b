// A vector plus weighted columns, and its inner products with them; formulas in lowrank.py.
#include "boat_kernel.h"

constexpr int most = 5;

// One pass: what is written is still at hand when its products are taken.
template <class T, int n> void with_columns(const boat::Call<T>& call) {
    boat::Sums<T, n> weights;
    for (int k = 0; k < n; k++) weights.of[k] = call.number(k);
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        T r = leaf.in(0)[i];
        for (int k = 0; k < n; k++) r += weights.of[k] * leaf.in(k + 1)[i];
        leaf.out(0)[i] = r;
        boat::Sums<T, n> found;
        for (int k = 0; k < n; k++) found.of[k] = r * leaf.in(k + 1)[i];
        return found;
    });
    call.once([=] BOAT_HD(double* result) {
        for (int k = n; k < most; k++) result[k] = 0;
    });
}

// in: v c₁ … c_n  out: r  numbers: w₁ … w_n  results: ⟨r,c₁⟩ … ⟨r,c_n⟩ 0 …
template <class T> void plus_columns(const boat::Call<T>& call) {
    switch (call.groups() - 1) {
        case 1: return with_columns<T, 1>(call);
        case 2: return with_columns<T, 2>(call);
        case 3: return with_columns<T, 3>(call);
        case 4: return with_columns<T, 4>(call);
        default: return with_columns<T, most>(call);
    }
}
BOAT_KERNEL(plus_columns)
