// C = op(A)·op(B) for matrices and for batches of them (equal leading axes), and for matrices op(A)·op(B) + b with a
// bias b for each column, or tanh of that; the derivatives are such products again.
//
//     AB: ∂A = GBᵀ, ∂B = AᵀG        and so on for AᵀB, ABᵀ, AᵀBᵀ        ∂b: channel_sum(G)
//     tanh: the same with G·(1 - C²) in place of G
#pragma once
#include "activation.h"
#include "bias.h"
#include "gemm.h"

namespace jittor {
namespace boat {

struct Matmul : Native {
    bool trans_a, trans_b, squashed, biased;
    int64 m, n, k, batch = 1;

    Matmul(const vector<Var*>& inputs, bool trans_a, bool trans_b, bool squashed = false)
        : trans_a(trans_a), trans_b(trans_b), squashed(squashed), biased(inputs.size() == 3) {
        if (squashed) flags.set(NodeFlags::_grads);
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return "boat_matmul"; }
    void infer_shape() override {
        const auto &a = input(0)->shape, &b = input(1)->shape;
        const int axes = a.size();
        ASSERT(axes >= 2 && axes == b.size()) << "boat_matmul:" << a << b;
        NanoVector shape;
        for (int i = 0; i < axes - 2; i++) {
            ASSERT(a[i] == b[i]) << "boat_matmul:" << a << b;
            batch *= a[i];
            shape.push_back(a[i]);
        }
        m = a[axes - 2 + trans_a];
        k = a[axes - 1 - trans_a];
        n = b[axes - 1 - trans_b];
        ASSERT(k == b[axes - 2 + trans_b]) << "boat_matmul:" << a << b;
        shape.push_back(m);
        shape.push_back(n);
        out()->set_shape(shape);
    }
    void grads(Var** douts, VarPtr* dins) override {
        if (!douts[0]) return;
        VarPtr cotangent = as_dtype(douts[0], out()->dtype()), g = product({cotangent}, out(), {1, 0, -1});
        for (int index = 0; index < 2 + biased; index++) dins[index] = pullback(nullptr, g, nullptr, index);
    }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 2) return make<ChannelSum>({dout}, 1);
        Var *a = input(0), *b = input(1);
        if (index == 0) return trans_a ? make<Matmul>({b, dout}, trans_b, true) : make<Matmul>({dout, b}, false, !trans_b);
        return trans_b ? make<Matmul>({dout, a}, true, trans_a) : make<Matmul>({a, dout}, !trans_a, false);
    }
    // Whether a bias or tanh may still go in there: nothing else uses it yet.
    bool open() {
        return !squashed && batch == 1 && out()->shape.size() == 2 && out()->_outputs.empty() && !out()->is_finished();
    }
    vector<Var*> factors() {
        vector<Var*> found{input(0), input(1)};
        if (biased) found.push_back(input(2));
        return found;
    }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    template <class T> void compute() {
        T* c = out()->ptr<T>();
        if (biased) rows(this, m, m * n, BiasBody<T, false>{nullptr, input(2)->ptr<T>(), c, n, 1});
        gemm<T>(this, trans_a, trans_b, int(m), int(n), int(k), input(0)->ptr<T>(), input(1)->ptr<T>(), c, batch, m * k,
                k * n, biased);
        if (squashed) each(this, m * n, TanhBody<T>{c, c});
    }
};

}  // namespace boat
}  // namespace jittor
