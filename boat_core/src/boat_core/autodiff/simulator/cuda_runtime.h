// Runs device code on the CPU, for tests on machines without a GPU: what CUDA's headers declare, as far as kernels use
// it. BOAT_SIMULATOR=1 has the operators and the packs' kernels compiled by g++ with this folder in the place of CUDA.
//
// Each thread of a block is a fiber. It runs until it waits at a barrier or in a shuffle, or returns; the next one then
// runs, in an order that changes from turn to turn. Blocks run one after another. What depends on the order of threads
// where nothing makes them wait therefore computes something else than on the CPU. A barrier that a thread of the block
// does not reach, and a shuffle that a lane of the warp does not reach, are errors. Memory from cudaMalloc begins as NaN.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <ucontext.h>
#include <vector>

#define __host__
#define __device__
#define __global__
#define __shared__ static  // blocks run one after another

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }  // what is wrong is thrown
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaMemsetAsync(void* place, int value, size_t bytes, void*) {
    std::memset(place, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* place) {
    std::free(place);
    return cudaSuccess;
}
template <class T> cudaError_t cudaMalloc(T** place, size_t bytes) {
    *place = static_cast<T*>(std::malloc(bytes));
    if (!*place) return cudaErrorMemoryAllocation;
    std::memset(*place, 0xff, bytes);
    return cudaSuccess;
}
template <class T> T atomicAdd(T* place, T value) {
    const T before = *place;
    *place += value;
    return before;
}

namespace boat_simulator {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

class Block {
  public:
    Index block, grid, size;

    // The block that runs now; there is one, because launches do not overlap.
    static Block*& now() {
        static Block* block = nullptr;
        return block;
    }

    explicit Block(unsigned threads) : fibers(threads) {
        size.x = threads;
        for (unsigned i = 0; i < threads; i++) fibers[i].index.x = i;
    }

    // Run the kernel in all threads of block number `number`.
    template <class Kernel> void run(unsigned number, const Kernel& kernel) {
        block.x = number;
        body = [](const void* kernel) { (*static_cast<const Kernel*>(kernel))(); };
        argument = &kernel;
        for (Fiber& fiber : fibers) start(fiber);
        while (turn()) {}
    }

    Index& thread() { return current->index; }

    void barrier() { wait(at_barrier); }

    // Hand out `value` of 8 bytes or fewer; returns that of the lane `lane ^ step`.
    template <class T> T exchange(T value, int step) {
        static_assert(sizeof(T) <= sizeof(Fiber::value), "a shuffle moves 8 bytes at most");
        std::memcpy(current->value, &value, sizeof(T));
        wait(at_shuffle);
        T other;
        std::memcpy(&other, fibers[current->index.x ^ step].shown, sizeof(T));
        return other;
    }

  private:
    enum State { ready, at_barrier, at_shuffle, done };
    static constexpr unsigned warp = 32, stack_bytes = 1 << 16;

    struct Fiber {
        Index index;
        State state = ready;
        ucontext_t context;
        std::unique_ptr<char[]> stack;
        char value[8], shown[8];  // what it hands out, and what the others see of its last shuffle
    };

    std::vector<Fiber> fibers;
    Fiber* current = nullptr;
    ucontext_t scheduler;
    void (*body)(const void*);
    const void* argument;
    uint32_t random = 1;

    void start(Fiber& fiber) {
        if (!fiber.stack) fiber.stack.reset(new char[stack_bytes]);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = stack_bytes;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, entry, 0);
        fiber.state = ready;
    }

    static void entry() {
        Block* block = now();
        block->body(block->argument);
        block->current->state = done;
    }

    void wait(State state) {
        current->state = state;
        swapcontext(&current->context, &scheduler);
    }

    unsigned draw(unsigned below) {
        random = random * 1664525u + 1013904223u;
        return unsigned((uint64_t(random) * below) >> 32);
    }

    // Let every thread that may run do so once, then release those that no longer wait. False: all have returned.
    bool turn() {
        const unsigned threads = unsigned(fibers.size()), first = draw(threads);
        const bool backwards = draw(2);
        for (unsigned i = 0; i < threads; i++) {
            current = &fibers[(backwards ? first + threads - i : first + i) % threads];
            if (current->state == ready) swapcontext(&scheduler, &current->context);
        }
        current = nullptr;
        for (unsigned begin = 0; begin < threads; begin += warp) release_shuffle(begin);
        return release_barrier();
    }

    unsigned count(State state, unsigned begin, unsigned end) const {
        unsigned found = 0;
        for (unsigned i = begin; i < end; i++) found += fibers[i].state == state;
        return found;
    }

    void release_shuffle(unsigned begin) {
        const unsigned end = begin + warp, threads = unsigned(fibers.size());
        const unsigned waiting = count(at_shuffle, begin, end < threads ? end : threads);
        if (!waiting) return;
        if (waiting != warp)
            throw std::runtime_error("simulator: " + std::to_string(waiting) + " of 32 lanes reach a shuffle");
        for (unsigned i = begin; i < end; i++) {
            std::memcpy(fibers[i].shown, fibers[i].value, sizeof(fibers[i].value));
            fibers[i].state = ready;
        }
    }

    bool release_barrier() {
        const unsigned threads = unsigned(fibers.size()), finished = count(done, 0, threads);
        const unsigned waiting = count(at_barrier, 0, threads);
        if (waiting == threads)
            for (Fiber& fiber : fibers) fiber.state = ready;
        else if (waiting && waiting + finished == threads)
            throw std::runtime_error("simulator: " + std::to_string(waiting) + " of " + std::to_string(threads) +
                                     " threads of a block reach a barrier");
        return finished != threads;
    }
};

// What kernel<<<blocks, threads>>>(…) does; `kernel` calls it with its arguments.
template <class Kernel> void launch(unsigned blocks, unsigned threads, const Kernel& kernel) {
    if (!blocks || !threads || threads > 1024)
        throw std::runtime_error("simulator: no device launches " + std::to_string(blocks) + " blocks of " +
                                 std::to_string(threads) + " threads");
    static std::vector<std::unique_ptr<Block>> kept(1025);  // by number of threads: stacks are used again
    if (!kept[threads]) kept[threads].reset(new Block(threads));
    Block& block = *kept[threads];
    Block::now() = &block;
    block.grid.x = blocks;
    for (unsigned number = 0; number < blocks; number++) block.run(number, kernel);
}

}  // namespace boat_simulator

#define threadIdx (::boat_simulator::Block::now()->thread())
#define blockIdx (::boat_simulator::Block::now()->block)
#define blockDim (::boat_simulator::Block::now()->size)
#define gridDim (::boat_simulator::Block::now()->grid)

inline void __syncthreads() { ::boat_simulator::Block::now()->barrier(); }
template <class T> T __shfl_xor_sync(unsigned mask, T value, int step) {
    if (mask != 0xffffffffu) throw std::runtime_error("simulator: shuffles of whole warps only");
    return ::boat_simulator::Block::now()->exchange(value, step);
}
