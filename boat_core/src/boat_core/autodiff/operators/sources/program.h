// A graph as a fixed list of launches with a fixed plan of its memory, to be run many times: neither Python nor Jittor's
// graph or executor takes part in a run.
//
// A program is opened over placeholders, computed variables that nothing else uses. Then its phases are added, each as the
// variables that it is to compute. A phase is scheduled at once, as Jittor would if it ran it, and what it computes
// counts as computed when the next phase is traced: so each phase launches the very kernels that an ordinary
// run launches. `close` plans the memory:
//
//     input       a placeholder; pointed to before a run
//     output      what a phase was asked for; pointed to before a run
//     constant    variables from outside, and arrays that the graph holds
//     residual    what a later phase reads of an earlier one; pointed to before a run, so that several runs may be kept
//     temporary   everything else; packed by the times between which it is needed
//
// An output that lies in the memory of an input, or that a later phase reads, is copied to where it is wanted.
#pragma once
#include <set>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include "call.h"
#include "native.h"
#include "ops/array_op.h"
#include "schedule.h"

namespace jittor {
namespace boat {

// Why a graph cannot be a program.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The owner of memory that a program gives to variables: nobody else is to free it.
struct Lent : Allocator {
    const char* name() const override { return "boat_program"; }
    void* alloc(size_t, size_t&) override { throw std::logic_error("a program's memory is planned, not allocated"); }
    void free(void*, size_t, const size_t&) override {}
    bool share_with(size_t, size_t) override { return true; }
};
inline Lent lent;

inline void lend(Var* v, void* place, size_t number) {
    v->mem_ptr = place;
    v->allocator = &lent;
    v->allocation = number;
}

inline size_t aligned(size_t size) { return (size + 63) / 64 * 64; }

// Memory from Jittor's own pool, at a multiple of 64 bytes.
class Memory {
    unique_ptr<Allocation> held;
  public:
    char* start = nullptr;
    void resize(size_t size) {
        held.reset();
        held.reset(new Allocation(cpu_allocator, size + 64));
        start = reinterpret_cast<char*>(aligned(reinterpret_cast<size_t>(held->ptr)));
    }
};

struct Launch {
    jit_op_entry_t entry;     // of a compiled kernel; null where `op->run()` does the work
    Op* op;
    FusedOpContext* context;  // of a fused operator
    vector<Var*> reads, writes;

    void operator()() const {
        // A fused operator may hand work to a library; what that reads and writes is found through this field.
        if (context) context->vrm.fop = static_cast<FusedOp*>(op);
        entry ? entry(op) : op->run();
    }
};

// A stretch of memory, and the variables that lie in it.
struct Block {
    enum Kind { temporary, residual, output, input, constant };
    Kind kind = temporary;
    vector<std::pair<Var*, size_t>> vars;  // with their offsets
    size_t size = 0, at = 0;
    int first = -1, last = -1;             // launches, counted over all phases
    int first_phase = 0, last_phase = 0;

    void point(void* place) {
        for (auto& [var, offset] : vars) var->mem_ptr = static_cast<char*>(place) + offset;
    }
};

// Operators whose kernel and numbers `describe` knows in full. Others may keep something that it does not see, give shapes
// that depend on values, draw random numbers or call Python.
inline bool known(Op* op) {
    static const std::set<string> names{"arg_reduce", "argsort", "array", "binary", "broadcast_to", "clone", "copy", "empty",
        "fuse_transpose", "getitem", "index", "reduce", "reindex", "reindex_reduce", "reshape", "safe_clip", "setitem",
        "ternary", "transpose", "unary"};
    return dynamic_cast<Native*>(op) || names.count(op->name());
}

// A number in a graph that may be set before a launch: an array of one number, or an argument of a pack's kernel.
class Number {
    ArrayOp* array;
    double* argument;

