// What serves derivatives and packs rather than formulas: the pairing from which a pullback starts, and a pack's kernel
// as an operator.
#pragma once
#include "native.h"

namespace jittor {
namespace boat {

// ⟨outputs, cotangents⟩, for its derivative alone: the cotangents themselves, without a product on the way.
struct Pairing : Native {
    int pairs;
    Pairing(const vector<Var*>& inputs) : pairs(int(inputs.size()) / 2) {
        flags.set(NodeFlags::_grads);
        create_output(NanoVector(1), inputs[0]->dtype());
    }
    const char* name() const override { return "boat_pairing"; }
    void run() override { LOGf << "a pairing is there for its derivative, not to be computed"; }
    void grads(Var**, VarPtr* dins) override {
        for (int i = 0; i < pairs; i++) dins[i] = VarPtr(input(pairs + i));
    }
};

// Groups of leaves go in, group by group; groups like some of them come out, and float64 results after those.
struct Call : Native {
    boat_function function;
    string label;
    int leaves, groups;
    vector<int> like;
    vector<double> numbers;

    Call(const vector<Var*>& inputs, boat_function function, const string& label, int leaves, const vector<int>& like,
         int results, const vector<double>& numbers)
        : function(function), label(label), leaves(leaves), groups(int(inputs.size()) / leaves), like(like),
          numbers(numbers) {
        flags.set(NodeFlags::_manual_set_vnbb);  // nothing of it is needed for a derivative
        for (int group : like)
            for (int leaf = 0; leaf < leaves; leaf++) create_output(nullptr, inputs[group * leaves + leaf]->dtype());
        if (results) create_output(NanoVector(results), ns_float64);
    }
    const char* name() const override { return "boat_call"; }
    void infer_shape() override {
        for (int i = 0; i < arrays(); i++) output(i)->set_shape(input(like[i / leaves] * leaves + i % leaves)->shape);
    }
    VarPtr grad(Var*, Var*, Var*, int) override {
        LOGf << "kernel" << label << "has no derivative: what goes into it must be detached";
        return nullptr;
    }
    void run() override {
        vector<const void*> in;
        vector<void*> out;
        vector<int64_t> sizes;
        for (Var* v : inputs()) in.push_back(v->mem_ptr);
        for (Var* v : outputs()) out.push_back(v->mem_ptr);
        for (int leaf = 0; leaf < leaves; leaf++) sizes.push_back(input(leaf)->num);
        auto* results = int(out.size()) > arrays() ? static_cast<double*>(out.back()) : nullptr;
        const boat_call call{leaves,         groups,  int(like.size()),      sizes.data(), in.data(), out.data(),
                             numbers.data(), results, is_double(input(0)), on_device()};
        if (const char* error = function(&call)) LOGf << "kernel" << label << ">>" << error;
    }
    int arrays() const { return int(like.size()) * leaves; }
};

}  // namespace boat
}  // namespace jittor
