// Σ ⟨outputs, cotangents⟩ differentiated with respect to targets, in reverse: what Jittor's own `grad` does for one
// number, but that cotangents are given, and that those which meet at a variable are added in as few passes as can be:
// products of matrices add themselves to what is there, and a row that was spread is added as a row.
//
//     Sum(arrays…, rows…, A₁, B₁, …)   Σ arrays + Σ rows + Σ op(A)·op(B)
//
// The results are detached: a sum has no derivative. `gradient` is the same for one number, with results that can be
// differentiated again. Both add up many float32 numbers in float64.
#pragma once
#include "bias.h"
#include "matmul.h"
#include "sums.h"

namespace jittor {
namespace boat {

constexpr int most_terms = 6;

template <class T> struct SumBody {  // arrays and rows, in one pass over the rows of the sum
    const T* array[most_terms];
    const T* row[most_terms];
    T* out;
    int arrays, rows;
    int64 width;
    template <class Team> BOAT_HD void operator()(int64 at, Team team) const {
        T* o = out + at * width;
        for (int k = 0; k < arrays + rows; k++) {
            const T* v = k < arrays ? array[k] + at * width : row[k - arrays];
            if (k == 0) {
                #pragma omp simd
                for (int64 i = team.lane; i < width; i += team.lanes) o[i] = v[i];
            } else {
                #pragma omp simd
                for (int64 i = team.lane; i < width; i += team.lanes) o[i] += v[i];
            }
        }
    }
};

struct Sum : Native {
    int arrays, spread;
    vector<std::pair<bool, bool>> transposed;  // of each product

    Sum(const vector<Var*>& inputs, int arrays, int spread, const vector<std::pair<bool, bool>>& transposed)
        : arrays(arrays), spread(spread), transposed(transposed) {
        flags.set(NodeFlags::_manual_set_vnbb);
        create_output(nullptr, inputs[0]->dtype());
    }
    const char* name() const override { return "boat_sum"; }
    void infer_shape() override {
        if (arrays) {
            out()->set_shape(input(0)->shape);
            return;
        }
        Var *a = input(spread), *b = input(spread + 1);
        out()->set_shape(NanoVector(a->shape[transposed[0].first], b->shape[!transposed[0].second]));
    }
    void run() override { is_double(out()) ? compute<double>() : compute<float>(); }
    template <class T> void compute() {
        T* sum = out()->ptr<T>();
        const int64 all = out()->num, width = out()->shape.size() ? out()->shape[out()->shape.size() - 1] : 1;
        int at = arrays + spread;
        if (at) {
            SumBody<T> body{{}, {}, sum, arrays, spread, width};
            for (int k = 0; k < arrays; k++) body.array[k] = input(k)->ptr<T>();
            for (int k = 0; k < spread; k++) body.row[k] = input(arrays + k)->ptr<T>();
            rows(this, width ? all / width : 0, all, body);
        }
        for (int k = 0; k < int(transposed.size()); k++, at += 2) {
            const auto [ta, tb] = transposed[k];
            const auto &a = input(at)->shape, &b = input(at + 1)->shape;
            gemm<T>(this, ta, tb, int(a[ta]), int(b[!tb]), int(a[!ta]), input(at)->ptr<T>(), input(at + 1)->ptr<T>(), sum,
                    1, 0, 0, arrays + spread + k > 0);
        }
    }
};

inline VarPtr plain_sum(vector<VarPtr>&& parts) {
    VarPtr total = move(parts[0]);
    for (size_t k = 1; k < parts.size(); k++) {
        total = plus(total, parts[k]);
        if (k % 16 == 0) total->flags.set(NodeFlags::_stop_fuse);  // or Jittor makes one kernel of all of it
    }
    return total;
}

// The sum of what reached one variable, without a derivative.
inline VarPtr sum_of(vector<VarPtr>&& parts) {
    if (parts.size() == 1) return move(parts[0]);
    vector<Var*> arrays, spread, factors;
    vector<std::pair<bool, bool>> transposed;
    Var* first = parts[0];
    const bool served = first->dtype() == ns_float32 || first->dtype() == ns_float64;
    for (VarPtr& part : parts) {
        if (!served || part->dtype() != first->dtype() || part->shape != first->shape) {
            transposed.clear(), spread.clear();
            break;
        }
        // Made for this sum alone? Then it need not be there at all.
        Op* op = part->backward_liveness == 1 && part->_outputs.empty() ? part->input() : nullptr;
        if (auto* product = dynamic_cast<Matmul*>(op); product && !product->biased && !product->squashed && part->shape.size() == 2) {
            factors.push_back(product->input(0));
            factors.push_back(product->input(1));
            transposed.emplace_back(product->trans_a, product->trans_b);
        } else if (auto* row = dynamic_cast<ChannelSpread*>(op); row && row->axis == part->shape.size() - 1) {
            spread.push_back(row->input(0));
        } else {
            arrays.push_back(part);
        }
    }
    const int terms = int(arrays.size() + spread.size());
    if ((transposed.empty() && spread.empty()) || terms > most_terms || (transposed.empty() && arrays.empty()))
        return plain_sum(move(parts));
    vector<Var*> inputs = arrays;
    inputs.insert(inputs.end(), spread.begin(), spread.end());
    inputs.insert(inputs.end(), factors.begin(), factors.end());
    return make<Sum>(inputs, int(arrays.size()), int(spread.size()), transposed);
}

class Pull {
    struct Edge {
        Var* var;
        int index;  // of the operator's input
        int place;  // in `parts`, -1 for what leads to no target
    };
    struct Station {  // a variable, or an operator with its edges
        Op* op;
        int place;
        vector<Edge> inputs, outputs;
    };
    vector<Station> stations;  // from the outputs to the targets, all that lies between
    vector<vector<VarPtr>> parts;
    vector<VarPtr> sums;
    vector<Edge> targets;

