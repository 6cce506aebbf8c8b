// Convolution of images x [N, C, H, W] with w [O, C/groups, kh, kw], y [N, O, oh, ow], and what it turns into when
// differentiated: each of the three roles is linear in both of its inputs, so the three close under differentiation.
//
//     forward(x, w) → y      ∂x: to_input(w, g)      ∂w: to_weight(x, g)
//     to_input(w, y) → x     ∂w: to_weight(g, y)     ∂y: forward(g, w)
//     to_weight(x, y) → w    ∂x: to_input(g, y)      ∂y: forward(x, g)
//
// float32 on a CPU goes through oneDNN where it is there; the rest through columns (im2col) and matrix products.
#pragma once
#include "gemm.h"

namespace jittor {
namespace boat {

struct Convolution {
    int in[2], out[2], kernel[2], stride[2], padding[2], dilation[2];
    int in_channels, out_channels, groups;

    void digest_into(uint64& digest) const {
        for (const auto* numbers : {in, out, kernel, stride, padding, dilation})
            for (int axis = 0; axis < 2; axis++) mix(digest, numbers[axis]);
        for (int number : {in_channels, out_channels, groups}) mix(digest, number);
    }
};

template <class T> struct ColumnsBody {  // row (image, channel of the group, kh, kw) of [images, C/groups·kh·kw, oh·ow]
    const T* x;
    T* columns;
    Convolution c;
    int group;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const int per_group = c.in_channels / c.groups;
        const int kw = row % c.kernel[1], kh = row / c.kernel[1] % c.kernel[0];
        const int64 rest = row / c.kernel[1] / c.kernel[0];
        const int64 channel = (rest / per_group) * c.in_channels + group * per_group + rest % per_group;
        const T* plane = x + channel * c.in[0] * c.in[1];
        const int size = c.out[0] * c.out[1];
        T* out = columns + row * size;
        for (int o = team.lane; o < size; o += team.lanes) {
            const int i = o / c.out[1] * c.stride[0] - c.padding[0] + kh * c.dilation[0];
            const int j = o % c.out[1] * c.stride[1] - c.padding[1] + kw * c.dilation[1];
            out[o] = i < 0 || j < 0 || i >= c.in[0] || j >= c.in[1] ? T(0) : plane[i * c.in[1] + j];
        }
    }
};

template <class T> struct FromColumnsBody {  // plane (image, channel of the group): the transpose of the above
    const T* columns;
    T* x;
    Convolution c;
    int group;
    template <class Team> BOAT_HD void operator()(int64 row, Team team) const {
        const int per_group = c.in_channels / c.groups, size = c.out[0] * c.out[1], cells = c.in[0] * c.in[1];
        const T* from = columns + row * c.kernel[0] * c.kernel[1] * size;
        T* plane = x + ((row / per_group) * c.in_channels + group * per_group + row % per_group) * cells;
        for (int cell = team.lane; cell < cells; cell += team.lanes) {
            T sum = 0;
            for (int kh = 0; kh < c.kernel[0]; kh++) {
                const int i = cell / c.in[1] + c.padding[0] - kh * c.dilation[0];
                if (i < 0 || i % c.stride[0] || i / c.stride[0] >= c.out[0]) continue;
                for (int kw = 0; kw < c.kernel[1]; kw++) {
                    const int j = cell % c.in[1] + c.padding[1] - kw * c.dilation[1];
                    if (j < 0 || j % c.stride[1] || j / c.stride[1] >= c.out[1]) continue;
                    sum += from[(kh * c.kernel[1] + kw) * size + i / c.stride[0] * c.out[1] + j / c.stride[1]];
                }
            }
            plane[cell] = sum;
        }
    }
};

template <class T> struct AddImagesBody {  // total += Σ over images
    const T* parts;
    double* total;
    int64 images, size;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        for (int64 n = 0; n < images; n++)
            #pragma omp simd
            for (int64 i = begin; i < end; i++) total[i] += double(parts[n * size + i]);
    }
};

