// tanh, logistic (sigmoid), softplus, gelu, relu. What can be had from the output is: the derivatives of tanh and logistic
// are polynomials of it, so they are `product`s at every order.
#pragma once
#include "product.h"

namespace jittor {
namespace boat {

template <class T> struct TanhBody {
    const T* x;
    T* y;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        #pragma omp simd
        for (int64 i = begin; i < end; i++) y[i] = std::tanh(x[i]);
    }
};

// 1 / (1 + exp(-βx)), and 1 from βx >= threshold on.
template <class T> struct LogisticBody {
    const T* x;
    T* y;
    T beta, threshold;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        const T scale = beta, most = threshold;
        #pragma omp simd
        for (int64 i = begin; i < end; i++) {
            const T s = scale * x[i];
            y[i] = s >= most ? T(1) : T(1) / (T(1) + std::exp(-s));
        }
    }
};

// log(1 + exp(min(βx, threshold))) / β + max(x - threshold/β, 0), with the exponential never large.
template <class T> struct SoftplusBody {
    const T* x;
    T* y;
    T beta, threshold;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        for (int64 i = begin; i < end; i++) {
            const T s = beta * x[i], capped = s > threshold ? threshold : s;
            const T smooth = (capped > T(0) ? capped : T(0)) + std::log1p(std::exp(-std::fabs(capped)));
            y[i] = smooth / beta + (s > threshold ? x[i] - threshold / beta : T(0));
        }
    }
};

// The k-th derivative of xΦ(x), Φ and φ the normal distribution and its density:
// xΦ;  Φ + xφ;  φ·Q_k from k = 2 on, with Q_2 = 2 - x², Q_{k+1} = Q_k' - x Q_k.
template <class T> struct GeluBody {
    const T* x;
    T* y;
    int order, degree;
    T q[12];
    BOAT_HD void operator()(int64 begin, int64 end) const {
        const T half_root = T(0.70710678118654752440), density = T(0.39894228040143267794);
        if (order < 2) {
            #pragma omp simd
            for (int64 i = begin; i < end; i++) {
                const T below = T(0.5) * (T(1) + std::erf(x[i] * half_root));
                y[i] = order == 0 ? x[i] * below : below + x[i] * density * std::exp(T(-0.5) * x[i] * x[i]);
            }
            return;
        }
        #pragma omp simd
        for (int64 i = begin; i < end; i++) {
            T sum = q[degree];
            for (int k = degree - 1; k >= 0; k--) sum = sum * x[i] + q[k];
            y[i] = density * std::exp(T(-0.5) * x[i] * x[i]) * sum;
        }
    }
};

// g where x > 0, g·slope elsewhere: the leaky relu of x for g = x, and its derivative. A NaN stays one.
template <class T> struct RectifyBody {
    const T *x, *g;
    T* y;
    T slope;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        const T factor = slope;
        #pragma omp simd
        for (int64 i = begin; i < end; i++) {
            const T value = g[i], other = factor == T(0) ? T(0) : factor * value;  // both, so that nothing branches
            y[i] = x[i] <= T(0) ? other : value;
        }
    }
};

struct Tanh : Native {
    explicit Tanh(const vector<Var*>& inputs) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_tanh"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var* y, Var* dout, Var*, int) override { return product({dout}, y, {1, 0, -1}); }
    template <class T> void compute() { each(this, out()->num, TanhBody<T>{input(0)->ptr<T>(), out()->ptr<T>()}); }
};

struct Logistic : Native {
    double beta, threshold;
    Logistic(const vector<Var*>& inputs, double beta, double threshold) : beta(beta), threshold(threshold) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return "boat_logistic"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var* y, Var* dout, Var*, int) override { return product({dout}, y, {0, beta, -beta}); }
    template <class T> void compute() {
        each(this, out()->num, LogisticBody<T>{input(0)->ptr<T>(), out()->ptr<T>(), T(beta), T(threshold)});
    }
};

struct Softplus : Native {
    double beta, threshold;
    Softplus(const vector<Var*>& inputs, double beta, double threshold) : beta(beta), threshold(threshold) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return "boat_softplus"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var* x, int) override {
        VarPtr slope = make<Logistic>({x}, beta, threshold);
        return times(dout, slope);
    }
    template <class T> void compute() {
        each(this, out()->num, SoftplusBody<T>{input(0)->ptr<T>(), out()->ptr<T>(), T(beta), T(threshold)});
    }
};

struct Rectify : Native {
    double slope;
    // inputs: x, or x and g
    Rectify(const vector<Var*>& inputs, double slope, bool of_itself) : slope(slope), of_itself(of_itself) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return of_itself ? "boat_relu" : "boat_rectify"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 0 && !of_itself) return nullptr;
        return make<Rectify>({input(0), dout}, slope, false);
    }
    template <class T> void compute() {
        const T* x = input(0)->ptr<T>();
        each(this, out()->num,
             RectifyBody<T>{x, of_itself ? x : input(1)->ptr<T>(), out()->ptr<T>(), T(slope)});
    }

private:
    bool of_itself;
};

struct Gelu : Native {
    int order;
    Gelu(const vector<Var*>& inputs, int order) : order(order) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_gelu"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var* x, int) override {
        ASSERT(order < 11) << "gelu: derivatives up to order 11 are there";
        VarPtr slope = make<Gelu>({x}, order + 1);
        return times(dout, slope);
    }
    template <class T> void compute() {
        GeluBody<T> body{input(0)->ptr<T>(), out()->ptr<T>(), order, 0, {}};
        vector<double> q{2, 0, -1};
        for (int k = 2; k < order; k++) {
            vector<double> next(q.size() + 1, 0.0);
            for (int i = 1; i < int(q.size()); i++) next[i - 1] += i * q[i];
            for (int i = 0; i < int(q.size()); i++) next[i + 1] -= q[i];
            q = next;
        }
        body.degree = int(q.size()) - 1;
        for (int i = 0; i < int(q.size()); i++) body.q[i] = T(q[i]);
        each(this, out()->num, body);
    }
};

}  // namespace boat
}  // namespace jittor