    void give(const Edge& edge, VarPtr&& part, const vector<Var*>& from) {
        if (!part || edge.place < 0) return;
        // An operator may hand on what it was given, which stays as it is.
        const bool made = std::find(from.begin(), from.end(), part.ptr) == from.end();
        VarPtr cotangent = made ? widened(move(part)) : move(part);
        // Where dtypes meet, Jittor's derivatives have the wider one. A variable's cotangent has that of the variable.
        cotangent = as_dtype(cotangent, edge.var->dtype());
        if (edge.var->loop_options) cotangent->loop_options = edge.var->loop_options;
        parts[edge.place].push_back(move(cotangent));
    }

    void pass(const Station& station) {
        vector<Var*> cotangents;
        for (const Edge& out : station.outputs) cotangents.push_back(out.place < 0 ? nullptr : sums[out.place].ptr);
        if (station.op->flags.get(NodeFlags::_grads)) {
            vector<VarPtr> found(station.inputs.size());
            station.op->grads(cotangents.data(), found.data());
            for (size_t i = 0; i < found.size(); i++) give(station.inputs[i], move(found[i]), cotangents);
            return;
        }
        for (size_t k = 0; k < cotangents.size(); k++)
            for (const Edge& in : station.inputs)
                if (cotangents[k] && in.place >= 0 && in.index >= 0)
                    give(in, station.op->grad(station.outputs[k].var, cotangents[k], in.var, in.index), cotangents);
    }

  public:
    Pull(const vector<Var*>& wanted, const vector<Var*>& outputs, const vector<Var*>& cotangents) {
        vector<Node*> reached(wanted.begin(), wanted.end()), back, order;
        bfs_forward(reached, [](Node*) { return true; });
        const int64 forward = tflag_count;
        for (Var* out : outputs)
            if (out->tflag == forward) {
                back.push_back(out);
                out->tflag = 0;  // each once
            }
        bfs_backward(back, [&](Node* node) { return node->tflag == forward && !node->is_stop_grad(); });
        toplogical_sort_backward(back, order, [](Node*) {});
        const int64 between = tflag_count;
        int places = 0;
        for (Node* node : order)
            if (node->is_var()) node->custom_data = places++;
        const auto edge = [&](Var* v, int index) { return Edge{v, index, v->tflag == between ? v->custom_data : -1}; };
        parts.resize(places);
        sums.resize(places);
        // All that the graph is asked is asked now: what derivatives add to it moves its marks and lists.
        for (Node* node : order) {
            Station station{nullptr, node->custom_data, {}, {}};
            if (!node->is_var()) {
                station.op = node->op();
                for (auto& in : node->_inputs) station.inputs.push_back(edge(in.node->var(), in.back->index));
                for (auto& out : node->_outputs) station.outputs.push_back(edge(out.node->var(), 0));
            }
            stations.push_back(move(station));
        }
        for (Var* v : wanted) targets.push_back(edge(v, 0));
        for (size_t k = 0; k < outputs.size(); k++) give(edge(outputs[k], 0), VarPtr(cotangents[k]), cotangents);
    }

    vector<VarPtr> found(bool differentiable = false) {
        for (const Station& station : stations) {
            if (station.op) {
                pass(station);
            } else if (auto& some = parts[station.place]; some.size()) {
                sums[station.place] = differentiable ? plain_sum(move(some)) : sum_of(move(some));
            }
        }
        static auto number = get_op_info("number").get_constructor<VarPtr, float, Var*>();
        vector<VarPtr> results;
        for (const Edge& target : targets) {
            const bool reached = target.place >= 0 && sums[target.place];
            VarPtr result = reached ? sums[target.place] : number(0.f, target.var);
            results.push_back(differentiable ? move(result) : detach(result));
        }
        return results;
    }
};

// ∇ value, as Jittor computes it unless that adds up many short numbers.
inline vector<VarPtr> gradient(Var* value, const vector<Var*>& targets) {
    const int64 before = total_node;
    vector<VarPtr> results = grad(value, targets, true);
    if (amp_reg) return results;
    vector<Node*> made;
    for (VarPtr& result : results)
        if (result->id > before) made.push_back(result.ptr);
    bfs_backward(made, [=](Node* node) { return node->id > before; });
    const bool precise = std::none_of(made.begin(), made.end(),
                                      [](Node* node) { return !node->is_var() && loses_digits(node->op()); });
    if (precise) return results;
    static auto number = get_op_info("number").get_constructor<VarPtr, float, Var*>();
    VarPtr one = number(1.f, value);
    return Pull(targets, {value}, {one}).found(true);
}

}  // namespace boat
}  // namespace jittor
