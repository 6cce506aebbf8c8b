// In which launches, and in which order, Jittor would compute some variables: what its executor decides before it runs
// anything, decided here for a graph that is not run.
//
// Jittor fuses neighbouring operators into one kernel. `count_fuse`, which the core exports, makes the groups; the order of the
// groups and the order of the operators inside a group are part of the name of the compiled kernel. Both must therefore be
// those of Jittor's executor (1.3.11.0), or every kernel would be compiled a second time under another name.
//
// An operator whose result several groups need, and which is cheap, is computed again in each of them: it is "shared".
#pragma once
#include <queue>
#include "executor.h"
#include "fused_op.h"
#include "fuser.h"
#include "node.h"
#include "parallel_compiler.h"
#include "var.h"

namespace jittor {
namespace boat {

class Schedule {
    enum Fate { inside = 0, stored = 1, cheap = 2, repeated = 3 };  // of a variable, as `count_fuse` says
    static constexpr size_t most_repeated = 32;                     // operators repeated in one group

    int64 mark;              // of all that is to be computed
    vector<Op*> ops;         // `custom_data` of a node is its place here or in `vars`
    vector<Var*> vars;
    vector<int> group;       // of an operator: the first operator of its group
    vector<int> fate;        // of a variable
    vector<int> next;        // of an operator: another one of its group; the chain begins at the first one
    vector<int> waiting;     // of an operator or a group: how many inputs are not there yet
    vector<int> order;       // the groups, by their first operators
    vector<int> sequence;    // the operators of all groups, one group after another, the last group first
    vector<int> ends;        // where in `sequence` a group ends

    bool wanted(const Node* node) const { return node->tflag == mark; }
    int place(Node* node) const { return node->custom_data; }

    // All unfinished nodes behind the targets, in the order in which Jittor meets them: from a node it goes to what the node
    // reads, and then to who else reads the node. That order decides between ways to make groups.
    template <class Behind> int collect(const vector<Var*>& targets, Behind behind) {
        vector<Node*> nodes;
        int64 latest = 0;
        const auto meet = [&](Node* node) {
            if (wanted(node) || node->is_finished()) return;
            node->tflag = mark;
            nodes.push_back(node);
        };
        for (Var* target : targets) {
            meet(target);
            if (!target->is_finished()) latest = std::max(latest, target->id);
        }
        const int starts = int(nodes.size());
        for (size_t i = 0; i < nodes.size(); i++) {
            for (auto& input : nodes[i]->_inputs) meet(input.node);
            for (auto& reader : nodes[i]->_outputs)
                if (reader.node->pending_liveness && reader.node->id <= latest && behind(reader.node)) meet(reader.node);
        }
        for (Node* node : nodes)
            if (node->is_var()) {
                node->custom_data = int(vars.size());
                vars.push_back(node->var());
            } else {
                node->custom_data = int(ops.size());
                ops.push_back(node->op());
            }
        return starts;
    }

    void make_groups(int starts) {
        const int count = int(ops.size());
        group.resize(count);
        for (int i = 0; i < count; i++) group[i] = i;
        fate.resize(vars.size());
        count_fuse(mark, starts, ops, vars, group, fate);
        next.assign(count, -1);
        waiting.assign(count, 0);
        for (int i = 0; i < count; i++) {
            int first = i;
            while (group[first] != first) first = group[first];
            group[i] = first;
            if (first == i) continue;
            next[i] = next[first];
            next[first] = i;
        }
    }

    // Groups in the order of their first operators' age, each after those whose results it reads.
    void order_groups() {
        std::priority_queue<std::pair<int64, int64>> ready;
        size_t count = 0;
        for (int first = 0; first < int(ops.size()); first++) {
            if (group[first] != first) continue;
            count++;
            for (int i = first; i >= 0; i = next[i])
                for (Var* v : ops[i]->inputs()) waiting[first] += wanted(v) && group[place(v->input())] != first;
            if (!waiting[first]) ready.emplace(-ops[first]->order(), first);
        }
        while (!ready.empty()) {
            const int first = int(ready.top().second);
            ready.pop();
            order.push_back(first);
            for (int i = first; i >= 0; i = next[i])
                for (Var* v : ops[i]->outputs()) {
                    if (!wanted(v)) continue;
                    for (Op* reader : v->outputs()) {
                        if (!wanted(reader) || group[place(reader)] == first) continue;
                        const int other = group[place(reader)];
                        if (--waiting[other] == 0) ready.emplace(-ops[other]->order(), other);
                    }
                }
        }
        ASSERTop(order.size(), ==, count);
    }

