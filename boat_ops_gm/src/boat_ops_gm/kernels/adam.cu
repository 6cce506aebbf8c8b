// Adam's step over all leaves, and its adjoint; formulas in adam.py.
#include "boat_kernel.h"

template <class T> void adam_step(const boat::Call<T>& call) {  // in: y m v g  out: y m v
    const T a = call.number(0), c = call.number(1), epsilon = call.number(4);
    const T keep_m = call.number(2), keep_v = call.number(3), new_m = T(1 - call.number64(2)), new_v = T(1 - call.number64(3));
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T g = leaf.in(3)[i], m = keep_m * leaf.in(1)[i] + new_m * g, v = keep_v * leaf.in(2)[i] + new_v * g * g;
        leaf.out(0)[i] = leaf.in(0)[i] - a * m / (std::sqrt(c * v) + epsilon);
        leaf.out(1)[i] = m;
        leaf.out(2)[i] = v;
    });
}
BOAT_KERNEL(adam_step)

template <class T> void adam_adjoint(const boat::Call<T>& call) {  // in: m v g p q r  out: m v g
    const T a = call.number(0), c = call.number(1), epsilon = call.number(4);
    const T keep_m = call.number(2), keep_v = call.number(3), new_m = T(1 - call.number64(2)), new_v = T(1 - call.number64(3));
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T g = leaf.in(2)[i], m = keep_m * leaf.in(0)[i] + new_m * g, v = keep_v * leaf.in(1)[i] + new_v * g * g;
        const T root = std::sqrt(c * v), d = root + epsilon, u = a * leaf.in(3)[i] / d;
        const T q = leaf.in(4)[i] - u;
        const T r = leaf.in(5)[i] + (root > T(0) ? T(0.5) * c * u * m / (d * root) : T(0));
        leaf.out(0)[i] = keep_m * q;
        leaf.out(1)[i] = keep_v * r;
        leaf.out(2)[i] = new_m * q + T(2) * new_v * g * r;
    });
}
BOAT_KERNEL(adam_adjoint)
