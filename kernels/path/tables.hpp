// One-hot tables and their lookup, bit-sliced.
#pragma once

#include "lanes.hpp"

namespace tacita::TACITA_PATH {

// terms[v] = [the B bits at `planes` spell v], for every v.
template <int B, class V>
TACITA_INLINE void minterms(const u64* planes, size_t stride, V* terms) {
    terms[0] = ones<V>();
#pragma GCC unroll 8
    for (int b = 0; b < B; b++) {
        V bit = load<V>(planes + b * stride);
#pragma GCC unroll 8
        for (int v = 0; v < 1 << b; v++) {
            V set = terms[v] & bit;
            terms[v | 1 << b] = set;
            terms[v] ^= set;
        }
    }
}

// The one-hot vector of a chunk as an outer product of two smaller ones: 2^C ANDs, no more.
template <int C, class V>
TACITA_INLINE void one_hot_chunk(const u64* planes, size_t stride, u64* into) {
    constexpr int LOW = C / 2, HIGH = C - LOW;
    V low[1 << LOW], high[1 << HIGH];
    minterms<LOW, V>(planes, stride, low);
    minterms<HIGH, V>(planes + LOW * stride, stride, high);
#pragma GCC unroll 4
    for (int h = 0; h < 1 << HIGH; h++) {
#pragma GCC unroll 16
        for (int l = 0; l < 1 << LOW; l++)
            exclusive_or<V>(into + (h << LOW | l) * stride, high[h] & low[l]);
    }
}

// `equal` = hot[x], `less` = XOR of hot[v] over v > x; each only where it is wanted. As the table
// is walked row by row, hot[x] = ⊕ [x_high = h]·(⊕ [x_low = l]·hot), and `less` takes the rows
// above x_high whole.
template <int C, bool EQUAL, bool LESS, class V>
TACITA_INLINE void lookup_chunk(const u64* index, const u64* hot, size_t stride, u64* equal,
                                u64* less) {
    constexpr int LOW = C / 2, HIGH = C - LOW;
    V low[1 << LOW], high[1 << HIGH], low_below[1 << LOW];
    minterms<LOW, V>(index, stride, low);
    minterms<HIGH, V>(index + LOW * stride, stride, high);
    V below = zeros<V>();
#pragma GCC unroll 16
    for (int l = 0; l < 1 << LOW; l++) {
        low_below[l] = below;
        below ^= low[l];
    }
    V high_below = zeros<V>(), all_equal = zeros<V>(), all_less = zeros<V>();
#pragma GCC unroll 1  // unrolled, GCC keeps the whole table alive, on the stack
    for (int h = 0; h < 1 << HIGH; h++) {
        V row_equal = zeros<V>(), row_less = zeros<V>(), row = zeros<V>();
#pragma GCC unroll 16
        for (int l = 0; l < 1 << LOW; l++) {
            V entry = load<V>(hot);
            hot += stride;
            if (EQUAL) row_equal ^= low[l] & entry;
            if (LESS && l > 0) row_less ^= low_below[l] & entry;
            if (LESS) row ^= entry;
        }
        if (EQUAL) all_equal ^= high[h] & row_equal;
        if (LESS) {
            all_less ^= (high[h] & row_less) ^ (high_below & row);
            high_below ^= high[h];
        }
    }
    if (EQUAL) store<V>(equal, all_equal);
    if (LESS) store<V>(less, all_less);
}

// Calls f(integral constant) for a chunk's number of bits.
template <int C> struct Bits { static constexpr int value = C; };
template <class F> TACITA_INLINE void by_bits(int bits, F f) {
    switch (bits) {
        case 1: f(Bits<1>{}); break;
        case 2: f(Bits<2>{}); break;
        case 3: f(Bits<3>{}); break;
        case 4: f(Bits<4>{}); break;
        case 5: f(Bits<5>{}); break;
        case 6: f(Bits<6>{}); break;
        case 7: f(Bits<7>{}); break;
        default: f(Bits<8>{});
    }
}

static void one_hot(const u64* planes, Sliced shape, Chunks chunks, u64* into) {
    const size_t stride = shape.width;
    for (size_t block = 0; block < shape.blocks; block++) {
        const u64* plane = planes + (block + 1) * chunks.planes * stride;
        u64* entry = into + block * chunks.entries * stride;
        for (int i = 0; i < chunks.size; i++) {
            plane -= chunks.bits[i] * stride;
            by_bits(chunks.bits[i], [&](auto bits) {
                each_column(shape.width, [&](auto v, int column) {
                    one_hot_chunk<decltype(bits)::value, decltype(v)>(plane + column, stride,
                                                                      entry + column);
                });
            });
            entry += (stride << chunks.bits[i]);
        }
    }
}

template <bool EQUAL, bool LESS>
static void lookup_table(int bits, int width, const u64* index, const u64* hot, u64* equal,
                         u64* less) {
    by_bits(bits, [&](auto c) {
        each_column(width, [&](auto v, int column) {
            lookup_chunk<decltype(c)::value, EQUAL, LESS, decltype(v)>(
                index + column, hot + column, width, equal + column, less + column);
        });
    });
}

static void lookup(const u64* index, const u64* hot, Sliced shape, Chunks chunks, bool order,
                   u64* nodes) {
    const size_t stride = shape.width;
    const int m = chunks.size, outputs = order ? 2 * m - 1 : m;
    for (size_t block = 0; block < shape.blocks; block++) {
        const u64* plane = index + (block + 1) * chunks.planes * stride;
        const u64* entry = hot + block * chunks.entries * stride;
        for (int i = 0; i < m; i++) {
            const int bits = chunks.bits[i];
            u64* equal = nodes + (block * outputs + i) * stride;
            u64* less = nodes + (block * outputs + m - 1 + i) * stride;
            plane -= bits * stride;
            if (!order)
                lookup_table<true, false>(bits, shape.width, plane, entry, equal, equal);
            else if (i < m - 1)
                lookup_table<true, true>(bits, shape.width, plane, entry, equal, less);
            else
                lookup_table<false, true>(bits, shape.width, plane, entry, less, less);
            entry += stride << bits;
        }
    }
}

}  // namespace tacita::TACITA_PATH