    // The operators of every group in the order in which its kernel computes them, shared ones before its own.
    void order_operators() {
        ends.resize(order.size());
        vector<int> shared_by(ops.size(), -1);
        for (size_t turn = 0; turn < order.size(); turn++) {
            const int first = order[order.size() - turn - 1];
            vector<int> own, shared;
            int members = 0;
            for (int i = first; i >= 0; i = next[i], members++) {
                for (Var* v : ops[i]->inputs())
                    if (wanted(v)) claim(v, i, first, shared, shared_by);
                if (!waiting[i]) own.push_back(i);
            }
            const vector<int> repeated_order = order_shared(first, shared, shared_by);
            for (size_t i = 0; i < own.size(); i++)
                for (Var* v : ops[own[i]]->outputs()) {
                    if (!wanted(v)) continue;
                    for (Op* reader : v->outputs())
                        if (wanted(reader) && group[place(reader)] == first && --waiting[place(reader)] == 0)
                            own.push_back(place(reader));
                }
            ASSERTop(int(own.size()), ==, members);
            sequence.insert(sequence.end(), repeated_order.rbegin(), repeated_order.rend());
            sequence.insert(sequence.end(), own.begin(), own.end());
            ends[turn] = int(sequence.size());
        }
    }

    // An input of a group's operator: made in the group, or stored, or made once more here.
    void claim(Var* v, int reader, int first, vector<int>& shared, vector<int>& shared_by) {
        const int maker = place(v->input());
        if (group[maker] == first) {
            waiting[reader]++;
            return;
        }
        if (shared_by[maker] == first) return;
        int& how = fate[place(v)];
        if (how == stored) return;
        if (how == cheap) how = repeated;
        waiting[maker] = 0;
        shared_by[maker] = first;
        shared.push_back(maker);
    }

    // Shared operators may need further ones; the result lists them from the last to the first.
    vector<int> order_shared(int first, vector<int>& shared, vector<int>& shared_by) {
        const size_t direct = shared.size();
        for (size_t i = 0; i < shared.size(); i++)
            for (Var* v : ops[shared[i]]->inputs()) {
                if (!wanted(v)) continue;
                int& how = fate[place(v)];
                if (how == stored) continue;
                if (how == cheap) {
                    how = shared.size() - direct < most_repeated ? repeated : stored;
                    if (how == stored) continue;
                }
                const int maker = place(v->input());
                if (shared_by[maker] == first) {
                    waiting[maker]++;
                    continue;
                }
                shared_by[maker] = first;
                waiting[maker] = 1;
                shared.push_back(maker);
            }
        vector<int> found;
        for (size_t i = 0; i < direct; i++)
            if (!waiting[shared[i]]) found.push_back(shared[i]);
        for (size_t i = 0; i < found.size(); i++)
            for (Var* v : ops[found[i]]->inputs())
                if (wanted(v) && fate[place(v)] != stored && --waiting[place(v->input())] == 0)
                    found.push_back(place(v->input()));
        ASSERTop(found.size(), ==, shared.size());
        return found;
    }

  public:
    // Compiles what is not compiled. `behind(node)` tells whether a node leads to the targets and is not computed yet.
    template <class Behind> Schedule(const vector<Var*>& targets, Behind behind) : mark(++tflag_count) {
        make_groups(collect(targets, behind));
        order_groups();
        order_operators();
        for (size_t i = 0; i < vars.size(); i++) vars[i]->custom_data = fate[i] == stored;
        FusedOp scratch;
        parallel_compile_all_ops(order, ends, scratch, sequence, ops, mark, 1);
    }

    // Call `kernel` with every fused operator and `alone` with every other one, in order.
    template <class Kernel, class Alone> void each(Kernel kernel, Alone alone) {
        FusedOp loaded;
        for (size_t turn = 0; turn < order.size(); turn++) {
            Op* op = ops[order[turn]];
            if (op->type() == OpType::other) {
                alone(op);
                continue;
            }
            const size_t back = order.size() - turn - 1;
            load_fused_op(loaded, sequence, ops, back ? ends[back - 1] : 0, ends[back], mark);
            kernel(loaded);
        }
    }
};

}  // namespace boat
}  // namespace jittor