template <class T> struct RoundBody {
    const double* total;
    T* out;
    BOAT_HD void operator()(int64 begin, int64 end) const {
        #pragma omp simd
        for (int64 i = begin; i < end; i++) out[i] = T(total[i]);
    }
};

// Memory that grows to what was needed most: Jittor runs one operator at a time.
template <class T, int slot> T* scratch(const Native* op, int64 n) {
    static int64 held[2];
    static void* place[2];
    const bool device = op->on_device();
    if (held[device] < n) {
#ifdef __CUDACC__
        if (device) {
            cudaFree(place[1]);
            ASSERT(cudaMalloc(&place[1], n * sizeof(T)) == cudaSuccess) << "conv2d: no memory for the columns";
            held[1] = n;
            return (T*)place[1];
        }
#endif
        std::free(place[0]);
        place[0] = std::malloc(n * sizeof(T));
        ASSERT(place[0]) << "conv2d: no memory for the columns";
        held[0] = n;
    }
    return (T*)place[device];
}

bool onednn_convolution(const Convolution&, int role, int images, const void* a, const void* b, void* out);

struct Conv2d : Native {
    enum Role { forward, to_input, to_weight };
    Convolution c;
    Role role;

    Conv2d(const vector<Var*>& inputs, const Convolution& c, Role role) : c(c), role(role) {
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override {
        return role == forward ? "boat_conv2d" : role == to_input ? "boat_conv2d_to_input" : "boat_conv2d_to_weight";
    }
    int64 images() { return role == to_input ? input(1)->shape[0] : input(0)->shape[0]; }
    void infer_shape() override {
        if (role == forward)
            out()->set_shape(NanoVector(images(), c.out_channels, c.out[0], c.out[1]));
        else if (role == to_input)
            out()->set_shape(NanoVector(images(), c.in_channels, c.in[0], c.in[1]));
        else
            out()->set_shape(NanoVector(c.out_channels, c.in_channels / c.groups, c.kernel[0], c.kernel[1]));
    }
    VarPtr pullback(Var*, Var* g, Var*, int index) override {
        Var *a = input(0), *b = input(1);
        switch (role) {
            case forward: return index == 0 ? make<Conv2d>({b, g}, c, to_input) : make<Conv2d>({a, g}, c, to_weight);
            case to_input: return index == 0 ? make<Conv2d>({g, b}, c, to_weight) : make<Conv2d>({g, a}, c, forward);
            default: return index == 0 ? make<Conv2d>({g, b}, c, to_input) : make<Conv2d>({a, g}, c, forward);
        }
    }
    void run() override {
        if (is_double(out())) return compute<double>();
#ifdef BOAT_ONEDNN
        if (!on_device() && images() > 0 && (role == to_weight ? onednn_to_weight() : onednn())) return;
#endif
        compute<float>();
    }

#ifdef BOAT_ONEDNN
    bool onednn() {
        return onednn_convolution(c, role, int(images()), input(0)->mem_ptr, input(1)->mem_ptr, out()->mem_ptr);
    }

    // oneDNN adds up all images and places one after the other: some of them at a time, and those sums in float64.
    bool onednn_to_weight() {
        constexpr int64 many = 1 << 15, some_places = 1 << 11;
        const int64 n = images(), places = int64(c.out[0]) * c.out[1];
        if (n * places < many) return onednn();
        const int64 some = std::max<int64>(1, some_places / places);
        const int height = int(std::max<int64>(1, std::min<int64>(c.out[0], some_places / c.out[1])));
        vector<double> total(out()->num);
        for (int64 first = 0; first < n; first += some)
            for (int top = 0; top < c.out[0]; top += height)
                if (!add_strip(first, std::min(some, n - first), top, std::min(height, c.out[0] - top), total)) return false;
        std::copy(total.begin(), total.end(), out()->ptr<float>());
        return true;
    }

    // total += the part of the rows [top, top + height) of y in some images.
    bool add_strip(int64 first, int64 some, int top, int height, vector<double>& total) {
        const float *x = input(0)->ptr<float>() + first * c.in_channels * c.in[0] * c.in[1],
                    *y = input(1)->ptr<float>() + first * c.out_channels * c.out[0] * c.out[1];
        Convolution strip = c;
        vector<float> rows_of_x, rows_of_y;
        if (height < c.out[0]) {
            strip.padding[0] = 0;
            strip.out[0] = height;
            strip.in[0] = (height - 1) * c.stride[0] + (c.kernel[0] - 1) * c.dilation[0] + 1;
            rows_of_x = copied_rows(x, some * c.in_channels, c.in, top * c.stride[0] - c.padding[0], strip.in[0]);
            rows_of_y = copied_rows(y, some * c.out_channels, c.out, top, height);
            x = rows_of_x.data(), y = rows_of_y.data();
        }
        float* part = out()->ptr<float>();
        if (!onednn_convolution(strip, role, int(some), x, y, part)) return false;
        for (int64 i = 0; i < out()->num; i++) total[i] += double(part[i]);
        return true;
    }

    // Rows [top, top + height) of each plane, zeros where it has none.
    static vector<float> copied_rows(const float* from, int64 planes, const int* plane, int top, int height) {
        const int64 width = plane[1];
        vector<float> rows(planes * height * width, 0.f);
        const int low = std::max(0, top), high = std::min(plane[0], top + height);
        for (int64 p = 0; p < planes && low < high; p++)
            std::copy(from + (p * plane[0] + low) * width, from + (p * plane[0] + high) * width,
                      rows.begin() + (p * height + low - top) * width);
        return rows;
    }
#endif

    template <class T> void compute() {
        const int in_group = c.in_channels / c.groups, out_group = c.out_channels / c.groups;
        const int depth = in_group * c.kernel[0] * c.kernel[1], size = c.out[0] * c.out[1];
        const int64 in_size = int64(c.in_channels) * c.in[0] * c.in[1], out_size = int64(c.out_channels) * size;
        const int64 weights = int64(out_group) * depth, n = images();
        const int64 most = std::max<int64>(1, (int64(1) << 26) / std::max<int64>(1, int64(depth) * size * sizeof(T)));
        const T *a = input(0)->ptr<T>(), *b = input(1)->ptr<T>();
        T* result = out()->ptr<T>();
        double* total = role == to_weight ? scratch<double, 2>(this, out()->num) : nullptr;
        if (total) fill_zero(this, total, out()->num);
        for (int64 first = 0; first < n; first += most) {
            const int64 some = std::min(most, n - first);
            T* columns = scratch<T, 0>(this, some * depth * size);
            for (int g = 0; g < c.groups; g++) {
                const int64 from = first * out_size + int64(g) * out_group * size, w = g * weights;
                if (role == to_input) {
                    gemm<T>(this, true, false, depth, size, out_group, a + w, b + from, columns, some, 0, out_size);
                    rows(this, some * in_group, some * depth * size,
                         FromColumnsBody<T>{columns, result + first * in_size, c, g});
                    continue;
                }
                rows(this, some * depth, some * depth * size, ColumnsBody<T>{a + first * in_size, columns, c, g});
                if (role == forward) {
                    for (int64 i = 0; i < (c.groups > 1 ? some : 1); i++)  // groups leave gaps between the images
                        gemm<T>(this, false, false, out_group, size, depth, b + w, columns + i * depth * size,
                                result + from + i * out_size, c.groups > 1 ? 1 : some, 0, int64(depth) * size);
                } else {
                    T* parts = scratch<T, 1>(this, some * weights);
                    gemm<T>(this, false, true, out_group, depth, size, b + from, columns, parts, some, out_size,
                            int64(depth) * size);
                    each(this, weights, AddImagesBody<T>{parts, total + w, some, weights});
                }
            }
        }
        if (total) each(this, out()->num, RoundBody<T>{total, result});
    }
};

}  // namespace boat
}  // namespace jittor
