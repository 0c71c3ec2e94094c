// Bindings: waves and exponentials.
#include "bindings.hpp"

namespace tacita {

constexpr size_t WAVE_SERIES[] = {2, 6}, POWER_SERIES = 9;
constexpr size_t MOST_FREQUENCIES = size_t{1} << 10;
constexpr int MOST_INDEX_BITS = 8;

static void require_vector(const Array& x) { x.require_shape({Array::ANY}); }

static void wave_correction(size_t path, nb::handle r_object, nb::handle turn_object,
                            nb::handle series_object, nb::handle into_object) {
    const Array r(r_object, "r"), series(series_object, "series");
    require_vector(r);
    const u64 turn = word(turn_object, "turn");
    series.require_shape({WAVE_SERIES[0], WAVE_SERIES[1]});
    const Array into(into_object, "into", Array::write);
    into.require_shape({Array::ANY, r.size()});
    if (into.shape(0) % 2 || into.shape(0) > 2 * MOST_FREQUENCIES)
        refuse("into", "must have two rows for each of up to 1024 frequencies");
    if (into.overlaps(r)) refuse("into", "shares memory with r");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.wave_correction(r.words(), r.size(), turn, series.words(), into.shape(0) / 2,
                            into.words());
}

static void wave_share(size_t path, nb::handle opened_object, nb::handle dealt_object,
                       nb::handle turn_object, nb::handle series_object, nb::handle waves_object,
                       nb::handle out_object) {
    const Array opened(opened_object, "opened"), dealt(dealt_object, "dealt");
    const Array series(series_object, "series"), waves(waves_object, "waves");
    require_vector(opened);
    const u64 turn = word(turn_object, "turn");
    series.require_shape({WAVE_SERIES[0], WAVE_SERIES[1]});
    waves.require_shape({Array::ANY, 2});
    if (waves.shape(0) > MOST_FREQUENCIES) refuse("waves", "are more than 1024");
    dealt.require_shape({2 * waves.shape(0), opened.size()});
    const Array out(out_object, "out", Array::write);
    out.require_shape({opened.size()});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.wave_share(opened.words(), dealt.words(), opened.size(), turn, series.words(),
                       waves.words(), waves.shape(0), out.words());
}

// Reads the parts of a range; `words` is how many are dealt for an element.
static Exponents exponents(nb::handle segment_bits_object, nb::handle rate_object,
                           const Array& series, const Array& words) {
    series.require_shape({POWER_SERIES});
    int index_bits = 1;
    while (index_bits < MOST_INDEX_BITS && size_t{1} << index_bits < words.shape(0)) index_bits++;
    if (words.shape(0) != size_t{1} << index_bits)
        refuse(words.name(), "must have 2, 4, 8, … 256 rows");
    const int segment_bits = number(segment_bits_object, "segment_bits", 1, 63 - index_bits);
    return {segment_bits, index_bits, word(rate_object, "rate"), series.words()};
}

static void exponential_correction(size_t path, nb::handle r_object,
                                   nb::handle segment_bits_object, nb::handle rate_object,
                                   nb::handle series_object, nb::handle b_object,
                                   nb::handle into_object) {
    const Array r(r_object, "r"), series(series_object, "series");
    require_vector(r);
    const Array into(into_object, "into", Array::write);
    into.require_shape({Array::ANY, r.size()});
    const Exponents e = exponents(segment_bits_object, rate_object, series, into);
    const int b = number(b_object, "b", 0, 60);
    if (into.overlaps(r)) refuse("into", "shares memory with r");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.exponential_correction(r.words(), r.size(), e, b, into.words());
}

static void exponential_share(size_t path, nb::handle opened_object, nb::handle dealt_object,
                              nb::handle low_object, nb::handle segment_bits_object,
                              nb::handle rate_object, nb::handle series_object,
                              nb::handle mantissas_object, nb::handle shifts_object,
                              nb::handle out_object) {
    const Array opened(opened_object, "opened"), dealt(dealt_object, "dealt");
    const Array series(series_object, "series");
    const Array mantissas(mantissas_object, "mantissas"), shifts(shifts_object, "shifts");
    require_vector(opened);
    dealt.require_shape({Array::ANY, opened.size()});
    const u64 low = word(low_object, "low");
    const Exponents e = exponents(segment_bits_object, rate_object, series, dealt);
    mantissas.require_shape({dealt.shape(0), 2});
    shifts.require_shape({dealt.shape(0), 2});
    const Array out(out_object, "out", Array::write);
    out.require_shape({opened.size()});
    const Table& kernels = table(path);
    const Unlocked unlocked(dealt.size());
    kernels.exponential_share(opened.words(), dealt.words(), opened.size(), low, e,
                              mantissas.words(), shifts.words(), out.words());
}

void bind_functions(nb::module_& m) {
    m.def("wave_correction", &wave_correction);
    m.def("wave_share", &wave_share);
    m.def("exponential_correction", &exponential_correction);
    m.def("exponential_share", &exponential_share);
}

}  // namespace tacita