  public:
    explicit Number(ArrayOp* array) : array(array), argument(nullptr) {}
    explicit Number(double* argument) : array(nullptr), argument(argument) {}
    double value() const {
        if (argument) return *argument;
        const NanoString dtype = array->output->dtype();
        if (dtype == ns_float64) return *array->ptr<double>();
        if (dtype == ns_float32) return *array->ptr<float>();
        uint64 bits = 0;  // of another dtype: to be compared, never to be set
        std::memcpy(&bits, array->allocation.ptr, std::min<size_t>(sizeof bits, array->output->size));
        return double(bits);
    }
    void set(double value) const {
        if (argument) *argument = value;
        else if (array->output->dtype() == ns_float64) *array->ptr<double>() = value;
        else if (array->output->dtype() == ns_float32) *array->ptr<float>() = float(value);
        else throw std::logic_error("a number of this dtype cannot be set");
    }
};
inline vector<Number> numbers_of(Op* op) {
    vector<Number> found;
    if (op->name() == string("array") && op->type() != OpType::other) found.emplace_back(static_cast<ArrayOp*>(op));
    else if (auto* call = dynamic_cast<Call*>(op))
        for (double& argument : call->numbers) found.emplace_back(&argument);
    return found;
}

// Operators that only give their input another shape or name.
inline bool shares(Op* op) { return op->name() == string("reshape") || op->name() == string("clone"); }

class Program {
    struct Copy { int output; Var* from; };
    struct Phase {
        vector<Launch> launches;
        vector<VarPtr> outputs;
        vector<Block*> at;     // where an output lies; null where it is copied
        vector<void*> places;  // where an output is wanted
        vector<Copy> copies;
        int first = 0;         // its first launch, counted over all phases
    };

    vector<VarPtr> inputs;
    vector<void*> own;                             // the placeholders' own memory
    vector<Block*> input_blocks;
    vector<VarPtr> kept;                           // all variables, so that none is freed before its program
    std::unordered_map<Node*, int> nodes;          // all that is computed, variables and operators, and in which phase
    vector<unique_ptr<FusedOp>> kernels;
    std::unordered_map<Var*, std::pair<Var*, size_t>> shared;  // whose memory a variable lies in, and where
    std::unordered_map<Var*, unique_ptr<Block>> blocks;        // by the variable that has the memory
    vector<Var*> computed;                         // marked as computed until the program is closed
    vector<Var*> blanked;                          // those of them that have no memory of their own so far
    vector<std::unique_ptr<void, void (*)(void*)>> blank;
    vector<Block*> residuals;
    vector<Phase> phases;
    vector<Number> chosen;
    Memory temporaries;
    bool closed = false;

  public:
    size_t residual_bytes = 0, temporary_bytes = 0;

    explicit Program(const vector<VarHolder*>& placeholders) {
        for (VarHolder* holder : placeholders) {
            if (!holder->var->is_finished() || !holder->var->mem_ptr) throw Refused("a placeholder was not computed");
            inputs.emplace_back(holder->var);
            own.push_back(holder->var->mem_ptr);
        }
    }
    Program(const Program&) = delete;

    ~Program() {
        unmark();
        for (size_t i = 0; i < inputs.size(); i++) inputs[i]->mem_ptr = own[i];
        for (VarPtr& var : kept)
            if (var->allocator == &lent) {
                var->mem_ptr = nullptr;
                var->allocator = nullptr;
                var->allocation = 0;
            }
    }

    // Schedule what leads to these variables. `views` are copies that share memory. Where what they show is computed, they
    // count as computed too: they stand for the arrays of an ordinary run, which decide what is fused with what.
    void add(const vector<VarHolder*>& wanted, const vector<VarHolder*>& views) {
        for (VarHolder* view : views) {
            if (view->var->is_finished() || !view->var->input()->input(0)->is_finished()) continue;
            note_sharing(view->var);
            nodes.emplace(view->var, int(phases.size()));
            nodes.emplace(view->var->input(), int(phases.size()));
            mark(view->var);
        }
        Phase phase;
        phase.first = phases.empty() ? 0 : phases.back().first + int(phases.back().launches.size());
        vector<Var*> targets;
        for (VarHolder* holder : wanted) {
            targets.push_back(holder->var);
            phase.outputs.emplace_back(holder->var);
        }
        collect(targets);
        const auto behind = [&](Node* node) {
            auto found = nodes.find(node);
            return found != nodes.end() && found->second == int(phases.size());
        };
        Schedule(targets, behind)
            .each([&](FusedOp& op) { launch(op, phase.launches); }, [&](Op* op) { launch(op, phase.launches); });
        for (const Launch& one : phase.launches)
            for (Var* v : one.writes) mark(v);
        phases.push_back(std::move(phase));
    }

