// The lookups of tables.hpp for x + number, for several public numbers, in the same one-hot tables.
//
// A chunk of x + number is x's chunk plus the number's, plus the carry from below. So few places of a
// table are looked at, x's chunk plus a constant, however many numbers there are: powers of two, for
// instance, share nearly all of them. Each number takes of two such results the one that its carry
// tells. Everything that is decided on here is decided on the numbers, which are public.
#pragma once

#include "tables.hpp"

namespace tacita::TACITA_PATH {

// What is looked at for one chunk: x's chunk plus each of `shift`; and for each number which of these
// it takes without a carry, and which with one; whether there can be one; and how it goes on.
struct Places {
    enum Carrying { NEVER, WHERE_ANY_BIT, BY_RIPPLE };
    int count;
    u8 shift[2 * MAX_NUMBERS];
    u8 without[MAX_NUMBERS], with[MAX_NUMBERS];
    bool carried[MAX_NUMBERS];
    Carrying carrying[MAX_NUMBERS];

    u8 find(int wanted) {
        for (int i = 0; i < count; i++)
            if (shift[i] == wanted) return static_cast<u8>(i);
        shift[count] = static_cast<u8>(wanted);
        return static_cast<u8>(count++);
    }

    void plan(const u64* numbers, int size, int low, int bits) {
        count = 0;
        const int last = (1 << bits) - 1;
        for (int t = 0; t < size; t++) {
            const int digit = static_cast<int>(numbers[t] >> low) & last;
            carried[t] = (numbers[t] & ((u64{1} << low) - 1)) != 0;
            without[t] = find(digit);
            with[t] = carried[t] ? find((digit + 1) & last) : without[t];
            // 0 and no carry make none; 11…1 makes one unless the chunk of x and the carry are 0.
            carrying[t] = digit == last ? WHERE_ANY_BIT : digit || carried[t] ? BY_RIPPLE : NEVER;
        }
    }
};

// equal = ⊕ terms[v]·hot[v + shift mod 2^C], and less the same of `above`.
template <int C, bool EQUAL, class V>
TACITA_INLINE void look(const V* terms, const u64* hot, size_t stride, const V* above, int shift,
                        V* equal, V* less) {
    constexpr int SIZE = 1 << C;
    V e = zeros<V>(), l = zeros<V>();
    const auto segment = [&](int from, int to, int by) {
#pragma GCC unroll 4
        for (int v = from; v < to; v++) {
            if (EQUAL) e ^= terms[v] & load<V>(hot + (v + by) * stride);
            l ^= terms[v] & above[v + by];
        }
    };
    segment(0, SIZE - shift, shift);
    segment(SIZE - shift, SIZE, shift - SIZE);
    if (EQUAL) *equal = e;
    *less = l;
}

// One chunk of one column for all numbers. `carry` holds that into the chunk and then out of it.
template <int C, bool EQUAL, class V>
static void look_at_chunk(const u64* index, const u64* hot, size_t stride, const Places& places,
                          const u64* numbers, int count, int low, V* carry, u64* nodes,
                          size_t each, size_t less_after) {
    constexpr int LOW = C / 2, HIGH = C - LOW, SIZE = 1 << C;
    V low_terms[1 << LOW], high_terms[1 << HIGH], terms[SIZE], above[SIZE];
    minterms<LOW, V>(index, stride, low_terms);
    minterms<HIGH, V>(index + LOW * stride, stride, high_terms);
    for (int v = 0; v < SIZE; v++) terms[v] = high_terms[v >> LOW] & low_terms[v & ((1 << LOW) - 1)];
    above[SIZE - 1] = zeros<V>();
    for (int v = SIZE - 1; v > 0; v--) above[v - 1] = above[v] ^ load<V>(hot + v * stride);
    V equal[2 * MAX_NUMBERS], less[2 * MAX_NUMBERS];
    for (int i = 0; i < places.count; i++)
        look<C, EQUAL, V>(terms, hot, stride, above, places.shift[i], equal + i, less + i);
    V any = zeros<V>();
    for (int b = 0; b < C; b++) any |= load<V>(index + b * stride);
    for (int t = 0; t < count; t++) {
        const int i = places.without[t], j = places.with[t];
        u64* node = nodes + t * each;
        V e = equal[i], l = less[i], c = carry[t];
        if (places.carried[t]) {
            if (EQUAL) e ^= c & (e ^ equal[j]);
            l ^= c & (l ^ less[j]);
        }
        if (EQUAL) store<V>(node, e);
        store<V>(node + less_after, l);
        if (places.carrying[t] == Places::WHERE_ANY_BIT)
            carry[t] = c | any;
        else if (places.carrying[t] == Places::BY_RIPPLE) {
            for (int b = 0; b < C; b++) {
                const V bit = load<V>(index + b * stride);
                c = (numbers[t] >> (low + b)) & 1 ? c | bit : c & bit;
            }
            carry[t] = c;
        }
    }
}

// All chunks of one column, the least significant first, as carries go.
template <class V>
static void look_at_column(const u64* index, const u64* hot, size_t stride, Chunks chunks,
                           const Places* places, const u64* numbers, int count, u64* nodes,
                           u64* tops) {
    const int m = chunks.size;
    const size_t each = (2 * m - 1) * stride;
    V carry[MAX_NUMBERS];
    for (int t = 0; t < count; t++) carry[t] = zeros<V>();
    hot += chunks.entries * stride;
    int low = 0;
    for (int i = m - 1; i >= 0; i--) {
        hot -= stride << chunks.bits[i];
        by_bits(chunks.bits[i], [&](auto bits) {
            constexpr int C = decltype(bits)::value;
            if (i < m - 1)
                look_at_chunk<C, true, V>(index + low * stride, hot, stride, places[i], numbers,
                                          count, low, carry, nodes + i * stride, each,
                                          (m - 1) * stride);
            else
                look_at_chunk<C, false, V>(index + low * stride, hot, stride, places[i], numbers,
                                           count, low, carry, nodes + i * stride, each,
                                           (m - 1) * stride);
        });
        low += chunks.bits[i];
    }
    const V top = load<V>(index + low * stride);
    for (int t = 0; t < count; t++)
        store<V>(tops + t * stride, top ^ carry[t] ^ every<V>((numbers[t] >> low) & 1));
}

static void lookup_many(const u64* index, const u64* hot, Sliced shape, Chunks chunks,
                        const u64* numbers, int count, u64* nodes, u64* tops) {
    const size_t stride = shape.width, outputs = 2 * chunks.size - 1;
    Places places[63];
    for (int i = chunks.size - 1, low = 0; i >= 0; low += chunks.bits[i--])
        places[i].plan(numbers, count, low, chunks.bits[i]);
    for (size_t block = 0; block < shape.blocks; block++)
        each_column(shape.width, [&](auto v, int column) {
            look_at_column<decltype(v)>(index + block * (chunks.planes + 1) * stride + column,
                                        hot + block * chunks.entries * stride + column, stride,
                                        chunks, places, numbers, count,
                                        nodes + block * count * outputs * stride + column,
                                        tops + block * count * stride + column);
        });
}

}  // namespace tacita::TACITA_PATH
