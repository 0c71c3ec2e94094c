// Bindings: distributed point functions.
#include "bindings.hpp"

namespace tacita {

// `cipher` counts along ciphers(), as the path of AES in counter mode does.
static const PointFunctions& point_functions_of(size_t cipher) {
    if (cipher >= point_functions().size()) refuse("path", "no such AES path");
    return *point_functions()[cipher];
}

// Words of a key for n elements.
static size_t key_words(size_t n, int bits) {
    return 2 * n * static_cast<size_t>(point_levels(bits) + 1);
}

// The 16 bytes of an AES key as two words.
struct Permutation : Array {
    explicit Permutation(nb::handle object) : Array(object, "permutation") { require_shape({2}); }
};

static void generate_points(size_t cipher, nb::handle alpha_object, nb::handle roots_object,
                            nb::handle bits_object, nb::handle permutation_object,
                            nb::handle into_object) {
    const int bits = number(bits_object, "bits", 1, MOST_POINT_BITS);
    const Array alpha(alpha_object, "alpha"), roots(roots_object, "roots");
    alpha.require_shape({Array::ANY});
    const size_t n = alpha.size();
    roots.require_shape({2, n, 2});
    const Permutation permutation(permutation_object);
    const Array into(into_object, "into", Array::write);
    into.require_shape({key_words(n, bits)});
    for (const Array* x : {&alpha, &roots, static_cast<const Array*>(&permutation)})
        if (into.overlaps(*x)) refuse("into", std::string("shares memory with ") + x->name());
    const PointFunctions& kernels = point_functions_of(cipher);
    const Unlocked unlocked(2 * into.size());
    kernels.generate(alpha.words(), roots.words(), n, bits, permutation.octets(), into.words());
}

static void walk_points(size_t cipher, bool order, nb::handle points_object,
                        nb::handle root_object, nb::handle keys_object, nb::handle bits_object,
                        nb::handle permutation_object, bool first, nb::handle out_object) {
    const int bits = number(bits_object, "bits", 1, MOST_POINT_BITS);
    const Array points(points_object, "points"), root(root_object, "root");
    points.require_shape({Array::ANY, Array::ANY});
    const size_t count = points.shape(0), n = points.shape(1);
    root.require_shape({n, 2});
    const Permutation permutation(permutation_object);
    const Array keys(keys_object, "keys");
    keys.require_shape({key_words(n, bits)});
    const Octets out(out_object, "out", Array::write);
    out.require_shape({count, n});
    const PointFunctions& kernels = point_functions_of(cipher);
    const Unlocked unlocked(keys.size() * count);
    kernels.walk(order, points.words(), count, root.words(), keys.words(), n, bits,
                 permutation.octets(), first, out.octets());
}

void bind_points(nb::module_& m) {
    m.def("generate_points", &generate_points);
    m.def("walk_points", &walk_points);
}

}  // namespace tacita
