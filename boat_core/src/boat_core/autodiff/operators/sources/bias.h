// One number per channel, the channel being one axis of x: added to all of x, summed over all of x, spread over a shape.
//
//     bias_add(x, b)   x + b along the axis                       ∂x: g    ∂b: channel_sum(g)
//     channel_sum(x)   Σ of x over all axes but that one          ∂x: channel_spread(g)
//     channel_spread(b) b repeated over all axes but that one     ∂b: channel_sum(g)
#pragma once
#include "native.h"

namespace jittor {
namespace boat {

template <class T, bool add> struct BiasBody {  // x + b, or b alone
    const T *x, *b;
    T* out;
    int64 width, inner;
    template <class Team> BOAT_HD void operator()(int64 outer, Team team) const {
        const int64 size = width * inner, start = outer * size;
        if (inner == 1) {
            #pragma omp simd
            for (int64 c = team.lane; c < width; c += team.lanes) out[start + c] = (add ? x[start + c] : T(0)) + b[c];
            return;
        }
        for (int64 c = 0; c < width; c++) {
            const int64 at = start + c * inner;
            const T bias = b[c];
            #pragma omp simd
            for (int64 i = team.lane; i < inner; i += team.lanes) out[at + i] = (add ? x[at + i] : T(0)) + bias;
        }
    }
};

template <class T> struct ChannelSumBody {
    const T* x;
    T* out;
    int64 outer, width, inner;
    template <class Team> BOAT_HD void operator()(int64 c, Team team) const {
        double sum = 0;
        for (int64 o = 0; o < outer; o++) {
            const T* at = x + (o * width + c) * inner;
            sum += total<T>(inner, team, [=](int64 i) { return at[i]; });
        }
        if (team.lane == 0) out[c] = T(sum);
    }
};

// The columns of a matrix: row by row on a CPU, one warp per column on a GPU.
template <class T> struct ColumnSumBody {
    const T* x;
    T* out;
    int64 height, width;
    template <class Team> BOAT_HD void operator()(int64 c, Team team) const {
        const T* at = x + c;
        const int64 step = width;
        const double sum = total<T>(height, team, [=](int64 o) { return at[o * step]; });
        if (team.lane == 0) out[c] = T(sum);
    }
};

struct ChannelSum : Native {
    int axis;
    ChannelSum(const vector<Var*>& inputs, int axis) : axis(axis) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_channel_sum"; }
    void infer_shape() override { out()->set_shape(NanoVector(input(0)->shape[axis])); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int) override;
    template <class T> void compute() {
        const Split s(input(0)->shape, axis);
        const T* x = input(0)->ptr<T>();
        T* sum = out()->ptr<T>();
        if (s.inner > 1) {
            rows(this, s.width, input(0)->num, ChannelSumBody<T>{x, sum, s.outer, s.width, s.inner});
        } else if (on_device()) {
            rows(this, s.width, input(0)->num, ColumnSumBody<T>{x, sum, s.outer, s.width});
        } else {
            sum_rows(x, sum, s.outer, s.width, [](int64) { return T(1); });
        }
    }
};

struct ChannelSpread : Native {
    NanoVector shape;
    int axis;
    ChannelSpread(const vector<Var*>& inputs, NanoVector shape, int axis) : shape(shape), axis(axis) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return "boat_channel_spread"; }
    void infer_shape() override { out()->set_shape(shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int) override { return make<ChannelSum>({dout}, axis); }
    template <class T> void compute() {
        const Split s(shape, axis);
        rows(this, s.outer, out()->num,
             BiasBody<T, false>{nullptr, input(0)->ptr<T>(), out()->ptr<T>(), s.width, s.inner});
    }
};

inline VarPtr ChannelSum::pullback(Var*, Var* dout, Var*, int) {
    return make<ChannelSpread>({dout}, input(0)->shape, axis);
}

struct BiasAdd : Native {
    int axis;
    BiasAdd(const vector<Var*>& inputs, int axis) : axis(axis) { create_output(nullptr, inputs[0]->dtype()); }
    const char* name() const override { return "boat_bias_add"; }
    void infer_shape() override { out()->set_shape(input(0)->shape); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    VarPtr pullback(Var*, Var* dout, Var*, int index) override {
        if (index == 0) return VarPtr(dout);
        return make<ChannelSum>({dout}, axis);
    }
    template <class T> void compute() {
        const Split s(input(0)->shape, axis);
        rows(this, s.outer, out()->num,
             BiasBody<T, true>{input(0)->ptr<T>(), input(1)->ptr<T>(), out()->ptr<T>(), s.width, s.inner});
    }
};

}  // namespace boat
}  // namespace jittor
