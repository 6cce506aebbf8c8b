// The two points of a central difference along a gradient; formulas in differences.py.
#include "boat_kernel.h"

// in: centre g  out: centre centre  numbers: radius  results: ‖g‖² ε
template <class T> void either_side(const boat::Call<T>& call) {
    const double radius = call.number64(0);
    const double* epsilon = call.results(1);
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        return boat::Sums<T, 1>{{leaf.in(1)[i] * leaf.in(1)[i]}};
    });
    call.once([=] BOAT_HD(double* result) { result[1] = radius / std::sqrt(result[0]); });
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T move = T(*epsilon) * leaf.in(1)[i];
        leaf.out(0)[i] = leaf.in(0)[i] + move;
        leaf.out(1)[i] = leaf.in(0)[i] - move;
    });
}
BOAT_KERNEL(either_side)
