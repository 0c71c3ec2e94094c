// Bits of several thresholds to ring elements, and to sums of public steps: one pass over memory.
//
// Bits come as planes side by side, [blocks, count, width]; ring elements as rows of n, one for each
// threshold.
#pragma once

#include "multiply.hpp"
#include "tables.hpp"

namespace tacita::TACITA_PATH {

constexpr size_t RUN = 64;       // elements whose bits share a word
constexpr int ROWS_AT_ONCE = 4;  // sums that are kept in registers

// The word with the bits of `row` for elements 64·q … 64·q + 63.
TACITA_INLINE u64 word_of(const u64* planes, size_t width, size_t count, size_t row, size_t q) {
    return planes[(q / width * count + row) * width + q % width];
}

static void bits_correction(const u64* s, size_t n, size_t width, size_t count, u64* into) {
    for (size_t row = 0; row < count; row++) {
        u64* to = into + row * n;
        size_t q = 0;
        for (; (q + 1) * RUN <= n; q++) {
            const u64 word = word_of(s, width, count, row, q);
            u64* run = to + q * RUN;
#pragma GCC ivdep
            for (size_t j = 0; j < RUN; j++) run[j] = ((word >> j) & 1) - run[j];
        }
        for (size_t i = q * RUN; i < n; i++)
            to[i] = ((word_of(s, width, count, row, q) >> i % RUN) & 1) - to[i];
    }
}

// b = b̂ ⊕ s as a share: dealt where b̂ = 0, [first] − dealt where b̂ = 1. `shift` brings b̂ to bit 0.
template <class V> TACITA_INLINE V unflip(u64 word, V shift, V dealt, u64 first) {
    const V mask = V{} - (((V{} + word) >> shift) & 1);
    return (dealt ^ mask) - mask + (mask & first);
}

// Rows `from` … `from` + M − 1 of the sums.
template <int M>
static void climb(const u64* flipped, const u64* dealt, size_t n, size_t width, Stairs stairs,
                  size_t from, u64 first, u64* out) {
    using V = Lanes<LANES>::type;
    const size_t count = stairs.thresholds;
    const u64 *base = stairs.base + from, *steps = stairs.steps + from * count;
    out += from * n;
    u64 packed[MAX_NUMBERS][M][Step::LEFT_WORDS], words[MAX_NUMBERS], lanes[LANES];
    for (size_t t = 0; t < count; t++)
        for (int m = 0; m < M; m++) Step::pack(steps[m * count + t], packed[t][m]);
    for (int l = 0; l < LANES; l++) lanes[l] = l;
    for (size_t q = 0; q * RUN < n; q++) {
        for (size_t t = 0; t < count; t++) words[t] = word_of(flipped, width, count, t, q);
        const size_t end = (q + 1) * RUN < n ? (q + 1) * RUN : n;
        size_t i = q * RUN;
        for (; i + LANES <= end; i += LANES) {
            const V shift = load<V>(lanes) + i % RUN;
            Step::Sum sums[M];
            for (int m = 0; m < M; m++) sums[m] = Step::zero();
            for (size_t t = 0; t < count; t++) {
                const V bit = unflip<V>(words[t], shift, load<V>(dealt + t * n + i), first);
                for (int m = 0; m < M; m++)
                    Step::add(sums[m], Step::broadcast(packed[t][m]), (Step::Vector)bit);
            }
            for (int m = 0; m < M; m++) {
                u64 total[LANES];
                Step::total(sums[m], total);
                store<V>(out + m * n + i, load<V>(total) + (first ? base[m] : 0));
            }
        }
        for (; i < end; i++)
            for (int m = 0; m < M; m++) {
                u64 sum = first ? base[m] : 0;
                for (size_t t = 0; t < count; t++)
                    sum += steps[m * count + t] *
                           unflip<u64>(words[t], i % RUN, dealt[t * n + i], first);
                out[m * n + i] = sum;
            }
    }
}

static void stairs_share(const u64* flipped, const u64* dealt, size_t n, size_t width,
                         Stairs stairs, bool first, u64* out) {
    size_t row = 0;
    const auto rows = [&](auto count) {
        constexpr int M = decltype(count)::value;
        for (; row + M <= stairs.rows; row += M)
            climb<M>(flipped, dealt, n, width, stairs, row, first, out);
    };
    rows(Bits<ROWS_AT_ONCE>{});
    rows(Bits<2>{});
    rows(Bits<1>{});
}

}  // namespace tacita::TACITA_PATH
