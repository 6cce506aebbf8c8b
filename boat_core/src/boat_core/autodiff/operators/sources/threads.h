// How many threads a call of oneDNN gets.
#pragma once
#include <algorithm>
#include <omp.h>

namespace jittor {
namespace boat {

// Multiplications below which one thread works, about 200 µs. A region of several threads waits until the last of them
// is done. If another process holds a core, that thread waits for its turn, which takes milliseconds: many short
// regions then take many times as long, and save little when the machine is idle.
constexpr int64 gemm_parallel_from = 1 << 24;

// The work of a product of m × k and k × n, in multiplications. Matrices that are read once, for a vector, keep the
// memory busy and not the processor: a number from memory takes as long as some 32 multiplications.
inline int64 product_work(int64 m, int64 n, int64 k) { return std::max(m * n * k, 32 * (m * k + k * n + m * n)); }

// While it lives, oneDNN uses one thread, unless `work`, in multiplications, is worth several.
class Threads {
  public:
    explicit Threads(int64 work)
        : before(work < gemm_parallel_from ? omp_get_max_threads() : 1) {
        if (before > 1) omp_set_num_threads(1);
    }
    ~Threads() {
        if (before > 1) omp_set_num_threads(before);
    }
    Threads(const Threads&) = delete;

  private:
    int before;  // what to go back to; 1: nothing was changed
};

}  // namespace boat
}  // namespace jittor
