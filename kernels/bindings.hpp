// What the parts of the extension module have in common.
#pragma once

#include "arguments.hpp"
#include "dispatch.hpp"

namespace tacita {

// `path` counts along tables(): src/tacita/ring/kernels.py turns names into numbers.
inline const Table& table(size_t path) {
    if (path >= tables().size()) refuse("path", "no such dispatch path");
    return *tables()[path];
}

void bind_ring(nb::module_& m);
void bind_planes(nb::module_& m);
void bind_gates(nb::module_& m);
void bind_pool(nb::module_& m);

}  // namespace tacita
