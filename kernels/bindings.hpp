// What the parts of the extension module have in common.
#pragma once

#include <optional>

#include "arguments.hpp"
#include "dispatch.hpp"

namespace tacita {

// `path` counts along tables(): src/tacita/ring/kernels.py turns names into numbers.
inline const Table& table(size_t path) {
    if (path >= tables().size()) refuse("path", "no such dispatch path");
    return *tables()[path];
}

// Lets other threads run while a kernel works on `words` words. For few words the interpreter lock
// is kept: with several roles waiting for it, handing it over and queueing for it again takes
// longer than the kernel.
class Unlocked {
  public:
    explicit Unlocked(size_t words) {
        if (words > FEW) released_.emplace();
    }

  private:
    static constexpr size_t FEW = size_t{1} << 14;  // about ten microseconds
    std::optional<nb::gil_scoped_release> released_;
};

// Blocks from the pool (pool.cpp), aligned to cache lines; null where there is no memory.
void* pool_take(size_t bytes);
void pool_give(void* block);

void bind_ring(nb::module_& m);
void bind_convolution(nb::module_& m);
void bind_planes(nb::module_& m);
void bind_gates(nb::module_& m);
void bind_functions(nb::module_& m);
void bind_stairs(nb::module_& m);
void bind_points(nb::module_& m);
void bind_digits(nb::module_& m);
void bind_pool(nb::module_& m);

}  // namespace tacita
