// The iterates of a lower step that is a program, and its pullback, one step at a time:
//
//     phase 0    z, x, batch           → z'
//     phase 1    z, x, batch, p', dx'  → p, dx        p' belongs to z', p to z
//
// The iterates lie in slots, the residuals of a step too. Which step uses which slot is decided by the caller.
#pragma once
#include "program.h"

namespace jittor {
namespace boat {

inline VarHolder* copied(Var* like, const void* from) {
    VarPtr v(like->shape, like->dtype());
    v->alloc(cpu_allocator);
    std::memcpy(v->mem_ptr, from, v->size);
    v->finish_pending_liveness();
    return new VarHolder(std::move(v));
}

// Arrays one after another.
struct Layout {
    vector<Var*> like;
    vector<size_t> at;
    size_t bytes = 0;
    void add(Var* v) {
        like.push_back(v);
        at.push_back(bytes);
        bytes += aligned(v->size);
    }
    int count() const { return int(like.size()); }
    void write(char* place, const vector<VarHolder*>& arrays) const {
        for (int i = 0; i < count(); i++) std::memcpy(place + at[i], arrays[i]->var->mem_ptr, like[i]->size);
    }
    void read(const char* place, vector<VarHolder*>& found) const {
        for (int i = 0; i < count(); i++) found.push_back(copied(like[i], place + at[i]));
    }
};

class Rollout {
    Program& program;
    Layout z, dx;
    vector<VarPtr> fixed;  // x and the batch
    Memory iterates, residuals, cotangents;
    int turn = 0;          // which of the two halves of `cotangents` holds p and dx

    char* iterate(int slot) { return iterates.start + slot * z.bytes; }
    char* cotangent(int half) { return cotangents.start + half * (z.bytes + dx.bytes); }
    void point(int from, int to, int residual) {
        for (int i = 0; i < z.count(); i++) {
            program.point_input(i, iterate(from) + z.at[i]);
            program.point_output(0, i, iterate(to) + z.at[i]);
        }
        for (size_t i = 0; i < fixed.size(); i++) program.point_input(z.count() + int(i), fixed[i]->mem_ptr);
        program.point_residuals(residuals.start + residual * program.residual_bytes);
    }

  public:
    // `iterates` and `residuals` are numbers of slots; one more slot takes the iterates that nobody needs.
    Rollout(Program& program, int iterate_count, int residual_count) : program(program) {
        for (int i = 0; i < program.output_count(0); i++) z.add(program.input(i));
        iterates.resize((iterate_count + 1) * z.bytes);
        residuals.resize(residual_count * program.residual_bytes);
    }
    void fix(const vector<VarHolder*>& arrays) {
        fixed.clear();
        for (VarHolder* array : arrays) fixed.emplace_back(array->var);
    }
    void write(int slot, const vector<VarHolder*>& arrays) { z.write(iterate(slot), arrays); }
    vector<VarHolder*> read(int slot) {
        vector<VarHolder*> found;
        z.read(iterate(slot), found);
        return found;
    }
    void step(int from, int to, int residual) {
        point(from, to, residual);
        program.run(0);
    }
    // Begin a pullback: p and dx at its end.
    void begin(const vector<VarHolder*>& arrays) {
        if (!cotangents.start) {
            const int first = z.count() + int(fixed.size()) + z.count();
            for (int i = first; i < program.input_count(); i++) dx.add(program.input(i));
            cotangents.resize(2 * (z.bytes + dx.bytes));
        }
        turn = 0;
        z.write(cotangent(0), arrays);
        dx.write(cotangent(0) + z.bytes, {arrays.begin() + z.count(), arrays.end()});
    }
    void pull(int from, int to, int residual) {
        point(from, to, residual);
        const int first = z.count() + int(fixed.size());
        char *before = cotangent(turn), *after = cotangent(1 - turn);
        for (int i = 0; i < z.count(); i++) {
            program.point_input(first + i, before + z.at[i]);
            program.point_output(1, i, after + z.at[i]);
        }
        for (int i = 0; i < dx.count(); i++) {
            program.point_input(first + z.count() + i, before + z.bytes + dx.at[i]);
            program.point_output(1, z.count() + i, after + z.bytes + dx.at[i]);
        }
        program.run(1);
        turn = 1 - turn;
    }
    vector<VarHolder*> pulled() {
        vector<VarHolder*> found;
        z.read(cotangent(turn), found);
        dx.read(cotangent(turn) + z.bytes, found);
        return found;
    }
};

}  // namespace boat
}  // namespace jittor
