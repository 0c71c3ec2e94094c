// The innermost step of matmul: a vector multiply-add mod 2^64, three ways behind one interface.
//
//   Sum      accumulator of LANES products
//   Left     a's operand; prepared once for each load of `a`, used with several of b
//   add      sum += left · b, lane by lane
//   total    the LANES sums as 64-bit words
//   pack     a word as `broadcast` takes it, LEFT_WORDS words
//   pack_lanes  the words of a vector as `pack` makes them, ROWS beside each other; the next ROWS
//            go `panel` words further
//   renew    makes the compiler forget what it knows of a Left (for measurements)
//
// AVX2 has no 64-bit multiplication. With x = x1·2^32 + x0, the product's low 64 bits are
// x0·y0 + (x0·y1 + x1·y0)·2^32: vpmuludq gives the first term, and ONE vpmulld of x with y's halves
// swapped gives both cross terms, of which only the low 32 bits count. The cross terms are summed
// in 32-bit lanes and moved up at the end: 2 multiplications and 2 additions for 4 products.
#pragma once

#include "lanes.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tacita::TACITA_PATH {

#if defined(__AVX512DQ__)

struct Step {
    static constexpr int LANES = 8, ROWS = 8, VECTORS = 2, LEFT_WORDS = 1;
    using Vector = __m512i;
    struct Sum { __m512i sum; };
    struct Left { __m512i plain; };

    static TACITA_INLINE Vector load(const u64* p) { return _mm512_loadu_si512(p); }
    static TACITA_INLINE Left left(Vector v) { return {v}; }
    static TACITA_INLINE Left broadcast(const u64* packed) {
        return {_mm512_set1_epi64(static_cast<long long>(*packed))};
    }
    static TACITA_INLINE void pack(u64 value, u64* packed) { *packed = value; }
    static TACITA_INLINE void pack_lanes(Lanes<8>::type v, u64* packed, size_t) {
        store(packed, v);
    }
    static TACITA_INLINE Sum zero() { return {_mm512_setzero_si512()}; }
    static TACITA_INLINE void add(Sum& s, const Left& a, Vector b) {
        s.sum = _mm512_add_epi64(s.sum, _mm512_mullo_epi64(a.plain, b));
    }
    static TACITA_INLINE void renew(Left& a) { __asm__ volatile("" : "+v"(a.plain)); }
    static TACITA_INLINE void total(const Sum& s, u64* words) { _mm512_storeu_si512(words, s.sum); }
};

#elif defined(__AVX2__)

struct Step {
    static constexpr int LANES = 4, ROWS = 2, VECTORS = 2, LEFT_WORDS = 2;
    using Vector = __m256i;
    // In its own type: if the sum were a __m256i too, GCC would copy it in every step.
    using Halves = unsigned __attribute__((vector_size(32)));
    struct Sum {
        __m256i low;
        Halves cross;
    };
    struct Left { __m256i plain, swapped; };

    static TACITA_INLINE Vector load(const u64* p) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    static TACITA_INLINE Left left(Vector v) { return {v, _mm256_shuffle_epi32(v, 0xB1)}; }
    static TACITA_INLINE Left broadcast(const u64* packed) {
        return {_mm256_set1_epi64x(static_cast<long long>(packed[0])),
                _mm256_set1_epi64x(static_cast<long long>(packed[1]))};
    }
    static TACITA_INLINE void pack(u64 value, u64* packed) {
        packed[0] = value;
        packed[1] = value >> 32 | value << 32;
    }
    static TACITA_INLINE void pack_lanes(Lanes<4>::type v, u64* packed, size_t panel) {
        const Lanes<4>::type swapped = v >> 32 | v << 32;
        store(packed, __builtin_shufflevector(v, swapped, 0, 4, 1, 5));
        store(packed + panel, __builtin_shufflevector(v, swapped, 2, 6, 3, 7));
    }
    static TACITA_INLINE Sum zero() { return {_mm256_setzero_si256(), Halves{}}; }
    static TACITA_INLINE void add(Sum& s, const Left& a, Vector b) {
        s.low = _mm256_add_epi64(s.low, _mm256_mul_epu32(a.plain, b));
        s.cross += reinterpret_cast<Halves>(_mm256_mullo_epi32(a.swapped, b));
    }
    static TACITA_INLINE void renew(Left& a) {
        __asm__ volatile("" : "+x"(a.plain), "+x"(a.swapped));
    }
    static TACITA_INLINE void total(const Sum& s, u64* words) {
        const __m256i halves = reinterpret_cast<__m256i>(s.cross);
        const __m256i cross = _mm256_add_epi32(halves, _mm256_srli_epi64(halves, 32));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(words),
                            _mm256_add_epi64(s.low, _mm256_slli_epi64(cross, 32)));
    }
};

#else

// One word at a time: where vectors have no wide multiplication, the scalar one is faster.
struct Step {
    static constexpr int LANES = 1, ROWS = 2, VECTORS = 4, LEFT_WORDS = 1;
    using Vector = u64;
    struct Sum { u64 sum; };
    struct Left { u64 plain; };

    static TACITA_INLINE Vector load(const u64* p) { return *p; }
    static TACITA_INLINE Left left(Vector v) { return {v}; }
    static TACITA_INLINE Left broadcast(const u64* packed) { return {*packed}; }
    static TACITA_INLINE void pack(u64 value, u64* packed) { *packed = value; }
    static TACITA_INLINE void pack_lanes(u64 v, u64* packed, size_t) { *packed = v; }
    static TACITA_INLINE Sum zero() { return {0}; }
    static TACITA_INLINE void add(Sum& s, const Left& a, Vector b) { s.sum += a.plain * b; }
    static TACITA_INLINE void renew(Left& a) { __asm__ volatile("" : "+r"(a.plain)); }
    static TACITA_INLINE void total(const Sum& s, u64* words) { *words = s.sum; }
};

#endif

constexpr int LANES = Step::LANES, ROWS = Step::ROWS, VECTORS = Step::VECTORS;
constexpr int COLUMNS = LANES * VECTORS;

TACITA_INLINE u64 sum_lanes(const Step::Sum& sum) {
    u64 words[LANES], all = 0;
    Step::total(sum, words);
    for (int l = 0; l < LANES; l++) all += words[l];
    return all;
}

}  // namespace tacita::TACITA_PATH
