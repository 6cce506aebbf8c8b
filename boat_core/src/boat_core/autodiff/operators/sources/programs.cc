// Programs as Python sees them: by number, with their memory in their own hands. A translation unit of its own, so that it
// compiles beside the operators.
#include "describe.h"
#include "rollout.h"

namespace jittor {
DECLARE_FLAG(int, exec_called);

#pragma GCC visibility push(default)
namespace boat {

static Program* program(int64 handle) { return reinterpret_cast<Program*>(handle); }
static Rollout* rollout(int64 handle) { return reinterpret_cast<Rollout*>(handle); }

// What `work` throws as `Refused` is an answer, not an error.
template <class Work> static string reason(Work work) {
    try {
        work();
    } catch (const Refused& refused) {
        return refused.what();
    }
    return "";
}

int64 executions() { return exec_called; }

vector<VarHolder*> placeholders(const vector<VarHolder*>& arrays) {
    static size_t number = 0;
    vector<VarHolder*> found;
    for (VarHolder* array : arrays) {
        Var* like = array->var;
        ASSERT(like->is_finished() && like->mem_ptr) << "a placeholder for an array that was not computed";
        VarPtr v(like->shape, like->dtype());
        lend(v, like->mem_ptr, ++number);
        v->finish_pending_liveness();
        found.push_back(new VarHolder(std::move(v)));
    }
    return found;
}

vector<string> graph_lines(const vector<VarHolder*>& inputs, const vector<VarHolder*>& outputs) {
    return Description(inputs, outputs).lines;
}

vector<double> graph_numbers(const vector<VarHolder*>& inputs, const vector<VarHolder*>& outputs) {
    return Description(inputs, outputs).numbers;
}

int64 program_open(const vector<VarHolder*>& placeholders) { return reinterpret_cast<int64>(new Program(placeholders)); }

string program_add(int64 handle, const vector<VarHolder*>& outputs, const vector<VarHolder*>& views) {
    return reason([&] { program(handle)->add(outputs, views); });
}

string program_close(int64 handle) {
    return reason([&] { program(handle)->close(); });
}

vector<int64> program_sizes(int64 handle) {
    return {int64(program(handle)->residual_bytes), int64(program(handle)->temporary_bytes), program(handle)->launches()};
}

vector<string> program_lines(int64 handle) { return program(handle)->lines(); }

vector<double> program_numbers(int64 handle) {
    vector<double> found;
    for (const Number& number : program(handle)->numbers()) found.push_back(number.value());
    return found;
}

void program_choose(int64 handle, const vector<int>& places) { program(handle)->choose(places); }

void program_set(int64 handle, const vector<float64>& values) { program(handle)->set(values); }

void program_free(int64 handle) { delete program(handle); }

int64 rollout_open(int64 handle, int iterates, int residuals) {
    return reinterpret_cast<int64>(new Rollout(*program(handle), iterates, residuals));
}

void rollout_fix(int64 handle, const vector<VarHolder*>& arrays) { rollout(handle)->fix(arrays); }

void rollout_write(int64 handle, int slot, const vector<VarHolder*>& arrays) { rollout(handle)->write(slot, arrays); }

vector<VarHolder*> rollout_read(int64 handle, int slot) { return rollout(handle)->read(slot); }

void rollout_step(int64 handle, int from, int to, int residual) { rollout(handle)->step(from, to, residual); }

void rollout_begin(int64 handle, const vector<VarHolder*>& cotangents) { rollout(handle)->begin(cotangents); }

void rollout_pull(int64 handle, int from, int to, int residual) { rollout(handle)->pull(from, to, residual); }

vector<VarHolder*> rollout_pulled(int64 handle) { return rollout(handle)->pulled(); }

void rollout_free(int64 handle) { delete rollout(handle); }

}  // namespace boat
}  // namespace jittor
