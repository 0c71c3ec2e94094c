// The extension module tacita.ring._kernels. Its typed face is src/tacita/ring/kernels.py.
#include "bindings.hpp"

NB_MODULE(_kernels, m) {
    tacita::bind_ring(m);
    tacita::bind_convolution(m);
    tacita::bind_planes(m);
    tacita::bind_gates(m);
    tacita::bind_functions(m);
    tacita::bind_stairs(m);
    tacita::bind_points(m);
    tacita::bind_digits(m);
    tacita::bind_pool(m);
}
