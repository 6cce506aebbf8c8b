// Pooling over windows of planes [N, C, D, H, W] (D = 1 for images), closed under differentiation.
//
//     average_pool and its transpose average_unpool: each other's derivative
//     max_index          where in its plane each window has its first largest (smallest) entry; piecewise constant
//     gather(x, index) and its transpose scatter(g, index): each other's derivative; max pooling is gather at max_index
#pragma once
#include "native.h"

namespace jittor {
namespace boat {

struct Windows {
    int in[3], out[3], size[3], stride[3], padding[3];
    bool whole;  // divide by the window's size, also where it sticks out of the plane

    void digest_into(uint64& digest) const {
        for (const auto* numbers : {in, out, size, stride, padding})
            for (int axis = 0; axis < 3; axis++) mix(digest, numbers[axis]);
        mix(digest, whole);
    }

    int64 in_plane() const { return int64(in[0]) * in[1] * in[2]; }
    int64 out_plane() const { return int64(out[0]) * out[1] * out[2]; }
    BOAT_HD int first(int axis, int o) const { return o * stride[axis] - padding[axis]; }
    BOAT_HD int low(int axis, int o) const { return first(axis, o) > 0 ? first(axis, o) : 0; }
    BOAT_HD int high(int axis, int o) const {
        const int end = first(axis, o) + size[axis];
        return end < in[axis] ? end : in[axis];
    }
    // the windows [from, to) that cover cell i
    BOAT_HD int from(int axis, int i) const {
        const int reach = i + padding[axis] - size[axis] + 1;
        return reach > 0 ? (reach + stride[axis] - 1) / stride[axis] : 0;
    }
    BOAT_HD int to(int axis, int i) const {
        const int past = (i + padding[axis]) / stride[axis] + 1;
        return past < out[axis] ? past : out[axis];
    }
    BOAT_HD int count(int d, int h, int w) const {
        if (whole) return size[0] * size[1] * size[2];
        return (high(0, d) - low(0, d)) * (high(1, h) - low(1, h)) * (high(2, w) - low(2, w));
    }
};

// A cell of a box, and the one so many cells further on: without a division for each.
struct Cell {
    const int* size;
    int at[3];
    BOAT_HD Cell(const int* size, int start) : size(size), at{0, 0, 0} { move(start); }
    BOAT_HD void move(int cells) {
        at[2] += cells;
        while (at[2] >= size[2]) at[2] -= size[2], at[1]++;
        while (at[1] >= size[1]) at[1] -= size[1], at[0]++;
    }
};

template <class T> struct AveragePoolBody {
    const T* x;
    T* out;
    Windows s;
    int64 in_plane, out_plane;
    template <class Team> BOAT_HD void operator()(int64 plane, Team team) const {
        const T* p = x + plane * in_plane;
        Cell cell(s.out, team.lane);
        for (int64 o = team.lane; o < out_plane; o += team.lanes, cell.move(team.lanes)) {
            const int d = cell.at[0], h = cell.at[1], w = cell.at[2];
            double sum = 0;  // a window may be as large as the plane
            for (int i = s.low(0, d); i < s.high(0, d); i++)
                for (int j = s.low(1, h); j < s.high(1, h); j++)
                    for (int k = s.low(2, w); k < s.high(2, w); k++) sum += p[(i * s.in[1] + j) * s.in[2] + k];
            out[plane * out_plane + o] = T(sum / s.count(d, h, w));
        }
    }
};

template <class T> struct AverageUnpoolBody {
    const T* g;
    T* out;
    Windows s;
    int64 in_plane, out_plane;
    template <class Team> BOAT_HD void operator()(int64 plane, Team team) const {
        const T* p = g + plane * out_plane;
        Cell cell(s.in, team.lane);
        for (int64 x = team.lane; x < in_plane; x += team.lanes, cell.move(team.lanes)) {
            const int i = cell.at[0], j = cell.at[1], k = cell.at[2];
            double sum = 0;
            for (int d = s.from(0, i); d < s.to(0, i); d++)
                for (int h = s.from(1, j); h < s.to(1, j); h++)
                    for (int w = s.from(2, k); w < s.to(2, k); w++)
                        sum += p[(d * s.out[1] + h) * s.out[2] + w] / s.count(d, h, w);
            out[plane * in_plane + x] = T(sum);
        }
    }
};

// The first largest (smallest) entry of each window; a NaN wins and stays.
template <class T, bool smallest> struct MaxIndexBody {
    const T* x;
    int* out;
    Windows s;
    int64 in_plane, out_plane;

    BOAT_HD static void meet(T& best, int& at, T other, int place) {
        const bool better = smallest ? other < best : other > best;
        const bool wins = (better | (other != other)) & (best == best);
        at = wins ? place : at;
        best = wins ? other : best;
    }

    template <class Team> BOAT_HD void operator()(int64 plane, Team team) const {
        const T* p = x + plane * in_plane;
        int* found = out + plane * out_plane;
        const bool inside = s.first(2, 0) >= 0 && s.first(2, s.out[2] - 1) + s.size[2] <= s.in[2];
        if (team.lanes == 1 && inside) {
            for (int d = 0; d < s.out[0]; d++)
                for (int h = 0; h < s.out[1]; h++, found += s.out[2]) row(p, d, h, found);
            return;
        }
        Cell cell(s.out, team.lane);
        for (int64 o = team.lane; o < out_plane; o += team.lanes, cell.move(team.lanes)) {
            const int d = cell.at[0], h = cell.at[1], w = cell.at[2];
            int at = (s.low(0, d) * s.in[1] + s.low(1, h)) * s.in[2] + s.low(2, w);
            T best = p[at];
            for (int i = s.low(0, d); i < s.high(0, d); i++)
                for (int j = s.low(1, h); j < s.high(1, h); j++)
                    for (int k = s.low(2, w); k < s.high(2, w); k++) {
                        const int place = (i * s.in[1] + j) * s.in[2] + k;
                        meet(best, at, p[place], place);
                    }
            found[o] = at;
        }
    }

    // A row of windows, side by side.
    BOAT_HD void row(const T* p, int d, int h, int* found) const {
        constexpr int side = 16;
        const int stride = s.stride[2];
        for (int from = 0; from < s.out[2]; from += side) {
            const int width = s.out[2] - from < side ? s.out[2] - from : side;
            const int corner = (s.low(0, d) * s.in[1] + s.low(1, h)) * s.in[2] + s.first(2, from);
            T best[side];
            int at[side];
            for (int w = 0; w < width; w++) best[w] = p[at[w] = corner + w * stride];
            for (int i = s.low(0, d); i < s.high(0, d); i++)
                for (int j = s.low(1, h); j < s.high(1, h); j++)
                    for (int k = 0; k < s.size[2]; k++) {
                        const int place = (i * s.in[1] + j) * s.in[2] + s.first(2, from) + k;
                        #pragma omp simd
                        for (int w = 0; w < width; w++) meet(best[w], at[w], p[place + w * stride], place + w * stride);
                    }
            for (int w = 0; w < width; w++) found[from + w] = at[w];
        }
    }
};

template <class T> struct GatherBody {
    const T* x;
    const int* index;
    T* out;
    int64 in_plane, out_plane;
    template <class Team> BOAT_HD void operator()(int64 plane, Team team) const {
        for (int64 o = team.lane; o < out_plane; o += team.lanes)
            out[plane * out_plane + o] = x[plane * in_plane + index[plane * out_plane + o]];
    }
};

template <class T> struct ScatterBody {  // into zeros
    const T* g;
    const int* index;
    T* out;
    int64 in_plane, out_plane;
    template <class Team> BOAT_HD void operator()(int64 plane, Team team) const {
        for (int64 o = team.lane; o < out_plane; o += team.lanes)
            team.add_to(out + plane * in_plane + index[plane * out_plane + o], g[plane * out_plane + o]);
    }
};

inline int64 planes(const NanoVector& shape) { return shape[0] * shape[1]; }

inline NanoVector pooled(const NanoVector& shape, const int* plane) {
    NanoVector out;
    out.push_back(shape[0]);
    out.push_back(shape[1]);
    for (int i = shape.size() == 5 ? 0 : 1; i < 3; i++) out.push_back(plane[i]);
    return out;
}

inline int64 plane_size(const NanoVector& shape) {
    int64 size = 1;
    for (int i = 2; i < shape.size(); i++) size *= shape[i];
    return size;
}

struct AveragePool : Native {
    Windows windows;
    bool transposed;
    AveragePool(const vector<Var*>& inputs, const Windows& windows, bool transposed)
        : windows(windows), transposed(transposed) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return transposed ? "boat_average_unpool" : "boat_average_pool"; }
    void infer_shape() override { out()->set_shape(pooled(input(0)->shape, transposed ? windows.in : windows.out)); }
    VarPtr pullback(Var*, Var* dout, Var*, int) override { return make<AveragePool>({dout}, windows, !transposed); }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    template <class T> void compute() {
        const T* x = input(0)->ptr<T>();
        T* y = out()->ptr<T>();
        const int64 n = planes(out()->shape), in = windows.in_plane(), o = windows.out_plane();
        if (transposed)
            rows(this, n, n * in, AverageUnpoolBody<T>{x, y, windows, in, o});
        else
            rows(this, n, n * in, AveragePoolBody<T>{x, y, windows, in, o});
    }
};

struct MaxIndex : Native {
    Windows windows;
    bool smallest;
    MaxIndex(const vector<Var*>&, const Windows& windows, bool smallest) : windows(windows), smallest(smallest) {
        create_output(nullptr, ns_int32);
    }
    const char* name() const override { return "boat_max_index"; }
    void infer_shape() override { out()->set_shape(pooled(input(0)->shape, windows.out)); }
    VarPtr pullback(Var*, Var*, Var*, int) override { return nullptr; }
    void run() override { is_double(input(0)) ? compute<double>() : compute<float>(); }
    template <class T> void compute() {
        const int64 n = planes(out()->shape), in = windows.in_plane(), o = windows.out_plane();
        const T* x = input(0)->ptr<T>();
        int* index = out()->ptr<int>();
        if (smallest)
            rows(this, n, n * in, MaxIndexBody<T, true>{x, index, windows, in, o});
        else
            rows(this, n, n * in, MaxIndexBody<T, false>{x, index, windows, in, o});
    }
};

struct Gather : Native {
    NanoVector shape;  // of the output
    bool transposed;
    Gather(const vector<Var*>& inputs, NanoVector shape, bool transposed) : shape(shape), transposed(transposed) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return transposed ? "boat_scatter" : "boat_gather"; }
    void infer_shape() override { out()->set_shape(shape); }
    VarPtr pullback(Var*, Var* dout, Var* x, int index) override {
        if (index == 1) return nullptr;
        return make<Gather>({dout, input(1)}, x->shape, !transposed);
    }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    template <class T> void compute() {
        const T* x = input(0)->ptr<T>();
        const int* index = input(1)->ptr<int>();
        T* y = out()->ptr<T>();
        const int64 n = planes(shape), o = plane_size(input(1)->shape);
        if (transposed) {
            const int64 in = plane_size(shape);
            fill_zero(this, y, out()->num);
            rows(this, n, n * in, ScatterBody<T>{x, index, y, in, o});
        } else {
            const int64 in = plane_size(input(0)->shape);
            rows(this, n, n * in, GatherBody<T>{x, index, y, in, o});
        }
    }
};

}  // namespace boat
}  // namespace jittor
