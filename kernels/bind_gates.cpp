// Bindings: truncation, ReLU and gates.
#include "bindings.hpp"

namespace tacita {

static void require_vector(const Array& x) { x.require_shape({Array::ANY}); }

static void truncation_correction(size_t path, nb::handle r_object, nb::handle divisor_object,
                                  nb::handle into_object) {
    const Array r(r_object, "r");
    require_vector(r);
    const Divisor d = divisor(divisor_object);
    const Array into(into_object, "into", Array::write);
    into.require_shape({2, r.size()});
    if (into.overlaps(r)) refuse("into", "shares memory with r");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.truncation_correction(r.words(), r.size(), d, into.words());
}

static void truncate_share(size_t path, nb::handle opened_object, nb::handle dealt_object,
                           nb::handle divisor_object, nb::handle offset_object, bool first,
                           nb::handle out_object) {
    const Array opened(opened_object, "opened"), dealt(dealt_object, "dealt");
    require_vector(opened);
    dealt.require_shape({2, opened.size()});
    const Divisor d = divisor(divisor_object);
    const u64 offset = word(offset_object, "offset");
    const Array out(out_object, "out", Array::write);
    out.require_shape({opened.size()});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.truncate_share(opened.words(), dealt.words(), opened.size(), d, offset, first,
                           out.words());
}

static void relu_correction(size_t path, nb::handle r_object, nb::handle s_object,
                            nb::handle divisor_object, nb::handle into_object) {
    const Array r(r_object, "r");
    require_vector(r);
    const Plane s(s_object, "s_planes", r.size());
    const Divisor d = divisor(divisor_object);
    const Array into(into_object, "into", Array::write);
    into.require_shape({5, r.size()});
    if (into.overlaps(r)) refuse("into", "shares memory with r");
    if (into.overlaps(s)) refuse("into", "shares memory with s_planes");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.relu_correction(r.words(), s.words(), r.size(), d, into.words());
}

static void relu_share(size_t path, nb::handle opened_object, nb::handle flipped_object,
                       nb::handle dealt_object, nb::handle divisor_object,
                       nb::handle offset_object, bool first, nb::handle out_object) {
    const Array opened(opened_object, "opened"), dealt(dealt_object, "dealt");
    require_vector(opened);
    const Plane flipped(flipped_object, "flipped_planes", opened.size());
    dealt.require_shape({5, opened.size()});
    const Divisor d = divisor(divisor_object);
    const u64 offset = word(offset_object, "offset");
    const Array out(out_object, "out", Array::write);
    out.require_shape({opened.size()});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.relu_share(opened.words(), flipped.words(), dealt.words(), opened.size(), d, offset,
                       first, out.words());
}

static void gate_correction(size_t path, nb::handle r_object, nb::handle s_object,
                            nb::handle into_object) {
    const Array r(r_object, "r");
    require_vector(r);
    const Plane s(s_object, "s_planes", r.size());
    const Array into(into_object, "into", Array::write);
    into.require_shape({2, r.size()});
    if (into.overlaps(r)) refuse("into", "shares memory with r");
    if (into.overlaps(s)) refuse("into", "shares memory with s_planes");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.gate_correction(r.words(), s.words(), r.size(), into.words());
}

static void gate_share(size_t path, nb::handle opened_object, nb::handle x_object,
                       nb::handle flipped_object, nb::handle dealt_object,
                       nb::handle out_object) {
    const Array opened(opened_object, "opened"), x(x_object, "x_share");
    const Array dealt(dealt_object, "dealt");
    require_vector(opened);
    x.require_shape({opened.size()});
    const Plane flipped(flipped_object, "flipped_planes", opened.size());
    dealt.require_shape({2, opened.size()});
    const Array out(out_object, "out", Array::write);
    out.require_shape({opened.size()});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.gate_share(opened.words(), x.words(), flipped.words(), dealt.words(), opened.size(),
                       out.words());
}

static void bit_correction(size_t path, nb::handle s_object, nb::handle into_object) {
    const Array into(into_object, "into", Array::write);
    require_vector(into);
    const Plane s(s_object, "s_planes", into.size());
    if (into.overlaps(s)) refuse("into", "shares memory with s_planes");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.bit_correction(s.words(), into.size(), into.words());
}

static void bit_share(size_t path, nb::handle flipped_object, nb::handle dealt_object, bool first,
                      nb::handle out_object) {
    const Array dealt(dealt_object, "dealt");
    require_vector(dealt);
    const Plane flipped(flipped_object, "flipped_planes", dealt.size());
    const Array out(out_object, "out", Array::write);
    out.require_shape({dealt.size()});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.bit_share(flipped.words(), dealt.words(), dealt.size(), first, out.words());
}

void bind_gates(nb::module_& m) {
    m.def("truncation_correction", &truncation_correction);
    m.def("truncate_share", &truncate_share);
    m.def("relu_correction", &relu_correction);
    m.def("relu_share", &relu_share);
    m.def("gate_correction", &gate_correction);
    m.def("gate_share", &gate_share);
    m.def("bit_correction", &bit_correction);
    m.def("bit_share", &bit_share);
}

}  // namespace tacita
