// Cosines and sines of multiples of an angle, and trigonometric polynomials of a masked value.
//
// Points on the unit circle have 30 bits after the point; src/tacita/ring/angles.py says how they
// are found and how far off they are. The multiples come by repeated complex multiplication. All
// frequencies of a few elements are done at once, in registers.
#pragma once

#include "fixed.hpp"

namespace tacita::TACITA_PATH {

constexpr int SIDE_BY_SIDE = 2;  // vectors

template <class V> struct Point {
    V c, s;
};

// −v where `sign` is 1.
template <class V> TACITA_INLINE V negated(V v, V sign) {
    const V mask = V{} - sign;
    return (v ^ mask) - mask;
}

template <class V> struct Circle {
    using Series = Polynomial<V, 30, 30, 32, 36, 40, 44, 48>;
    Series cosine, sine;

    explicit TACITA_INLINE Circle(const u64* series)
        : cosine(series), sine(series + Series::TERMS) {}

    // The point at angle/2^64 turns; only the low halves count.
    TACITA_INLINE Point<V> operator()(V angle) const {
        const V f = angle >> 30;
        const V z = rounded_half(signed_product(f, f), 32);
        const V c = cosine(z);
        const V s = rounded_half(signed_product(f, sine(z)), 31);
        const V quarters = (angle >> 62) + ((angle >> 61) & 1);
        const V odd = V{} - (quarters & 1);
        const V exchange = (c ^ s) & odd;
        return {negated(c ^ exchange, ((quarters + 1) >> 1) & 1),
                negated(s ^ exchange, (quarters >> 1) & 1)};
    }
};

// For j = 1 … count, calls f(j - 1, u, exact, point) for each u: the j-th power of first[u], at 60
// bits and rounded. Several side by side, as one power waits for the one before it.
template <int SIDE, class V, class F>
TACITA_INLINE void powers(const Point<V> (&first)[SIDE], size_t count, F f) {
    const V one = V{} + (u64{1} << 30);
    Point<V> exact[SIDE];
    for (int u = 0; u < SIDE; u++)
        exact[u] = {signed_product(first[u].c, one), signed_product(first[u].s, one)};
    for (size_t j = 0; j < count; j++)
#pragma GCC unroll 4
        for (int u = 0; u < SIDE; u++) {
            const Point<V> at = {rounded_half(exact[u].c, 30), rounded_half(exact[u].s, 30)};
            f(j, u, exact[u], at);
            exact[u] = {signed_product(at.c, first[u].c) - signed_product(at.s, first[u].s),
                        signed_product(at.s, first[u].c) + signed_product(at.c, first[u].s)};
        }
}

template <class V, int SIDE>
TACITA_INLINE size_t wave_corrections(size_t i, const u64* r, size_t n, u64 turn,
                                      const u64* series, size_t count, u64* into) {
    constexpr size_t L = LANES_OF<V>;
    const Circle<V> circle(series);
    for (; i + SIDE * L <= n; i += SIDE * L) {
        Point<V> first[SIDE];
        for (int u = 0; u < SIDE; u++) first[u] = circle(load<V>(r + i + u * L) * turn);
        powers(first, count, [&](size_t j, int u, Point<V> exact, Point<V>) {
            u64* const at = into + 2 * j * n + i + u * L;
            store(at, rounded(exact.c, 36) - load<V>(at));
            store(at + n, rounded(exact.s, 36) - load<V>(at + n));
        });
    }
    return i;
}

static void wave_correction(const u64* r, size_t n, u64 turn, const u64* series, size_t count,
                            u64* into) {
    const size_t i = wave_corrections<Wide, SIDE_BY_SIDE>(0, r, n, turn, series, count, into);
    wave_corrections<u64, 1>(i, r, n, turn, series, count, into);
}

// The sum of a·b for signed 32-bit a and any b, mod 2^64: with b = b1·2^32 + b0, b0 signed.
template <class V> struct LongSum {
    V low{}, high{};
    TACITA_INLINE void add(V a, V b) {
        low += signed_product(a, b);
        high += signed_product(a, (b + (u64{1} << 31)) >> 32);
    }
    TACITA_INLINE V total() const { return low + (high << 32); }
};

template <class V, int SIDE>
TACITA_INLINE size_t wave_shares(size_t i, const u64* opened, const u64* dealt, size_t n, u64 turn,
                                 const u64* series, const u64* waves, size_t count, u64* out) {
    constexpr size_t L = LANES_OF<V>;
    const Circle<V> circle(series);
    for (; i + SIDE * L <= n; i += SIDE * L) {
        Point<V> first[SIDE];
        LongSum<V> sum[SIDE];
        for (int u = 0; u < SIDE; u++) first[u] = circle(load<V>(opened + i + u * L) * turn);
        powers(first, count, [&](size_t j, int u, Point<V>, Point<V> at) {
            const V c = V{} + waves[2 * j], s = V{} + waves[2 * j + 1];
            const V alpha = signed_product(c, at.c) + signed_product(s, at.s);
            const V beta = signed_product(c, at.s) - signed_product(s, at.c);
            const u64* const shares = dealt + 2 * j * n + i + u * L;
            sum[u].add(rounded_half(alpha, 30), load<V>(shares));
            sum[u].add(rounded_half(beta, 30), load<V>(shares + n));
        });
        for (int u = 0; u < SIDE; u++) store(out + i + u * L, sum[u].total());
    }
    return i;
}

static void wave_share(const u64* opened, const u64* dealt, size_t n, u64 turn, const u64* series,
                       const u64* waves, size_t count, u64* out) {
    const size_t i =
        wave_shares<Wide, SIDE_BY_SIDE>(0, opened, dealt, n, turn, series, waves, count, out);
    wave_shares<u64, 1>(i, opened, dealt, n, turn, series, waves, count, out);
}

}  // namespace tacita::TACITA_PATH
