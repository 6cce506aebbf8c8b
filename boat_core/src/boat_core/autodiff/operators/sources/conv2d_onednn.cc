// The three roles of conv2d in float32 by oneDNN. What it has planned for a shape is kept: planning takes longer than
// a small convolution.
#include <map>
#include <dnnl.hpp>
#include "conv2d.h"

namespace jittor {
namespace boat {

using dnnl::memory;

static dnnl::engine& cpu() {
    static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

// An array as the user has it and as the primitive wants it, and the way between.
struct Operand {
    int name;
    memory user, inner;
    bool moved;
    dnnl::reorder way;

    Operand(int name, const memory::desc& plain, const memory::desc& wanted, bool output)
        : name(name), user(plain, cpu(), nullptr), moved(plain != wanted) {
        if (!moved) return;
        inner = memory(wanted, cpu());
        way = output ? dnnl::reorder(inner, user) : dnnl::reorder(user, inner);
    }
    memory& bind(const void* place) {
        user.set_data_handle(const_cast<void*>(place));
        return moved ? inner : user;
    }
};

struct Plan {
    dnnl::primitive primitive;
    Operand a, b, out;
};

static Plan plan(const Convolution& c, int role, int images) {
    using tag = memory::format_tag;
    const auto f32 = memory::data_type::f32;
    const memory::dims x{images, c.in_channels, c.in[0], c.in[1]}, y{images, c.out_channels, c.out[0], c.out[1]};
    const int g = c.groups;
    const memory::dims w = g > 1 ? memory::dims{g, c.out_channels / g, c.in_channels / g, c.kernel[0], c.kernel[1]}
                                 : memory::dims{c.out_channels, c.in_channels, c.kernel[0], c.kernel[1]};
    const memory::desc plain_x(x, f32, tag::nchw), plain_y(y, f32, tag::nchw),
        plain_w(w, f32, g > 1 ? tag::goihw : tag::oihw);
    const memory::desc any_x(x, f32, tag::any), any_y(y, f32, tag::any), any_w(w, f32, tag::any);
    const memory::dims stride{c.stride[0], c.stride[1]}, dilation{c.dilation[0] - 1, c.dilation[1] - 1};
    const memory::dims left{c.padding[0], c.padding[1]};
    memory::dims right;
    for (int i = 0; i < 2; i++)  // what of the padding a last window does not reach
        right.push_back((c.out[i] - 1) * c.stride[i] + (c.kernel[i] - 1) * c.dilation[i] + 1 - c.in[i] - c.padding[i]);
    const auto automatic = dnnl::algorithm::convolution_direct;
    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, automatic, any_x, any_w, any_y, stride, dilation, left, right}, cpu());
    if (role == Conv2d::forward)
        return {dnnl::convolution_forward(forward),
                {DNNL_ARG_SRC, plain_x, forward.src_desc(), false},
                {DNNL_ARG_WEIGHTS, plain_w, forward.weights_desc(), false},
                {DNNL_ARG_DST, plain_y, forward.dst_desc(), true}};
    if (role == Conv2d::to_input) {
        const dnnl::convolution_backward_data::primitive_desc backward(
            {automatic, any_x, any_w, any_y, stride, dilation, left, right}, cpu(), forward);
        return {dnnl::convolution_backward_data(backward),
                {DNNL_ARG_WEIGHTS, plain_w, backward.weights_desc(), false},
                {DNNL_ARG_DIFF_DST, plain_y, backward.diff_dst_desc(), false},
                {DNNL_ARG_DIFF_SRC, plain_x, backward.diff_src_desc(), true}};
    }
    const dnnl::convolution_backward_weights::primitive_desc backward(
        {automatic, any_x, any_w, any_y, stride, dilation, left, right}, cpu(), forward);
    return {dnnl::convolution_backward_weights(backward),
            {DNNL_ARG_SRC, plain_x, backward.src_desc(), false},
            {DNNL_ARG_DIFF_DST, plain_y, backward.diff_dst_desc(), false},
            {DNNL_ARG_DIFF_WEIGHTS, plain_w, backward.diff_weights_desc(), true}};
}

// False where oneDNN has no way to do it.
bool onednn_convolution(const Convolution& c, int role, int images, const void* a, const void* b, void* out) {
    // A primitive is made for as many threads as later run it.
    Threads threads(int64(images) * c.out[0] * c.out[1] * c.out_channels * (c.in_channels / c.groups) * c.kernel[0] *
                    c.kernel[1]);
    static std::map<vector<int>, Plan> plans;
    static dnnl::stream stream(cpu());
    vector<int> key{role, images};
    const int* fields = reinterpret_cast<const int*>(&c);
    key.insert(key.end(), fields, fields + sizeof(Convolution) / sizeof(int));
    auto found = plans.find(key);
    if (found == plans.end()) {
        try {
            if (plans.size() >= 64) plans.clear();
            found = plans.emplace(key, plan(c, role, images)).first;
        } catch (const dnnl::error&) {
            return false;
        }
    }
    Plan& p = found->second;
    memory &first = p.a.bind(a), &second = p.b.bind(b), &last = p.out.bind(out);
    if (p.a.moved) p.a.way.execute(stream, p.a.user, p.a.inner);
    if (p.b.moved) p.b.way.execute(stream, p.b.user, p.b.inner);
    p.primitive.execute(stream, {{p.a.name, first}, {p.b.name, second}, {p.out.name, last}});
    if (p.out.moved) p.out.way.execute(stream, p.out.inner, p.out.user);
    stream.wait();
    return true;
}

}  // namespace boat
}  // namespace jittor
