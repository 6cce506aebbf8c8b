// Sums of many numbers. Jittor adds float32 numbers one after the other into a float32: each addition rounds the sum so
// far, always in the same direction if the numbers are alike, and a mean of 10⁶ ones is 1.009. The same sum in float64,
// rounded once at its end, is right to float32's precision. Jittor fuses the casts into the kernel of the sum.
#pragma once
#include <cstring>
#include "native.h"
#include "grad.h"
#include "graph.h"
#include "ops/reduce_op.h"
#include "ops/reindex_reduce_op.h"
#include "ops/setitem_op.h"

namespace jittor {
namespace boat {

// A sum over fewer entries cannot lose more than 10⁻⁶ of Σ |x|. Arrays that are smaller, and sums that are shorter, stay
// with Jittor to the last bit: there the casts would cost more than the sum.
constexpr int64 short_sum = 32, long_sum = 1 << 12, large_array = 1 << 15;

inline bool is_called(Op* op, const char* name) { return op && !std::strcmp(op->name(), name); }

inline VarPtr cast(Var* v, NanoString dtype) {
    static auto unary = get_op_info("unary").get_constructor<VarPtr, Var*, NanoString>();
    return unary(v, dtype);
}

inline bool is_repeated(Var* v) { return is_called(v->input(), "broadcast_to") || is_called(v->input(), "reindex"); }

// Whether this is the pattern of a matrix product or a convolution, which Jittor maps to a library where it has one.
inline bool is_contraction(Op* op) {
    static const bool library = has_op("mkl_matmul") || has_op("cublas_matmul");
    Var* terms = op->input(0);
    if (!library || op->ns != ns_add || terms->shape.size() < 3 || op->output(0)->num == 1) return false;
    Op* product = terms->input();
    if (!is_called(product, "binary") || product->ns != ns_multiply) return false;
    return is_repeated(product->input(0)) && is_repeated(product->input(1));
}

// Whether the operator adds up enough numbers in a type that is too short for that.
inline bool loses_digits(Op* op) {
    if (!op || op->outputs().size() == 0) return false;
    Var* out = op->output(0);
    if (!out->is_float() || is_double(out) || out->num <= 0) return false;
    if (is_called(op, "reduce")) {
        auto* sum = static_cast<ReduceOp*>(op);
        if ((op->ns != ns_add && op->ns != ns_mean) || is_double(sum->x)) return false;
        const int64 all = sum->x->num, terms = all / out->num;
        return terms > short_sum && (terms >= long_sum || all >= large_array) && !is_contraction(sum);
    }
    // How many numbers meet at one place is known only when the indices are.
    if (is_called(op, "reindex_reduce")) return op->ns == ns_add && op->input(0)->num >= large_array && !is_contraction(op);
    if (is_called(op, "setitem"))
        return static_cast<SetitemOp*>(op)->op == ns_add && op->inputs().size() > 1 && op->input(1)->num >= large_array;
    return false;
}

// The same sum in float64.
inline VarPtr in_double(Op* op) {
    const NanoString dtype = op->output(0)->dtype();
    VarPtr sum;
    if (is_called(op, "reduce")) {
        static auto reduce = get_op_info("reduce").get_constructor<VarPtr, Var*, NanoString, uint, uint>();
        auto* one = static_cast<ReduceOp*>(op);
        sum = reduce(cast(one->x, ns_float64), op->ns, one->reduce_mask, one->keepdims_mask);
    } else if (is_called(op, "reindex_reduce")) {
        static auto scatter = get_op_info("reindex_reduce").get_constructor<VarPtr, Var*, NanoString, NanoVector,
            vector<string>&&, vector<string>&&, vector<Var*>&&>();
        auto* one = static_cast<ReindexReduceOp*>(op);
        auto indexes = one->indexes, conditions = one->overflow_conditions;
        vector<Var*> extras;
        for (uint i = 1; i < op->inputs().size(); i++) extras.push_back(op->input(i));
        sum = scatter(cast(op->input(0), ns_float64), ns_add, one->shape, move(indexes), move(conditions), move(extras));
    } else {
        static auto setitem =
            get_op_info("setitem").get_constructor<VarPtr, Var*, VarSlices&&, Var*, NanoString>();
        auto* one = static_cast<SetitemOp*>(op);
        VarPtr into = cast(op->input(0), ns_float64), added = cast(op->input(1), ns_float64);
        sum = setitem(into, VarSlices(one->vs, true), added, ns_add);
    }
    return cast(sum, dtype);
}

// What was just made, or the same sum in float64 in its place.
inline VarPtr widened(VarPtr&& made) {
    Op* op = made->input();
    if (loses_digits(op)) return in_double(op);
    // Jittor sums shorter types as float32 and casts the sum.
    if (is_called(op, "unary") && made->is_float() && made->dtype().dsize() == 2 && loses_digits(op->input(0)->input()))
        return cast(in_double(op->input(0)->input()), made->dtype());
    return move(made);
}

}  // namespace boat
}  // namespace jittor