    // Plan the memory. Nothing else may hold what the program computes, or Jittor could run it on its own.
    void close() {
        unmark();
        check_alone();
        // Not before all phases are scheduled: Jittor fuses what nobody holds.
        for (auto& one : nodes)
            if (one.first->is_var()) keep(one.first->var());
        for (VarPtr& input : inputs) {
            input_blocks.push_back(&block_of(input));
            input_blocks.back()->kind = Block::input;
        }
        note_times();
        for (size_t k = 0; k < phases.size(); k++) place_outputs(phases[k], int(k));
        place_blocks();
        closed = true;
    }

    int launches() const {
        int count = 0;
        for (const Phase& phase : phases) count += int(phase.launches.size());
        return count;
    }
    // A line for each launch: its phase, its operators, and the shapes that it reads and writes.
    vector<string> lines() const {
        vector<string> found;
        for (size_t k = 0; k < phases.size(); k++)
            for (const Launch& one : phases[k].launches) {
                std::stringstream line;
                line << k << ' ';
                if (one.context)
                    for (Op* op : static_cast<FusedOp*>(one.op)->ops) line << op->name_ex() << '+';
                else
                    line << one.op->name_ex();
                for (Var* v : one.reads) line << ' ' << v->shape;
                line << " ->";
                for (Var* v : one.writes) line << ' ' << v->shape;
                found.push_back(line.str());
            }
        return found;
    }
    Var* input(int i) { return inputs[i]; }
    int input_count() const { return int(inputs.size()); }
    int output_count(int phase) const { return int(phases[phase].outputs.size()); }
    Var* output(int phase, int i) { return phases[phase].outputs[i]; }

    void point_input(int i, void* place) { input_blocks[i]->point(place); }
    void point_output(int phase, int i, void* place) {
        Phase& p = phases[phase];
        p.places[i] = place;
        if (p.at[i]) p.at[i]->point(place);
    }
    void point_residuals(char* place) {
        for (Block* block : residuals) block->point(place + block->at);
    }
    // All numbers in the graph, in no particular order.
    vector<Number> numbers() const {
        vector<Number> found;
        for (auto& one : nodes)
            if (!one.first->is_var())
                for (const Number& number : numbers_of(one.first->op())) found.push_back(number);
        return found;
    }
    // Choose some of them by their places in `numbers`, to be set before a run.
    void choose(const vector<int>& places) {
        const vector<Number> all = numbers();
        chosen.clear();
        for (int place : places) chosen.push_back(all.at(place));
    }
    void set(const vector<double>& values) {
        ASSERTop(values.size(), ==, chosen.size());
        for (size_t i = 0; i < values.size(); i++) chosen[i].set(values[i]);
    }
    void run(int phase) {
        ASSERT(closed) << "a program is run after it is closed";
        Phase& p = phases[phase];
        for (const Launch& one : p.launches) one();
        for (const Copy& copy : p.copies) std::memcpy(p.places[copy.output], copy.from->mem_ptr, copy.from->size);
    }

  private:
    // Tracing

    // Count a variable as computed. Its memory is only there so that nobody can read where nothing is: a trace that
    // reads it is not used.
    void mark(Var* v) {
        if (v->is_finished()) return;
        v->flags.set(NodeFlags::_finished);
        computed.push_back(v);
        keep(v);
        if (v->mem_ptr) return;
        const auto [base, offset] = base_of(v);
        if (!base->mem_ptr) {
            blank.emplace_back(std::calloc(base->size, 1), std::free);
            lend(base, blank.back().get(), 0);
            blanked.push_back(base);
        }
        if (v == base) return;
        lend(v, static_cast<char*>(base->mem_ptr) + offset, 0);
        blanked.push_back(v);
    }
    // The marks are for tracing alone: Jittor's counts of who needs what know nothing of them.
    void unmark() {
        for (Var* v : computed) v->flags.set(NodeFlags::_finished, 0);
        for (Var* v : blanked) v->mem_ptr = nullptr, v->allocator = nullptr, v->allocation = 0;
        computed.clear();
        blanked.clear();
        blank.clear();
    }
    void keep(Var* v) { kept.emplace_back(v); }

