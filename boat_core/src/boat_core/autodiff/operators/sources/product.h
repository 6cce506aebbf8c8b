// P(y) · f₁ · … · f_n, elementwise, P a polynomial: the derivatives of all orders of whatever has a derivative that is a
// polynomial of its own output (tanh, sigmoid), and the plain product.
//
//     ∂/∂f_i = P(y) · the other factors        ∂/∂y = P'(y) · all factors
#pragma once
#include "native.h"

namespace jittor {
namespace boat {

constexpr int most_factors = 5, most_coefficients = 8;

template <class T> struct ProductBody {
    const T* y;
    const T* factor[most_factors];
    T* out;
    T coefficient[most_coefficients];
    int factors, degree;

    BOAT_HD void operator()(int64 begin, int64 end) const {
        const T last = coefficient[degree];
        #pragma omp simd
        for (int64 i = begin; i < end; i++) out[i] = last;
        for (int k = degree - 1; k >= 0; k--) {
            const T c = coefficient[k];
            #pragma omp simd
            for (int64 i = begin; i < end; i++) out[i] = out[i] * y[i] + c;
        }
        for (int j = 0; j < factors; j++) {
            const T* f = factor[j];
            #pragma omp simd
            for (int64 i = begin; i < end; i++) out[i] *= f[i];
        }
    }
};

// The two products that a pullback is full of, each in one pass: g · y and g · (c₀ + c₁y + c₂y²).
template <class T> struct QuadraticBody {
    const T *y, *g;
    T* out;
    T c0, c1, c2;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        const T a = c0, b = c1, c = c2;  // a store to out might change members, for all that the compiler knows
        #pragma omp simd
        for (int64 i = begin; i < end; i++) out[i] = g[i] * (a + y[i] * (b + y[i] * c));
    }
};

struct Product : Native {
    vector<double> coefficients;
    int factors;  // not _inputs.size() - 1: Jittor may add an input that only orders the two operators

    // inputs: y, f₁, …, f_n
    Product(const vector<Var*>& inputs, const vector<double>& coefficients)
        : coefficients(coefficients), factors(int(inputs.size()) - 1) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return "boat_product"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override;

    template <class T> void compute() {
        const int degree = int(coefficients.size()) - 1;
        T* z = out()->ptr<T>();
        if (factors == 1 && degree <= 2) {
            auto c = coefficients;
            c.resize(3);
            each(this, out()->num,
                 QuadraticBody<T>{input(0)->ptr<T>(), input(1)->ptr<T>(), z, T(c[0]), T(c[1]), T(c[2])});
            return;
        }
        ProductBody<T> body;
        body.y = input(0)->ptr<T>();
        body.out = z;
        body.factors = factors;
        body.degree = degree;
        for (int j = 0; j < factors; j++) body.factor[j] = input(j + 1)->ptr<T>();
        for (int k = 0; k <= degree; k++) body.coefficient[k] = T(coefficients[k]);
        each(this, out()->num, body);
    }
};

inline VarPtr product(vector<Var*> factors, Var* y, const vector<double>& coefficients) {
    vector<VarPtr> kept;
    while (int(factors.size()) > most_factors) {  // two of them first
        kept.push_back(make<Product>({factors[0], factors[1]}, vector<double>{0, 1}));
        factors.erase(factors.begin());
        factors[0] = kept.back();
    }
    factors.insert(factors.begin(), y);
    return make<Product>(factors, coefficients);
}

inline VarPtr times(Var* a, Var* b) { return product({a}, b, {0, 1}); }

inline VarPtr Product::pullback(Var*, Var* dout, Var*, int index) {
    vector<Var*> others{dout};
    for (int j = 1; j <= factors; j++)
        if (j != index) others.push_back(input(j));
    if (index > 0) return product(others, input(0), coefficients);
    vector<double> slope;
    for (int k = 1; k < int(coefficients.size()); k++) slope.push_back(k * coefficients[k]);
    if (slope.empty()) return nullptr;
    return product(others, input(0), slope);
}

}  // namespace boat
}  // namespace jittor
