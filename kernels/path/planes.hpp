// Between values and bit planes.
#pragma once

#include "lanes.hpp"

namespace tacita::TACITA_PATH {

// Bits j of a pair of words trade places: the classic in-place transposition (Warren, Hacker's
// Delight, 7-3), here of several matrices at once, one in each lane and, for S < 64, one in each
// field of S bits.
template <int S, class V> TACITA_INLINE void transpose_fields(V* words) {
    for (int j = 1; j < S; j *= 2) {
        const u64 mask = ~u64{0} / ((u64{1} << j) + 1);  // j ones, j zeros, j ones, …
#pragma GCC unroll 4
        for (int base = 0; base < S; base += 2 * j) {
#pragma GCC unroll 4
            for (int i = base; i < base + j; i++) {
                V moved = ((words[i] >> j) ^ words[i + j]) & mask;
                words[i + j] ^= moved;
                words[i] ^= moved << j;
            }
        }
    }
}

// One block: `lanes` runs of 64 values each, all present. Fields of S ≥ count bits keep the work
// in proportion to the planes that are wanted: 64/S elements share a word.
template <int S, class V>
TACITA_INLINE void block_to_planes(const u64* values, int low, int count, size_t stride,
                                   u64* planes) {
    constexpr int LANES = sizeof(V) / sizeof(u64);
    constexpr u64 FIELD = S == 64 ? ~u64{0} : (u64{1} << (S % 64)) - 1;
    u64 packed[LANES][S];
    for (int lane = 0; lane < LANES; lane++) {
        const u64* run = values + 64 * lane;
        for (int i = 0; i < S; i++) packed[lane][i] = (run[i] >> low) & FIELD;
        for (int f = 1; f < 64 / S; f++)
            for (int i = 0; i < S; i++)
                packed[lane][i] |= ((run[f * S + i] >> low) & FIELD) << (f * S % 64);
    }
    V words[S];
    for (int i = 0; i < S; i++) {
        u64 row[LANES];
        for (int lane = 0; lane < LANES; lane++) row[lane] = packed[lane][i];
        words[i] = load<V>(row);
    }
    transpose_fields<S, V>(words);
    for (int c = 0; c < count; c++) store<V>(planes + c * stride, words[c]);
}

template <int S>
static void all_to_planes(const u64* values, size_t n, int low, int count, Sliced shape,
                          u64* planes) {
    const size_t stride = shape.width, run = 64 * stride;
    u64 last[64 * 8];
    for (size_t block = 0; block < shape.blocks; block++) {
        const u64* from = values + block * run;
        const size_t left = n - block * run;
        if (left < run) {
            for (size_t i = 0; i < run; i++) last[i] = i < left ? from[i] : 0;
            from = last;
        }
        u64* to = planes + block * count * stride;
        each_column(shape.width, [&](auto v, int column) {
            block_to_planes<S, decltype(v)>(from + 64 * column, low, count, stride, to + column);
        });
    }
}

static void to_planes(const u64* values, size_t n, int low, int count, Sliced shape, u64* planes) {
    if (count <= 8)
        all_to_planes<8>(values, n, low, count, shape, planes);
    else if (count <= 16)
        all_to_planes<16>(values, n, low, count, shape, planes);
    else if (count <= 32)
        all_to_planes<32>(values, n, low, count, shape, planes);
    else
        all_to_planes<64>(values, n, low, count, shape, planes);
}

// `count` words are written; bits past n are 0. Eight bytes' lowest bits are gathered by one
// multiplication, whose partial products do not collide.
static void pack_bits(const u8* bits, size_t n, u64* words, size_t count) {
    for (size_t w = 0; w < count; w++) {
        u64 word = 0;
        for (size_t o = 0; o < 8; o++) {
            const size_t at = 64 * w + 8 * o;
            u64 octet = 0;
            if (at + 8 <= n)
                __builtin_memcpy(&octet, bits + at, 8);
            else
                for (size_t i = at; i < n; i++) octet |= static_cast<u64>(bits[i]) << 8 * (i - at);
            word |= (((octet & 0x0101010101010101u) * 0x0102040810204080u) >> 56) << 8 * o;
        }
        words[w] = word;
    }
}

static void unpack_bits(const u64* words, size_t n, u8* bits) {
    for (size_t at = 0; at < n; at += 8) {
        const u64 octet = words[at / 64] >> at % 64 & 0xff;
        // Byte i keeps bit i, which is then brought down to bit 0.
        const u64 spread = (octet * 0x0101010101010101u) & 0x8040201008040201u;
        const u64 flags = ((spread + 0x7f7f7f7f7f7f7f7fu) >> 7) & 0x0101010101010101u;
        if (at + 8 <= n)
            __builtin_memcpy(bits + at, &flags, 8);
        else
            for (size_t i = at; i < n; i++) bits[i] = static_cast<u8>(flags >> 8 * (i - at));
    }
}

}  // namespace tacita::TACITA_PATH
