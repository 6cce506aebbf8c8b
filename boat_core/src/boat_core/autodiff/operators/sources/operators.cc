// One translation unit for all operators: the headers they share are parsed once.
#include "activation.h"
#include "bias.h"
#include "call.h"
#include "conv2d.h"
#include "cross_entropy.h"
#include "matmul.h"
#include "pool.h"
#include "pull.h"
#include "rows.h"
#include "sums.h"

namespace jittor {
#pragma GCC visibility push(default)
namespace boat {

static VarHolder* held(VarPtr&& v) { return new VarHolder(std::move(v)); }

bool served(const vector<VarHolder*>& arrays) {
    const NanoString first = arrays[0]->var->dtype();
    if ((first != ns_float32 && first != ns_float64) || amp_reg) return false;
    for (VarHolder* one : arrays)
        if (one->var->dtype() != first) return false;
    return true;
}

static vector<Var*> variables(const vector<VarHolder*>& held) {
    vector<Var*> found;
    for (VarHolder* one : held) found.push_back(one->var);
    return found;
}

vector<VarHolder*> pull(const vector<VarHolder*>& outputs, const vector<VarHolder*>& cotangents,
                        const vector<VarHolder*>& targets) {
    Pull pull(variables(targets), variables(outputs), variables(cotangents));
    return make_vh_vector(pull.found());
}

vector<VarHolder*> gradient(VarHolder* value, const vector<VarHolder*>& targets) {
    return make_vh_vector(gradient(value->var, variables(targets)));
}

VarHolder* widened(VarHolder* sum) { return held(widened(VarPtr(sum->var))); }

// All that these were made from.
static vector<Node*> behind(const vector<VarHolder*>& ends) {
    std::unordered_map<Node*, bool> seen;
    vector<Node*> open, found;
    for (VarHolder* end : ends) open.push_back(end->var);
    while (open.size()) {
        Node* node = open.back();
        open.pop_back();
        if (seen[node]) continue;
        seen[node] = true;
        found.push_back(node);
        for (Node* input : node->inputs()) open.push_back(input);
    }
    return found;
}

int64 newest() { return total_node; }

vector<int64> made_from(const vector<VarHolder*>& ends, int64 newest, const vector<int64>& last) {
    const int64 mark = ++tflag_count;
    vector<Node*> open;
    vector<int64> numbers;
    const auto meet = [&](Node* node) {
        if (node->tflag == mark || node->is_stop_grad()) return;
        node->tflag = mark;
        if (node->is_var() && node->id <= newest && node->var()->is_float()) numbers.push_back(node->id);
        if (std::find(last.begin(), last.end(), node->id) == last.end()) open.push_back(node);
    };
    for (Var* end : variables(ends)) meet(end);
    while (open.size()) {
        Node* node = open.back();
        open.pop_back();
        for (Node* input : node->inputs()) meet(input);
    }
    return numbers;
}

bool depends(VarHolder* value, const vector<int64>& nodes) {
    vector<Node*> back{value->var};
    bfs_backward(back, [](Node* node) { return !node->is_stop_grad(); });
    return std::any_of(back.begin(), back.end(), [&](Node* node) {
        return node->is_var() && std::find(nodes.begin(), nodes.end(), node->id) != nodes.end();
    });
}

int64 graph_bytes(const vector<VarHolder*>& ends) {
    std::unordered_map<void*, int64> blocks;  // by place: a clone has that of its original
    for (Node* node : behind(ends))
        if (node->is_var() && node->_inputs.size() && node->var()->mem_ptr)
            blocks[node->var()->mem_ptr] = std::max<int64>(blocks[node->var()->mem_ptr], node->var()->size);
    int64 sum = 0;
    for (auto& block : blocks) sum += block.second;
    return sum;
}

vector<string> graph_operators(const vector<VarHolder*>& ends) {
    vector<Node*> nodes = behind(ends);
    std::sort(nodes.begin(), nodes.end(), [](Node* a, Node* b) { return a->id < b->id; });
    vector<string> lines;
    for (Node* node : nodes) {
        if (node->is_var()) continue;
        std::stringstream line, dtypes;
        line << node->op()->name_ex();
        if (auto* kernel = dynamic_cast<Call*>(node->op())) line << '.' << kernel->label;
        const char* before = "|[[";
        for (Var* out : node->op()->outputs()) {
            line << before;
            for (int i = 0; i < out->shape.size(); i++) line << (i ? "," : "") << out->shape[i];
            dtypes << (dtypes.tellp() ? " " : "") << out->dtype().to_cstring();
            before = "],[";
        }
        lines.push_back(line.str() + "]]|" + dtypes.str());
    }
    return lines;
}

vector<VarHolder*> call(int64 function, const string& label, const vector<VarHolder*>& inputs, int leaves,
                        const vector<int>& like, int results, const vector<float64>& numbers) {
    const vector<Var*> in = variables(inputs);
    if (!served(inputs) || in.size() > size_t(::boat::most_groups * leaves)) return {};
    for (size_t i = 0; i < in.size(); i++)
        if (in[i]->num != in[i % leaves]->num) return {};
    auto* op = new Call(in, reinterpret_cast<boat_function>(function), label, leaves, like, results, numbers);
    vector<VarPtr> out = move(op->outputs_holder);
    for (VarPtr& one : out) one->set_inputs({op});
    op->add_inputs(in);
    op->init();
    op->set_stop_grad();
    return make_vh_vector(move(out));
}

VarHolder* matmul(VarHolder* a, VarHolder* b, bool trans_a, bool trans_b) {
    return held(make<Matmul>({a->var, b->var}, trans_a, trans_b));
}

VarHolder* tanh(VarHolder* x) {
    auto* product = dynamic_cast<Matmul*>(x->var->input());
    if (product && product->open())
        return held(make<Matmul>(product->factors(), product->trans_a, product->trans_b, true));
    return held(make<Tanh>({x->var}));
}

VarHolder* logistic(VarHolder* x) {
    return held(make<Logistic>({x->var}, 1.0, std::numeric_limits<double>::infinity()));
}

VarHolder* softplus(VarHolder* x, float64 beta, float64 threshold) {
    return held(make<Softplus>({x->var}, beta, threshold));
}

VarHolder* relu(VarHolder* x, float64 slope) { return held(make<Rectify>({x->var}, slope, true)); }

VarHolder* gelu(VarHolder* x) { return held(make<Gelu>({x->var}, 0)); }

VarHolder* softmax(VarHolder* x) { return held(make<Softmax>({x->var})); }

VarHolder* cross_entropy(VarHolder* logits, VarHolder* target) {
    return held(make<CrossEntropy>({logits->var, target->var}));
}

VarHolder* bias_add(VarHolder* x, VarHolder* b, int axis) {
    auto* product = dynamic_cast<Matmul*>(x->var->input());
    if (product && product->open() && !product->biased && axis == 1)
        return held(make<Matmul>({product->input(0), product->input(1), b->var}, product->trans_a, product->trans_b));
    return held(make<BiasAdd>({x->var, b->var}, axis));
}

static Windows windows(const NanoVector& in, const NanoVector& out, const NanoVector& size, const NanoVector& stride,
                       const NanoVector& padding) {
    Windows w;
    const int missing = 3 - out.size();
    for (int i = 0; i < 3; i++) {
        const int j = i - missing;
        w.in[i] = j < 0 ? 1 : int(in[j + 2]);
        w.out[i] = j < 0 ? 1 : int(out[j]);
        w.size[i] = j < 0 ? 1 : int(size[j]);
        w.stride[i] = j < 0 ? 1 : int(stride[j]);
        w.padding[i] = j < 0 ? 0 : int(padding[j]);
    }
    w.whole = false;
    return w;
}

VarHolder* average_pool(VarHolder* x, NanoVector out, NanoVector size, NanoVector stride, NanoVector padding, bool whole) {
    Windows w = windows(x->var->shape, out, size, stride, padding);
    w.whole = whole;
    return held(make<AveragePool>({x->var}, w, false));
}

VarHolder* max_index(VarHolder* x, NanoVector out, NanoVector size, NanoVector stride, NanoVector padding, bool smallest) {
    return held(make<MaxIndex>({x->var}, windows(x->var->shape, out, size, stride, padding), smallest));
}

VarHolder* gather(VarHolder* x, VarHolder* index) {
    return held(make<Gather>({x->var, index->var}, index->var->shape, false));
}

VarHolder* conv2d(VarHolder* x, VarHolder* w, NanoVector stride, NanoVector padding, NanoVector dilation, int groups) {
    Convolution c;
    for (int i = 0; i < 2; i++) {
        c.stride[i] = int(stride[i]);
        c.padding[i] = int(padding[i]);
        c.dilation[i] = int(dilation[i]);
        c.in[i] = int(x->var->shape[2 + i]);
        c.kernel[i] = int(w->var->shape[2 + i]);
        c.out[i] = (c.in[i] + 2 * c.padding[i] - (c.kernel[i] - 1) * c.dilation[i] - 1) / c.stride[i] + 1;
    }
    c.groups = groups;
    c.in_channels = int(x->var->shape[1]);
    c.out_channels = int(w->var->shape[0]);
    return held(make<Conv2d>({x->var, w->var}, c, Conv2d::forward));
}

}  // namespace boat
}  // namespace jittor
