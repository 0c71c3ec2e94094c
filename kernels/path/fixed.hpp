// Fixed-point arithmetic on vectors of words: products of 32-bit halves, and sums of powers.
//
// Everything is defined to the bit by its twin in Python, whatever the path: parties multiply what
// comes out by uniform shares, so that a difference of one would be as bad as any other.
#pragma once

#include "lanes.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tacita::TACITA_PATH {

using Wide = Lanes<MAX_LANES>::type;
using i64 = std::int64_t;
using i32 = std::int32_t;

template <class V> constexpr int LANES_OF = sizeof(V) / sizeof(u64);

// The product of the low halves, signed: 64 bits.
TACITA_INLINE u64 signed_product(u64 a, u64 b) {
    return static_cast<u64>(static_cast<i64>(static_cast<i32>(a)) * static_cast<i32>(b));
}

// The same, unsigned.
TACITA_INLINE u64 unsigned_product(u64 a, u64 b) { return (a & 0xffffffff) * (b & 0xffffffff); }

// v >> count; 0 for a count of 64 or more.
TACITA_INLINE u64 shifted(u64 v, u64 count) {
    return (v >> (count & 63)) & (u64{0} - (count < 64));
}

#if defined(__AVX512F__)
TACITA_INLINE Wide signed_product(Wide a, Wide b) {
    return (Wide)_mm512_mul_epi32((__m512i)a, (__m512i)b);
}
TACITA_INLINE Wide unsigned_product(Wide a, Wide b) {
    return (Wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}
TACITA_INLINE Wide shifted(Wide v, Wide count) {
    return (Wide)_mm512_srlv_epi64((__m512i)v, (__m512i)count);
}
#elif defined(__AVX2__)
TACITA_INLINE Wide signed_product(Wide a, Wide b) {
    return (Wide)_mm256_mul_epi32((__m256i)a, (__m256i)b);
}
TACITA_INLINE Wide unsigned_product(Wide a, Wide b) {
    return (Wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
TACITA_INLINE Wide shifted(Wide v, Wide count) {
    return (Wide)_mm256_srlv_epi64((__m256i)v, (__m256i)count);
}
#else
TACITA_INLINE Wide signed_product(Wide a, Wide b) {
    Wide out{};
    for (int i = 0; i < MAX_LANES; i++) out[i] = signed_product(a[i], b[i]);
    return out;
}
TACITA_INLINE Wide unsigned_product(Wide a, Wide b) { return (a & 0xffffffff) * (b & 0xffffffff); }
TACITA_INLINE Wide shifted(Wide v, Wide count) {
    Wide out{};
    for (int i = 0; i < MAX_LANES; i++) out[i] = shifted(v[i], count[i]);
    return out;
}
#endif

// v / 2^bits to the nearest integer, halves upwards, of a signed |v| < 2^62: vectors of AVX2 have
// no arithmetic shift, so v is lifted above zero and the result lowered again.
template <class V> TACITA_INLINE V rounded(V v, int bits) {
    constexpr u64 LIFT = u64{1} << 62;
    return ((v + (LIFT + (u64{1} << (bits - 1)))) >> bits) - (LIFT >> bits);
}

// The same where only the low half of the result counts, bits <= 32.
template <class V> TACITA_INLINE V rounded_half(V v, int bits) {
    return (v + (u64{1} << (bits - 1))) >> bits;
}

// A polynomial: BITS[k] are those after the point of coefficient k and of all that is summed from
// there on, X_BITS those of x. It is made once for all elements, so that the coefficients stand in
// vectors, each with the lowering of `rounded` in it already.
template <class V, int X_BITS, int... BITS> struct Polynomial {
    static constexpr int TERMS = sizeof...(BITS);
    static constexpr int AFTER[TERMS] = {BITS...};
    static constexpr u64 LIFT = u64{1} << 62;
    V coefficients[TERMS];

    static constexpr int shift(int k) { return X_BITS + AFTER[k + 1] - AFTER[k]; }

    explicit TACITA_INLINE Polynomial(const u64* given) {
        for (int k = 0; k < TERMS; k++)
            coefficients[k] = V{} + (given[k] - (k + 1 < TERMS ? LIFT >> shift(k) : 0));
    }

    // Only the low half of x counts.
    TACITA_INLINE V operator()(V x) const {
        V total = coefficients[TERMS - 1];
#pragma GCC unroll 16
        for (int k = TERMS - 2; k >= 0; k--) {
            const V lifted = signed_product(total, x) + (LIFT + (u64{1} << (shift(k) - 1)));
            total = (lifted >> shift(k)) + coefficients[k];
        }
        return total;
    }
};

}  // namespace tacita::TACITA_PATH
