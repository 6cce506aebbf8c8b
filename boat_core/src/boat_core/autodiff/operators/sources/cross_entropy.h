// Softmax cross-entropy of each row from its logits z [R, C] and its class t [R] (int32); zero where t is no class.
// e is t's one-hot vector, v 1 for a class and 0 for none.
//
//     cross_entropy(z)[r]    v(log Σ exp z - z[t])    ∂z: pull₁(softmax(z), g)
//     pull₁(p, g)[r, c]      v(p - e)·g[r]            ∂p: pull₀(u, g)    ∂g: dot₁(p, u)
//     dot₁(p, u)[r]          vΣ_c (p - e)·u           ∂p: pull₀(u, w)    ∂u: pull₁(p, w)
//
// pull₀ and dot₀ are the same without e, and so are their derivatives.
#pragma once
#include "rows.h"

namespace jittor {
namespace boat {

template <class T> struct CrossEntropyBody {
    const T* z;
    const int* target;
    T* out;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T *x = z + row * width, most = row_max(x, width, team);
        const T sum = T(total<T>(width, team, [=](int64 c) { return std::exp(x[c] - most); }));
        const int t = target[row];
        if (team.lane == 0) out[row] = t >= 0 && t < width ? std::log(sum) + most - x[t] : T(0);
    }
};

template <class T> struct EntropyPullBody {
    const T *p, *g;
    const int* target;
    T* out;
    int64 width;
    T hot;  // 1 or 0
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T* pr = p + row * width;
        const int t = target[row];
        T *o = out + row * width, factor = t >= 0 && t < width ? g[row] : T(0);
        #pragma omp simd
        for (int64 c = team.lane; c < width; c += team.lanes) o[c] = (pr[c] - (c == t ? hot : T(0))) * factor;
    }
};

template <class T> struct EntropyDotBody {
    const T *p, *u;
    const int* target;
    T* out;
    int64 width;
    T hot;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T *pr = p + row * width, *ur = u + row * width;
        const T sum = T(total<T>(width, team, [=](int64 c) { return pr[c] * ur[c]; }));
        const int t = target[row];
        if (team.lane == 0) out[row] = t >= 0 && t < width ? sum - hot * ur[t] : T(0);
    }
};

struct EntropyDot : RowOperator {
    bool hot;
    EntropyDot(const vector<Var*>& inputs, bool hot) : hot(hot) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_entropy_dot"; }
    void infer_shape() override { out()->set_shape(NanoVector(height())); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override;
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             EntropyDotBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), input(2)->ptr<int>(), out()->ptr<T>(), width(),
                               T(hot)});
    }
};

struct EntropyPull : RowOperator {
    bool hot;
    EntropyPull(const vector<Var*>& inputs, bool hot) : hot(hot) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_entropy_pull"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 0) return make<EntropyPull>({dout, input(1), input(2)}, false);
        if (index == 1) return make<EntropyDot>({input(0), dout, input(2)}, hot);
        return nullptr;
    }
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             EntropyPullBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), input(2)->ptr<int>(), out()->ptr<T>(), width(),
                                T(hot)});
    }
};

inline VarPtr EntropyDot::pullback(Var*, Var* dout, Var*, int index) {
    if (index == 0) return make<EntropyPull>({input(1), dout, input(2)}, false);
    if (index == 1) return make<EntropyPull>({input(0), dout, input(2)}, hot);
    return nullptr;
}

struct CrossEntropy : RowOperator {
    explicit CrossEntropy(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_cross_entropy"; }
    void infer_shape() override { out()->set_shape(NanoVector(height())); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 1) return nullptr;
        VarPtr p = make<Softmax>({input(0)});
        return make<EntropyPull>({p, dout, input(1)}, true);
    }
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             CrossEntropyBody<T>{input(0)->ptr<T>(), input(1)->ptr<int>(), out()->ptr<T>(), width()});
    }
};

}  // namespace boat
}  // namespace jittor
