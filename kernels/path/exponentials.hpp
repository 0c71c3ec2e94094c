// Powers of e, of a mask and of a masked value, in one pass over memory each.
//
// src/tacita/ring/exponents.py says how powers are found and how far off they are.
#pragma once

#include "fixed.hpp"

namespace tacita::TACITA_PATH {

// 2^(the fraction of an exponent of 58 bits after the point), at 30 bits.
template <class V> struct Power {
    Polynomial<V, 31, 30, 31, 33, 36, 40, 44, 48, 52, 56> series;

    explicit TACITA_INLINE Power(const u64* given) : series(given) {}

    TACITA_INLINE V operator()(V exponent) const {
        return series((exponent >> 26) ^ (u64{1} << 31));
    }
};

// fraction/2^64 · rate: 58 bits after the point.
template <class V> TACITA_INLINE V exponent_of(V fraction, u64 rate) {
    const V high = fraction >> 32, rate_high = V{} + (rate >> 32), rate_low = V{} + rate;
    return unsigned_product(high, rate_high) + (unsigned_product(high, rate_low) >> 32) +
           (unsigned_product(fraction, rate_high) >> 32);
}

// v / 2^count to the nearest integer, halves upwards; count is 1 or more.
template <class V> TACITA_INLINE V rounded_shift(V v, V count) {
    return (shifted(v, count - 1) + 1) >> 1;
}

template <class V>
TACITA_INLINE void exponential_corrections(size_t from, size_t to, const u64* r, size_t n,
                                           const Exponents& e, int b, u64* into) {
    const Power<V> power_of(e.series);
    const int below = 64 - e.segment_bits - e.index_bits;
    for (size_t i = from; i + LANES_OF<V> <= to; i += LANES_OF<V>) {
        const V mask = load<V>(r + i);
        const V high = (mask << below) >> (64 - e.index_bits);
        const V exponent = V{} - exponent_of(mask << (64 - e.segment_bits), e.rate);
        const V octaves = (V{} - (exponent >> 58)) & 63;
        const V power =
            rounded_shift(power_of(exponent) << 32, octaves + static_cast<u64>(62 - b));
        u64* at = into + i;
        for (u64 j = 0; j < u64{1} << e.index_bits; j++, at += n) {
            // All ones only where high is j: both are small.
            const V mine = V{} - (((high ^ j) - 1) >> 63);
            store(at, (power & mine) - load<V>(at));
        }
    }
}

static void exponential_correction(const u64* r, size_t n, const Exponents& e, int b, u64* into) {
    const size_t whole = n - n % MAX_LANES;
    exponential_corrections<Wide>(0, whole, r, n, e, b, into);
    exponential_corrections<u64>(whole, n, r, n, e, b, into);
}

template <class V>
TACITA_INLINE void exponential_shares(size_t from, size_t to, const u64* opened, const u64* dealt,
                                      size_t n, u64 low, const Exponents& e, const u64* mantissas,
                                      const u64* shifts, u64* out) {
    const Power<V> power_of(e.series);
    const int below = 64 - e.segment_bits - e.index_bits;
    for (size_t i = from; i + LANES_OF<V> <= to; i += LANES_OF<V>) {
        const V fraction = (load<V>(opened + i) - low) << below;
        const V exponent = exponent_of(fraction, e.rate);
        const V power = power_of(exponent), octaves = exponent >> 58;
        const V high = fraction >> (64 - e.index_bits);
        const u64* shares = dealt + i;
        V sum{};
        for (u64 j = 0; j < u64{1} << e.index_bits; j++, shares += n) {
            const V wrapped = V{} - ((high - j) >> 63);
            const u64 mantissa = mantissas[2 * j], shift = shifts[2 * j];
            const V factor = ((mantissa ^ mantissas[2 * j + 1]) & wrapped) ^ mantissa;
            const V count = ((shift ^ shifts[2 * j + 1]) & wrapped) ^ shift;
            sum += rounded_shift(unsigned_product(power, factor), count - octaves) * load<V>(shares);
        }
        store(out + i, sum);
    }
}

static void exponential_share(const u64* opened, const u64* dealt, size_t n, u64 low,
                              const Exponents& e, const u64* mantissas, const u64* shifts,
                              u64* out) {
    const size_t whole = n - n % MAX_LANES;
    exponential_shares<Wide>(0, whole, opened, dealt, n, low, e, mantissas, shifts, out);
    exponential_shares<u64>(whole, n, opened, dealt, n, low, e, mantissas, shifts, out);
}

}  // namespace tacita::TACITA_PATH
