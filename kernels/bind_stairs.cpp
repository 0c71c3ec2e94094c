// Bindings: staircases.
#include "bindings.hpp"

namespace tacita {

// Planes [blocks, count, width] that cover n elements.
static void require_cover(const Planes& planes, size_t n) {
    const size_t run = 64 * planes.shape(2);
    planes.require_shape({n / run + (n % run != 0), planes.shape(1), planes.shape(2)});
}

static void bits_correction(size_t path, nb::handle s_object, nb::handle into_object) {
    const Array into(into_object, "into", Array::write);
    into.require_shape({Array::ANY, Array::ANY});
    const Planes s(s_object, "s_planes", into.shape(0));
    require_cover(s, into.shape(1));
    if (into.overlaps(s)) refuse("into", "shares memory with s_planes");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.bits_correction(s.words(), into.shape(1), s.shape(2), into.shape(0), into.words());
}

static void stairs_share(size_t path, nb::handle flipped_object, nb::handle dealt_object,
                         nb::handle base_object, nb::handle steps_object, bool first,
                         nb::handle out_object) {
    const Array dealt(dealt_object, "dealt"), base(base_object, "base");
    dealt.require_shape({Array::ANY, Array::ANY});
    base.require_shape({Array::ANY});
    const size_t count = dealt.shape(0), n = dealt.shape(1), rows = base.size();
    if (count > MAX_NUMBERS) refuse("dealt", "has more than 64 rows");
    const Array steps(steps_object, "steps");
    steps.require_shape({rows, count});
    const Planes flipped(flipped_object, "flipped_planes", count);
    require_cover(flipped, n);
    const Array out(out_object, "out", Array::write);
    out.require_shape({rows, n});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.stairs_share(flipped.words(), dealt.words(), n, flipped.shape(2),
                         {base.words(), steps.words(), rows, count}, first, out.words());
}

void bind_stairs(nb::module_& m) {
    m.def("bits_correction", &bits_correction);
    m.def("stairs_share", &stairs_share);
}

}  // namespace tacita
