// What Python sees: a submodule `ops` of the library. Jittor's binding generator reads the comments.
#pragma once
#include "pyjt/py_obj_holder.h"
#include "common.h"
#include "var_holder.h"

namespace jittor {
#pragma GCC visibility push(default)

// @pyjt(ops)
// @attrs(submodule,core_name=boat_operators)
namespace boat {

// Whether all are float32, or all float64, and Jittor is not to choose another precision.
// @pyjt(served)
bool served(const vector<VarHolder*>& arrays);

// @pyjt(pull)
vector<VarHolder*> pull(const vector<VarHolder*>& outputs, const vector<VarHolder*>& cotangents, const vector<VarHolder*>& targets);

// The gradient of one number, which can be differentiated again.
// @pyjt(gradient)
vector<VarHolder*> gradient(VarHolder* value, const vector<VarHolder*>& targets);

// A sum or mean that Jittor was told to make; the same in float64 where it adds up many shorter numbers.
// @pyjt(widened)
VarHolder* widened(VarHolder* sum);

// Bytes of all computed variables behind these, but for those that nothing led to.
// @pyjt(graph_bytes)
int64 graph_bytes(const vector<VarHolder*>& ends);

// The operators behind these in the order in which they were made, a line for each: "name|[[2,3],[3]]|float32 float32".
// @pyjt(graph_operators)
vector<string> graph_operators(const vector<VarHolder*>& ends);

// The number of the newest node in the graph.
// @pyjt(newest)
int64 newest();

// The numbers of the variables up to `newest` from which these were made, as far as derivatives reach, and not beyond the
// variables with the numbers `last`.
// @pyjt(made_from)
vector<int64> made_from(const vector<VarHolder*>& ends, int64 newest, const vector<int64>& last);

// Whether one of the variables with these numbers led to the value.
// @pyjt(depends)
bool depends(VarHolder* value, const vector<int64>& nodes);

// Empty where the kernel cannot serve these inputs: mixed dtypes, or leaves of another size.
// @pyjt(call)
vector<VarHolder*> call(int64 function, const string& label, const vector<VarHolder*>& inputs, int leaves, const vector<int>& like, int results, const vector<float64>& numbers);

// Programs, see `boat_core.autodiff.programs`. A program and a rollout are numbers, to be freed by who made them.

// How often Jittor has computed something.
// @pyjt(executions)
int64 executions();

// Computed variables of their own in the memory of others, which must stay as long as these are read.
// @pyjt(placeholders)
vector<VarHolder*> placeholders(const vector<VarHolder*>& arrays);

// What `describe.h` says of the graph between these.
// @pyjt(graph_lines)
vector<string> graph_lines(const vector<VarHolder*>& inputs, const vector<VarHolder*>& outputs);

// The numbers in that graph.
// @pyjt(graph_numbers)
vector<double> graph_numbers(const vector<VarHolder*>& inputs, const vector<VarHolder*>& outputs);

// @pyjt(program_open)
int64 program_open(const vector<VarHolder*>& placeholders);

// Add a phase. Returns why the graph cannot be a program, nothing if it can; so does `program_close`.
// @pyjt(program_add)
string program_add(int64 handle, const vector<VarHolder*>& outputs, const vector<VarHolder*>& views);

// @pyjt(program_close)
string program_close(int64 handle);

// Bytes of the residuals of one run, bytes of temporaries, and launches.
// @pyjt(program_sizes)
vector<int64> program_sizes(int64 handle);

// @pyjt(program_lines)
vector<string> program_lines(int64 handle);

// All numbers in its graph; some of them, chosen by their places, may be set before a run.
// @pyjt(program_numbers)
vector<double> program_numbers(int64 handle);

// @pyjt(program_choose)
void program_choose(int64 handle, const vector<int>& places);

// @pyjt(program_set)
void program_set(int64 handle, const vector<float64>& values);

// @pyjt(program_free)
void program_free(int64 handle);

// @pyjt(rollout_open)
int64 rollout_open(int64 handle, int iterates, int residuals);

// @pyjt(rollout_fix)
void rollout_fix(int64 handle, const vector<VarHolder*>& arrays);

// @pyjt(rollout_write)
void rollout_write(int64 handle, int slot, const vector<VarHolder*>& arrays);

// @pyjt(rollout_read)
vector<VarHolder*> rollout_read(int64 handle, int slot);

// @pyjt(rollout_step)
void rollout_step(int64 handle, int from, int to, int residual);

// @pyjt(rollout_begin)
void rollout_begin(int64 handle, const vector<VarHolder*>& cotangents);

// @pyjt(rollout_pull)
void rollout_pull(int64 handle, int from, int to, int residual);

// @pyjt(rollout_pulled)
vector<VarHolder*> rollout_pulled(int64 handle);

// @pyjt(rollout_free)
void rollout_free(int64 handle);

// @pyjt(matmul)
VarHolder* matmul(VarHolder* a, VarHolder* b, bool trans_a, bool trans_b);

// @pyjt(tanh)
VarHolder* tanh(VarHolder* x);

// @pyjt(logistic)
VarHolder* logistic(VarHolder* x);

// @pyjt(softplus)
VarHolder* softplus(VarHolder* x, float64 beta, float64 threshold);

// @pyjt(relu)
VarHolder* relu(VarHolder* x, float64 slope);

// @pyjt(gelu)
VarHolder* gelu(VarHolder* x);

// @pyjt(softmax)
VarHolder* softmax(VarHolder* x);

// @pyjt(cross_entropy)
VarHolder* cross_entropy(VarHolder* logits, VarHolder* target);

// @pyjt(bias_add)
VarHolder* bias_add(VarHolder* x, VarHolder* b, int axis);

// @pyjt(average_pool)
VarHolder* average_pool(VarHolder* x, NanoVector out, NanoVector size, NanoVector stride, NanoVector padding, bool whole);

// @pyjt(max_index)
VarHolder* max_index(VarHolder* x, NanoVector out, NanoVector size, NanoVector stride, NanoVector padding, bool smallest);

// @pyjt(gather)
VarHolder* gather(VarHolder* x, VarHolder* index);

// @pyjt(conv2d)
VarHolder* conv2d(VarHolder* x, VarHolder* w, NanoVector stride, NanoVector padding, NanoVector dilation, int groups);

}  // namespace boat
}  // namespace jittor

namespace jittor {
extern void pyjt_def_boat_operators(PyObject*);
}

static void init_module(PyModuleDef* mdef, PyObject* m) {
    mdef->m_doc = "Operators that differentiate to every order.";
    jittor::pyjt_def_boat_operators(m);
}
PYJT_MODULE_INIT(boat_operators);