    // Note every node that is not computed, and refuse those that cannot be launched again.
    void collect(const vector<Var*>& targets) {
        vector<Node*> open(targets.begin(), targets.end());
        while (!open.empty()) {
            Node* node = open.back();
            open.pop_back();
            if (node->is_finished() || !nodes.emplace(node, int(phases.size())).second) continue;
            if (node->is_var()) {
                if (node->var()->num <= 0) throw Refused("an array of the step is empty");
            } else {
                check(node->op());
            }
            for (auto& input : node->_inputs) open.push_back(input.node);
        }
    }
    void check(Op* op) {
        if (!known(op)) throw Refused(string("operator ") + op->name() + " is not one that programs know");
        if (op->flags.get(NodeFlags::_vary_shape)) throw Refused(string("the shapes of ") + op->name() + " depend on values");
        if (op->name() == string("array") && op->type() == OpType::other) {
            // Its `run` hands its memory over, which it can do once; one number, in contrast, is read at each launch.
            auto* array = static_cast<ArrayOp*>(op);
            lend(array->output, array->allocation.ptr, 0);
            mark(array->output);
        }
    }

    void launch(FusedOp& loaded, vector<Launch>& launches) {
        kernels.emplace_back(new FusedOp(loaded));
        FusedOp* op = kernels.back().get();
        JK& key = get_jk();
        loaded.do_prepare(key);
        op->flags = loaded.flags;
        auto found = jit_fused_ops.find(string_view(key.to_cstring(), key.size));
        if (found == jit_fused_ops.end()) throw Refused("a kernel was not compiled");
        op->context = found->second;
        Launch made{op->context->entry, op, op->context, {}, {}};
        for (VarInfo& info : op->vars) {
            note_sharing(info.var);
            if (info.type == 0) made.reads.push_back(info.var);
            if (info.type == 2) made.writes.push_back(info.var);
        }
        launches.push_back(std::move(made));
    }
    void launch(Op* op, vector<Launch>& launches) {
        Launch made{nullptr, op, nullptr, {}, {}};
        for (Var* v : op->inputs()) note_sharing(v), made.reads.push_back(v);
        for (Var* v : op->outputs()) note_sharing(v), made.writes.push_back(v);
        if (shares(op)) {
            for (Var* v : made.writes) mark(v);
            return;
        }
        JK& key = get_jk();
        op->do_prepare(key);
        if (!key.empty()) {
            auto found = jit_ops.find(key.to_cstring());
            if (found == jit_ops.end()) throw Refused(string("the kernel of ") + op->name() + " was not compiled");
            made.entry = found->second;
        }
        launches.push_back(std::move(made));
    }

    // Until it has memory, a variable that shares that of another one holds it in place of its allocator.
    void note_sharing(Var* v) {
        if (v->mem_ptr || !v->allocator || v->allocator == &lent || shared.count(v)) return;
        Var* other = reinterpret_cast<Var*>(v->allocator);
        shared[v] = {other, v->allocation};
        note_sharing(other);
    }
    std::pair<Var*, size_t> base_of(Var* v) const {
        size_t offset = 0;
        for (auto found = shared.find(v); found != shared.end(); found = shared.find(v)) {
            offset += found->second.second;
            v = found->second.first;
        }
        return {v, offset};
    }
    Block& block_of(Var* v) {
        const auto [base, offset] = base_of(v);
        auto& block = blocks[base];
        if (!block) {
            block.reset(new Block);
            block->size = base->size;
            block->vars.emplace_back(base, 0);
            if (base->mem_ptr) block->kind = Block::constant;
            keep(base);
        }
        bool listed = false;
        for (auto& [var, at] : block->vars) listed |= var == v;
        if (!listed) {
            block->vars.emplace_back(v, offset);
            keep(v);
        }
        return *block;
    }

