// Bindings: digits of private comparisons.
#include "bindings.hpp"

namespace tacita {

constexpr int MOST_BITS = 64;

// Words of one element's digits.
static size_t packed_words(int digits) { return (static_cast<size_t>(digits) + 7) / 8; }

static void draw_digits(size_t path, nb::handle seeds_object, nb::handle into_object) {
    const Array seeds(seeds_object, "seeds");
    seeds.require_shape({Array::ANY, Array::ANY});
    if (seeds.shape(1) < 1 || seeds.shape(1) > MOST_BITS)
        refuse("seeds", "expected 1 … 64 for each element, got shape " + seeds.shape_text());
    const int bits = static_cast<int>(seeds.shape(1));
    const Array into(into_object, "into", Array::write);
    into.require_shape({seeds.shape(0), packed_words(bits)});
    if (into.overlaps(seeds)) refuse("into", "shares memory with seeds");
    const Table& kernels = table(path);
    const Unlocked unlocked(seeds.size());
    kernels.draw_digits(seeds.words(), seeds.shape(0), bits, into.words());
}

static void lack_digits(size_t path, nb::handle seeds_object, nb::handle r_object,
                        nb::handle into_object) {
    const Array seeds(seeds_object, "seeds"), r(r_object, "r");
    r.require_shape({Array::ANY});
    seeds.require_shape({r.size(), Array::ANY});
    if (seeds.shape(1) < 1 || seeds.shape(1) > MOST_BITS)
        refuse("seeds", "expected 1 … 64 for each element, got shape " + seeds.shape_text());
    const int bits = static_cast<int>(seeds.shape(1));
    const Array into(into_object, "into", Array::write);
    into.require_shape({r.size(), packed_words(bits)});
    if (into.overlaps(seeds)) refuse("into", "shares memory with seeds");
    if (into.overlaps(r)) refuse("into", "shares memory with r");
    const Table& kernels = table(path);
    const Unlocked unlocked(seeds.size());
    kernels.lack_digits(seeds.words(), r.words(), r.size(), bits, into.words());
}

static void hide_digits(size_t path, bool order, nb::handle places_object, nb::handle share_object,
                        nb::handle flips_object, nb::handle factors_object,
                        nb::handle summands_object, nb::handle turns_object,
                        nb::handle bits_object, bool first, nb::handle into_object) {
    const int bits = number(bits_object, "bits", 1, MOST_BITS);
    const size_t count = static_cast<size_t>(bits) + 1;
    const Array places(places_object, "places");
    places.require_shape({Array::ANY});
    const size_t n = places.size();
    const Array share(share_object, "share"), factors(factors_object, "factors");
    const Array summands(summands_object, "summands"), turns(turns_object, "turns");
    const Octets flips(flips_object, "flips");
    share.require_shape({n, packed_words(bits)});
    flips.require_shape({n});
    factors.require_shape({n, count});
    summands.require_shape({n, count});
    turns.require_shape({n});
    const Array into(into_object, "into", Array::write);
    into.require_shape({n, packed_words(bits + 1)});
    for (const Array* each : {&places, &share, &factors, &summands, &turns})
        if (into.overlaps(*each))
            refuse("into", std::string("shares memory with ") + each->name());
    const Table& kernels = table(path);
    const Unlocked unlocked(2 * factors.size());
    kernels.hide_digits(order, places.words(), share.words(), flips.octets(), factors.words(),
                        summands.words(), turns.words(), n, bits, first, into.words());
}

static void find_zeros(size_t path, nb::handle one_object, nb::handle other_object,
                       nb::handle digits_object, nb::handle found_object) {
    const int digits = number(digits_object, "digits", 1, MOST_BITS + 1);
    const Array one(one_object, "one"), other(other_object, "other");
    one.require_shape({Array::ANY, packed_words(digits)});
    other.require_shape({one.shape(0), packed_words(digits)});
    const Octets found(found_object, "found", Array::write);
    found.require_shape({one.shape(0)});
    const Table& kernels = table(path);
    const Unlocked unlocked(one.size());
    kernels.find_zeros(one.words(), other.words(), one.shape(0), static_cast<size_t>(digits),
                       found.octets());
}

void bind_digits(nb::module_& m) {
    m.def("draw_digits", &draw_digits);
    m.def("lack_digits", &lack_digits);
    m.def("hide_digits", &hide_digits);
    m.def("find_zeros", &find_zeros);
}

}  // namespace tacita
