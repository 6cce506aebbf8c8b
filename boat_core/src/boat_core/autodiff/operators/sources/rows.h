// Operators on the rows of a matrix [R, C], closed under differentiation.
//
//     row_dot(a, b)[r]        Σ_c a·b            ∂a: row_scale(b, g)       ∂b: row_scale(a, g)
//     row_scale(a, s)[r, c]   a·s[r]             ∂a: row_scale(g, s)       ∂s: row_dot(g, a)
//     softmax(z)              p                  ∂z: softmax_pull(p, g)
//     softmax_pull(p, g)      p(g - ⟨p, g⟩)      ∂g: softmax_pull(p, u)    ∂p: softmax_bend(u, g, p)
//     softmax_bend(u, g, p)   ug - u⟨p, g⟩ - g⟨p, u⟩
#pragma once
#include "product.h"

namespace jittor {
namespace boat {

struct RowOperator : Native {
    int64 height() { return input(0)->shape[0]; }
    int64 width() { return input(0)->shape[1]; }
};

template <class T> struct RowDotBody {
    const T *a, *b;
    T* out;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T *p = a + row * width, *q = b + row * width;
        const double sum = total<T>(width, team, [=](int64 c) { return p[c] * q[c]; });
        if (team.lane == 0) out[row] = T(sum);
    }
};

template <class T> struct RowScaleBody {
    const T *a, *s;
    T* out;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T* p = a + row * width;
        T *q = out + row * width, factor = s[row];
        #pragma omp simd
        for (int64 c = team.lane; c < width; c += team.lanes) q[c] = p[c] * factor;
    }
};

// The largest entry, or NaN where there is one.
template <class T, class Team> BOAT_HD T row_max(const T* z, int64 width, Team team) {
    T most = z[0];
    for (int64 c = team.lane; c < width; c += team.lanes) most = z[c] > most || z[c] != z[c] ? z[c] : most;
    return team.max(most);
}

template <class T> struct SoftmaxBody {
    const T* z;
    T* out;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T* x = z + row * width;
        T *p = out + row * width, most = row_max(x, width, team);
        const T scale = T(1 / total<T>(width, team, [=](int64 c) { return p[c] = std::exp(x[c] - most); }));
        #pragma omp simd
        for (int64 c = team.lane; c < width; c += team.lanes) p[c] *= scale;
    }
};

// Several rows on a CPU: the exponentials of all of them together, as a row may be too short for the wide instructions.
template <class T> void softmax_rows(const T* z, T* p, int64 height, int64 width) {
    for (int64 row = 0; row < height; row++) {
        const T* x = z + row * width;
        T *shifted = p + row * width, most = row_max(x, width, Alone());
        #pragma omp simd
        for (int64 c = 0; c < width; c++) shifted[c] = x[c] - most;
    }
    #pragma omp simd
    for (int64 i = 0; i < height * width; i++) p[i] = std::exp(p[i]);
    for (int64 row = 0; row < height; row++) {
        T* share = p + row * width;
        const T scale = T(1 / total<T>(width, Alone(), [=](int64 c) { return share[c]; }));
        #pragma omp simd
        for (int64 c = 0; c < width; c++) share[c] *= scale;
    }
}

template <class T> struct SoftmaxPullBody {
    const T *p, *g;
    T* out;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T *pr = p + row * width, *gr = g + row * width;
        T* o = out + row * width;
        const T mean = T(total<T>(width, team, [=](int64 c) { return pr[c] * gr[c]; }));
        #pragma omp simd
        for (int64 c = team.lane; c < width; c += team.lanes) o[c] = pr[c] * (gr[c] - mean);
    }
};

template <class T> struct SoftmaxBendBody {
    const T *u, *g, *p;
    T* out;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const T *ur = u + row * width, *gr = g + row * width, *pr = p + row * width;
        T* o = out + row * width;
        const T of_g = T(total<T>(width, team, [=](int64 c) { return pr[c] * gr[c]; }));
        const T of_u = T(total<T>(width, team, [=](int64 c) { return pr[c] * ur[c]; }));
        #pragma omp simd
        for (int64 c = team.lane; c < width; c += team.lanes) o[c] = ur[c] * (gr[c] - of_g) - gr[c] * of_u;
    }
};

struct RowDot : RowOperator {
    explicit RowDot(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_row_dot"; }
    void infer_shape() override { out()->set_shape(NanoVector(height())); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override;
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             RowDotBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), out()->ptr<T>(), width()});
    }
};

struct RowScale : RowOperator {
    explicit RowScale(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_row_scale"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 0) return make<RowScale>({dout, input(1)});
        return make<RowDot>({dout, input(0)});
    }
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             RowScaleBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), out()->ptr<T>(), width()});
    }
};

inline VarPtr RowDot::pullback(Var*, Var* dout, Var*, int index) { return make<RowScale>({input(1 - index), dout}); }

struct SoftmaxBend : RowOperator {
    explicit SoftmaxBend(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_softmax_bend"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             SoftmaxBendBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), input(2)->ptr<T>(), out()->ptr<T>(), width()});
    }
    // ∂u: wg - w⟨p, g⟩ - p⟨w, g⟩, ∂g the same with u, ∂p: -g⟨w, u⟩ - u⟨w, g⟩
    VarPtr pullback(Var*, Var* w, Var*, int index) override {
        Var *u = input(0), *g = input(1), *p = input(2);
        if (index == 2) {
            VarPtr wu = make<RowDot>({w, u}), wg = make<RowDot>({w, g});
            VarPtr gwu = make<RowScale>({g, wu}), uwg = make<RowScale>({u, wg});
            VarPtr sum = plus(gwu, uwg);
            return product({}, sum, {0, -1});
        }
        Var* other = index == 0 ? g : u;
        VarPtr mean = make<RowDot>({p, other}), across = make<RowDot>({w, other});
        VarPtr whole = times(w, other), first = make<RowScale>({w, mean}), second = make<RowScale>({p, across});
        VarPtr rest = minus(whole, first);
        return minus(rest, second);
    }
};

struct SoftmaxPull : RowOperator {
    explicit SoftmaxPull(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_softmax_pull"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 1) return make<SoftmaxPull>({input(0), dout});
        return make<SoftmaxBend>({dout, input(1), input(0)});
    }
    template <class T> void compute() {
        rows(this, height(), input(0)->num,
             SoftmaxPullBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), out()->ptr<T>(), width()});
    }
};

struct Softmax : RowOperator {
    explicit Softmax(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_softmax"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var* p, Var* dout, Var*, int) override { return make<SoftmaxPull>({p, dout}); }
    template <class T> void compute() {
        const T* z = input(0)->ptr<T>();
        T* p = out()->ptr<T>();
        const int64 h = height(), w = width();
        if (on_device()) {
            rows(this, h, out()->num, SoftmaxBody<T>{z, p, w});
            return;
        }
        const int64 some = std::max<int64>(1, chunk / std::max<int64>(1, w));
        in_parallel((h + some - 1) / some, out()->num >= parallel_from, [=](int64 block) {
            const int64 first = block * some;
            softmax_rows(z + first * w, p + first * w, std::min(some, h - first), w);
        });
    }
};

}  // namespace boat
}  // namespace jittor
