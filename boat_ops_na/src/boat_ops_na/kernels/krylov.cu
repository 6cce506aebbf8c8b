// One iteration of conjugate gradient, and one term of the Neumann series; formulas in krylov.py.
#include "boat_kernel.h"

// in: q r p Ap  out: q r p  numbers: ‖r‖²  results: ⟨p,Ap⟩ ⟨p,p⟩ ‖r'‖² α β
template <class T> void cg_step(const boat::Call<T>& call) {
    const double rr = call.number64(0);
    const double *alpha = call.results(3), *beta = call.results(4);
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T p = leaf.in(2)[i];
        return boat::Sums<T, 2>{{p * leaf.in(3)[i], p * p}};
    });
    call.once([=] BOAT_HD(double* result) { result[3] = rr / result[0]; });
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        leaf.out(0)[i] = leaf.in(0)[i] + T(*alpha) * leaf.in(2)[i];
        leaf.out(1)[i] = leaf.in(1)[i] - T(*alpha) * leaf.in(3)[i];
    });
    call.sum(2, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        return boat::Sums<T, 1>{{leaf.out(1)[i] * leaf.out(1)[i]}};
    });
    call.once([=] BOAT_HD(double* result) { result[4] = result[2] / rr; });
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        leaf.out(2)[i] = leaf.out(1)[i] + T(*beta) * leaf.in(2)[i];
    });
}
BOAT_KERNEL(cg_step)

// in: term total Hterm  out: term total  numbers: η δ  results: ‖term‖²
template <class T> void neumann_term(const boat::Call<T>& call) {
    const T eta = call.number(0), keep = T(1 - call.number64(0) * call.number64(1));
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        const T term = keep * leaf.in(0)[i] - eta * leaf.in(2)[i];
        leaf.out(0)[i] = term;
        leaf.out(1)[i] = leaf.in(1)[i] + term;
    });
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        return boat::Sums<T, 1>{{leaf.out(0)[i] * leaf.out(0)[i]}};
    });
}
BOAT_KERNEL(neumann_term)