    void check_alone() {
        const string why = "an array that the step computes is held outside of it";
        for (auto& one : nodes) {
            if (!one.first->is_var()) continue;
            for (auto& reader : one.first->_outputs)
                if (!nodes.count(reader.node)) throw Refused(why);
        }
        for (VarPtr& input : inputs)
            for (auto& reader : input->_outputs)
                if (!nodes.count(reader.node)) throw Refused(why);
        for (VarHolder* holder : hold_vars)
            if (nodes.count(holder->var)) throw Refused(why);
    }

    // Planning

    void note_times() {
        int number = 0;
        for (size_t k = 0; k < phases.size(); k++)
            for (Launch& one : phases[k].launches) {
                for (Var* v : one.reads) {
                    Block& block = block_of(v);
                    if (block.kind == Block::temporary && block.first < 0) throw Refused("a launch reads what none has written");
                    use(block, number, int(k));
                }
                for (Var* v : one.writes) use(block_of(v), number, int(k));
                number++;
            }
    }
    static void use(Block& block, int launch, int phase) {
        if (block.first < 0) block.first = launch, block.first_phase = phase;
        block.last = launch, block.last_phase = phase;
    }
    void place_outputs(Phase& phase, int number) {
        for (size_t i = 0; i < phase.outputs.size(); i++) {
            Var* v = phase.outputs[i];
            Block& block = block_of(v);
            const auto [base, offset] = base_of(v);
            // A block of its own, which nothing reads in a later phase, lies where the output is wanted.
            const bool direct = block.kind == Block::temporary && base->size == v->size && offset == 0 &&
                                block.first >= 0 && block.first_phase == number && block.last_phase == number;
            if (direct) {
                block.kind = Block::output;
            } else {
                phase.copies.push_back({int(i), v});
                if (block.first < 0) block.first = phase.first, block.first_phase = number;
                block.last = std::max(block.last, phase.first + int(phase.launches.size()));
                block.last_phase = std::max(block.last_phase, number);
            }
            phase.at.push_back(direct ? &block : nullptr);
            phase.places.push_back(nullptr);
        }
    }
    void place_blocks() {
        vector<Block*> temporary;
        size_t number = 0;
        for (auto& [base, block] : blocks) {
            void* own_memory = base->mem_ptr;
            // Operators tell by these fields whether two variables are one piece of memory, so no two may be alike.
            for (auto& [var, offset] : block->vars)
                if (!var->mem_ptr) lend(var, nullptr, ++number);
            if (block->kind == Block::constant) block->point(own_memory);
            if (block->kind != Block::temporary) continue;
            if (block->first_phase == block->last_phase) {
                temporary.push_back(block.get());
                continue;
            }
            block->kind = Block::residual;
            block->at = residual_bytes;
            residual_bytes += aligned(block->size);
            residuals.push_back(block.get());
        }
        pack(temporary);
        temporaries.resize(temporary_bytes);
        for (Block* block : temporary) block->point(temporaries.start + block->at);
        for (size_t i = 0; i < inputs.size(); i++) input_blocks[i]->point(own[i]);
    }
    // First fit, in the order in which the blocks come to life.
    void pack(vector<Block*>& temporary) {
        std::sort(temporary.begin(), temporary.end(), [](Block* a, Block* b) { return a->first < b->first; });
        vector<Block*> alive;  // by their place
        for (Block* block : temporary) {
            alive.erase(std::remove_if(alive.begin(), alive.end(), [&](Block* one) { return one->last < block->first; }), alive.end());
            size_t at = 0;
            auto after = alive.begin();
            for (; after != alive.end() && at + aligned(block->size) > (*after)->at; ++after)
                at = std::max(at, (*after)->at + aligned((*after)->size));
            block->at = at;
            temporary_bytes = std::max(temporary_bytes, at + aligned(block->size));
            alive.insert(after, block);
        }
    }
};

}  // namespace boat
}  // namespace jittor
