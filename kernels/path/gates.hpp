// Truncation, ReLU and gates on ring elements: one pass over memory each.
//
// Public bits and the dealer's secret bits both arrive as planes and are spread to masks, so that
// no path through the code depends on them.
#pragma once

#include "lanes.hpp"

namespace tacita::TACITA_PATH {

// Exact x div d. The two kinds are types, not a flag, so that loops over shifts vectorise.
struct ByPower {
    int shift;
    explicit ByPower(Divisor d) : shift(d.shift) {}
    TACITA_INLINE u64 operator()(u64 x) const { return x >> shift; }
};
struct ByReciprocal {
    u64 multiplier;
    int shift;
    explicit ByReciprocal(Divisor d) : multiplier(d.multiplier), shift(d.shift) {}
    TACITA_INLINE u64 operator()(u64 x) const {
        const u64 high = static_cast<u64>((static_cast<unsigned __int128>(x) * multiplier) >> 64);
        return (((x - high) >> 1) + high) >> shift;
    }
};

template <class F> TACITA_INLINE void by_divisor(Divisor d, F f) {
    if (d.power)
        f(ByPower(d));
    else
        f(ByReciprocal(d));
}

// All ones where r ≥ 2^63.
TACITA_INLINE u64 top_mask(u64 r) { return u64{0} - (r >> 63); }

// D = msb(r)·(⌊(r − 2^64)/d⌋ − ⌊r/d⌋); the floor of the negative number is −(⌊(2^64−1−r)/d⌋ + 1).
template <class Divide> TACITA_INLINE u64 wrap(u64 r, u64 quotient, Divide divide) {
    return (u64{0} - divide(~r) - 1 - quotient) & top_mask(r);
}

// Calls f(i, mask) for every element, mask all ones where the plane's bit is set. The words of a
// single plane follow one another, whatever the width of the blocks.
template <class F> TACITA_INLINE void each_bit(const u64* plane, size_t n, F f) {
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const u64 word = plane[i / 64];
#pragma GCC ivdep
        for (int j = 0; j < 64; j++) f(i + j, u64{0} - ((word >> j) & 1));
    }
    for (; i < n; i++) f(i, u64{0} - ((plane[i / 64] >> i % 64) & 1));
}

static void product(u64* out, const u64* a, const u64* b, size_t n, bool negate) {
    if (negate)
#pragma GCC ivdep
        for (size_t i = 0; i < n; i++) out[i] -= a[i] * b[i];
    else
#pragma GCC ivdep
        for (size_t i = 0; i < n; i++) out[i] += a[i] * b[i];
}

static void truncation_correction(const u64* r, size_t n, Divisor d, u64* into) {
    by_divisor(d, [&](auto divide) {
#pragma GCC ivdep
        for (size_t i = 0; i < n; i++) {
            const u64 quotient = divide(r[i]);
            into[i] = quotient - into[i];
            into[n + i] = wrap(r[i], quotient, divide) - into[n + i];
        }
    });
}

static void truncate_share(const u64* opened, const u64* dealt, size_t n, Divisor d, u64 offset,
                           bool first, u64* out) {
    const u64 mine = u64{0} - first;
    by_divisor(d, [&](auto divide) {
#pragma GCC ivdep
        for (size_t i = 0; i < n; i++) {
            const u64 public_part = (divide(opened[i]) - offset) & mine;
            out[i] = public_part - dealt[i] - (dealt[n + i] & ~top_mask(opened[i]));
        }
    });
}

static void relu_correction(const u64* r, const u64* s, size_t n, Divisor d, u64* into) {
    by_divisor(d, [&](auto divide) {
        each_bit(s, n, [&](size_t i, u64 mask) {
            const u64 quotient = divide(r[i]), correction = wrap(r[i], quotient, divide);
            into[i] = quotient - into[i];
            into[n + i] = correction - into[n + i];
            into[2 * n + i] = (mask & 1) - into[2 * n + i];
            into[3 * n + i] = (mask & quotient) - into[3 * n + i];
            into[4 * n + i] = (mask & correction) - into[4 * n + i];
        });
    });
}

static void relu_share(const u64* opened, const u64* flipped, const u64* dealt, size_t n,
                       Divisor d, u64 offset, bool first, u64* out) {
    const u64 mine = u64{0} - first;
    by_divisor(d, [&](auto divide) {
        each_bit(flipped, n, [&](size_t i, u64 mask) {
            const u64 p = divide(opened[i]) - offset;
            const u64 wrapped = ~top_mask(opened[i]);
            const u64 t = (p & mine) - dealt[i] - (dealt[n + i] & wrapped);
            const u64 u = dealt[2 * n + i] * p - dealt[3 * n + i] - (dealt[4 * n + i] & wrapped);
            out[i] = ((t - u) & mask) | (u & ~mask);
        });
    });
}

static void gate_correction(const u64* r, const u64* s, size_t n, u64* into) {
    each_bit(s, n, [&](size_t i, u64 mask) {
        into[i] = (mask & 1) - into[i];
        into[n + i] = (mask & r[i]) - into[n + i];
    });
}

static void gate_share(const u64* opened, const u64* x, const u64* flipped, const u64* dealt,
                       size_t n, u64* out) {
    each_bit(flipped, n, [&](size_t i, u64 mask) {
        const u64 u = dealt[i] * opened[i] - dealt[n + i];
        out[i] = ((x[i] - u) & mask) | (u & ~mask);
    });
}

static void bit_correction(const u64* s, size_t n, u64* into) {
    each_bit(s, n, [&](size_t i, u64 mask) { into[i] = (mask & 1) - into[i]; });
}

static void bit_share(const u64* flipped, const u64* dealt, size_t n, bool first, u64* out) {
    const u64 one = first;
    each_bit(flipped, n, [&](size_t i, u64 mask) {
        out[i] = ((one - dealt[i]) & mask) | (dealt[i] & ~mask);
    });
}

}  // namespace tacita::TACITA_PATH
