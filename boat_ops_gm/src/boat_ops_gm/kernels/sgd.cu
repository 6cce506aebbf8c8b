// SGD's step over all leaves, and its adjoint; formulas in sgd.py.
#include "boat_kernel.h"

template <class T> void sgd_step(const boat::Call<T>& call) {  // in: y g  out: y
    const T rate = call.number(0), decay = call.number(1);
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T y = leaf.in(0)[i], h = leaf.in(1)[i] + decay * y;
        leaf.out(0)[i] = y - rate * h;
    });
}
BOAT_KERNEL(sgd_step)

template <class T> void sgd_adjoint(const boat::Call<T>& call) {  // in: p  out: p g
    const T rate = call.number(0), decay = call.number(1);
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T p = leaf.in(0)[i], g = -rate * p;
        leaf.out(0)[i] = p + decay * g;
        leaf.out(1)[i] = g;
    });
}
BOAT_KERNEL(sgd_adjoint)

template <class T> void sgd_momentum_step(const boat::Call<T>& call) {  // in: y m g  out: y m
    const T rate = call.number(0), decay = call.number(1), momentum = call.number(2);
    const bool nesterov = call.number(3) != T(0);
    const T of_m = nesterov ? momentum : T(1), of_h = nesterov ? T(1) : T(0);
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T y = leaf.in(0)[i], h = leaf.in(2)[i] + decay * y, m = momentum * leaf.in(1)[i] + h;
        leaf.out(0)[i] = y - rate * (of_h * h + of_m * m);
        leaf.out(1)[i] = m;
    });
}
BOAT_KERNEL(sgd_momentum_step)

template <class T> void sgd_momentum_adjoint(const boat::Call<T>& call) {  // in: p q  out: p m g
    const T rate = call.number(0), decay = call.number(1), momentum = call.number(2);
    const bool nesterov = call.number(3) != T(0);
    const T of_m = nesterov ? momentum : T(1), of_h = nesterov ? T(1) : T(0);
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T p = leaf.in(0)[i], s = -rate * p, q = leaf.in(1)[i] + of_m * s, g = q + of_h * s;
        leaf.out(0)[i] = p + decay * g;
        leaf.out(1)[i] = momentum * q;
        leaf.out(2)[i] = g;
    });
}
BOAT_KERNEL(sgd_momentum_adjoint)
