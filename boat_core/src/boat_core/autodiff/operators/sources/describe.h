// What a graph is, a line for each operator: its kind, all that its kernel depends on, its inputs by place and the shapes
// of what it gives; and the numbers in it. Two graphs with the same lines and numbers compute the same from the same inputs.
#pragma once
#include "ops/getitem_op.h"
#include "ops/safe_clip_op.h"
#include "ops/setitem_op.h"
#include "program.h"

namespace jittor {
namespace boat {

class Description {
    std::unordered_map<Node*, int> places;  // of inputs, and of what operators give

  public:
    vector<string> lines;
    vector<double> numbers;  // in the order of the operators, see `numbers_of`

    Description(const vector<VarHolder*>& inputs, const vector<VarHolder*>& outputs) {
        for (VarHolder* input : inputs) places.emplace(input->var, int(places.size()));
        for (Op* op : behind(outputs)) {
            lines.push_back(line(op));
            for (const Number& number : numbers_of(op)) numbers.push_back(number.value());
        }
        std::stringstream ends;
        for (VarHolder* output : outputs) write(ends, output->var);
        lines.push_back(ends.str());
    }

  private:
    vector<Op*> behind(const vector<VarHolder*>& outputs) {
        std::unordered_set<Node*> seen;
        vector<Node*> open;
        vector<Op*> found;
        for (VarHolder* output : outputs) open.push_back(output->var);
        while (!open.empty()) {
            Node* node = open.back();
            open.pop_back();
            if (node->is_finished() || !seen.insert(node).second) continue;
            if (!node->is_var()) found.push_back(node->op());
            for (auto& input : node->_inputs) open.push_back(input.node);
        }
        std::sort(found.begin(), found.end(), [](Op* a, Op* b) { return a->id < b->id; });
        return found;
    }

    // A variable by its place, or by its identity if it comes from outside.
    void write(std::ostream& line, Var* v) {
        auto found = places.find(v);
        if (found != places.end()) line << ' ' << found->second;
        else line << " id " << v->id;
    }

    string line(Op* op) {
        std::stringstream line;
        line << op->name_ex() << ' ' << op->flags.get(NodeFlags::_op_type, NodeFlags::_op_type_nbits);
        contents(line, op);
        if (!known(op)) return line.str();
        JK& key = get_jk();
        key.clear();
        if (op->name() == string("array")) line << static_cast<ArrayOp*>(op)->output->dtype();
        else op->jit_prepare(key);
        line << ' ' << key.to_string();
        for (Var* v : op->inputs()) write(line, v);
        for (Var* v : op->outputs()) {
            const int place = int(places.size());
            places.emplace(v, place);
            line << " ->" << place << v->shape << v->dtype();
        }
        return line.str();
    }

    static void contents(std::ostream& line, Op* op) {
        const string name = op->name();
        uint64 digest = 0;
        if (name == "array" && op->type() == OpType::other) {
            auto* array = static_cast<ArrayOp*>(op);
            const auto* bytes = static_cast<const unsigned char*>(array->allocation.ptr);
            for (int64 i = 0; i < array->output->size; i++) mix(digest, bytes[i]);
        } else if (name == "safe_clip") {
            digest_into(digest, static_cast<SafeClipOp*>(op)->left);
            digest_into(digest, static_cast<SafeClipOp*>(op)->right);
        } else if (name == "getitem") {
            slices(digest, static_cast<GetitemOp*>(op)->vs);
        } else if (name == "setitem") {
            slices(digest, static_cast<SetitemOp*>(op)->vs);
        } else if (auto* call = dynamic_cast<Call*>(op)) {
            line << ' ' << call->label << ' ' << call->leaves;
            digest_into(digest, call->like);
        } else if (auto* native = dynamic_cast<Native*>(op)) {
            digest = native->arguments;
        }
        line << ' ' << digest;
    }

    static void slices(uint64& digest, const VarSlices& all) {
        mix(digest, all.n);
        for (int i = 0; i < all.n; i++) {
            const VarSlice& one = all.slices[i];
            mix(digest, uint64(one.slice.mask));
            if (one.is_int()) mix(digest, uint64(one.i));
            if (one.is_slice() || one.is_str())
                for (int64 number : {one.slice.start, one.slice.stop, one.slice.step}) mix(digest, uint64(number));
        }
    }
};

}  // namespace boat
}  // namespace jittor
