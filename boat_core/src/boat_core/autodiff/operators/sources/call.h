// A pack's kernel as an operator.
#pragma once
#include "native.h"

namespace jittor {
namespace boat {

// Groups of leaves go in, group by group; groups like some of them come out, detached, and float64 results after those.
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
