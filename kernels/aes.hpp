// Vectors of 128-bit blocks and AES-128 on them, in one vocabulary for the three widths.
//
// Compiled once for each width: TACITA_CIPHER is aesni, vaes256 or vaes512. There is no
// table-based AES here: without these instructions the caller uses another library.
#pragma once

#include <immintrin.h>

#include "table.hpp"

namespace tacita::TACITA_CIPHER {

// Orders of a block's four 32-bit parts.
#if defined(__AVX512F__) && defined(__VAES__)
constexpr auto SWAPPED = _MM_PERM_BADC, LOW_TWICE = _MM_PERM_BABA;
#else
constexpr int SWAPPED = 0x4e, LOW_TWICE = 0x44;
#endif

// where_top_bit: each 64-bit word of x, or 0, as the top bit of that word in `bits` says.
#if defined(__AVX512F__) && defined(__VAES__)
using Vector = __m512i;
static inline Vector spread(__m128i x) { return _mm512_broadcast_i32x4(x); }
static inline Vector plus(Vector x, Vector y) { return _mm512_add_epi64(x, y); }
static inline Vector exclusive_or(Vector x, Vector y) { return _mm512_xor_si512(x, y); }
static inline Vector shuffle(Vector x, Vector order) { return _mm512_shuffle_epi8(x, order); }
static inline Vector round(Vector x, Vector key) { return _mm512_aesenc_epi128(x, key); }
static inline Vector last(Vector x, Vector key) { return _mm512_aesenclast_epi128(x, key); }
static inline Vector load(const u64* p) { return _mm512_loadu_si512(p); }
static inline void store(u64* p, Vector x) { _mm512_storeu_si512(p, x); }
static inline Vector both(Vector x, Vector y) { return _mm512_and_si512(x, y); }
static inline Vector halves_swapped(Vector x) { return _mm512_shuffle_epi32(x, SWAPPED); }
static inline Vector low_half_twice(Vector x) { return _mm512_shuffle_epi32(x, LOW_TWICE); }
static inline Vector shift_left(Vector x, int count) {
    return _mm512_sll_epi64(x, _mm_cvtsi32_si128(count));
}
static inline Vector where_top_bit(Vector bits, Vector x) {
    return _mm512_and_si512(_mm512_srai_epi64(bits, 63), x);
}
#elif defined(__VAES__)
using Vector = __m256i;
static inline Vector spread(__m128i x) { return _mm256_broadcastsi128_si256(x); }
static inline Vector plus(Vector x, Vector y) { return _mm256_add_epi64(x, y); }
static inline Vector exclusive_or(Vector x, Vector y) { return _mm256_xor_si256(x, y); }
static inline Vector shuffle(Vector x, Vector order) { return _mm256_shuffle_epi8(x, order); }
static inline Vector round(Vector x, Vector key) { return _mm256_aesenc_epi128(x, key); }
static inline Vector last(Vector x, Vector key) { return _mm256_aesenclast_epi128(x, key); }
static inline Vector load(const u64* p) {
    return _mm256_loadu_si256(reinterpret_cast<const Vector*>(p));
}
static inline void store(u64* p, Vector x) { _mm256_storeu_si256(reinterpret_cast<Vector*>(p), x); }
static inline Vector both(Vector x, Vector y) { return _mm256_and_si256(x, y); }
static inline Vector halves_swapped(Vector x) { return _mm256_shuffle_epi32(x, SWAPPED); }
static inline Vector low_half_twice(Vector x) { return _mm256_shuffle_epi32(x, LOW_TWICE); }
static inline Vector shift_left(Vector x, int count) {
    return _mm256_sll_epi64(x, _mm_cvtsi32_si128(count));
}
static inline Vector where_top_bit(Vector bits, Vector x) {
    return _mm256_castpd_si256(_mm256_blendv_pd(_mm256_setzero_pd(), _mm256_castsi256_pd(x),
                                                _mm256_castsi256_pd(bits)));
}
#else
using Vector = __m128i;
static inline Vector spread(__m128i x) { return x; }
static inline Vector plus(Vector x, Vector y) { return _mm_add_epi64(x, y); }
static inline Vector exclusive_or(Vector x, Vector y) { return _mm_xor_si128(x, y); }
static inline Vector shuffle(Vector x, Vector order) { return _mm_shuffle_epi8(x, order); }
static inline Vector round(Vector x, Vector key) { return _mm_aesenc_si128(x, key); }
static inline Vector last(Vector x, Vector key) { return _mm_aesenclast_si128(x, key); }
static inline Vector load(const u64* p) {
    return _mm_loadu_si128(reinterpret_cast<const Vector*>(p));
}
static inline void store(u64* p, Vector x) { _mm_storeu_si128(reinterpret_cast<Vector*>(p), x); }
static inline Vector both(Vector x, Vector y) { return _mm_and_si128(x, y); }
static inline Vector halves_swapped(Vector x) { return _mm_shuffle_epi32(x, SWAPPED); }
static inline Vector low_half_twice(Vector x) { return _mm_shuffle_epi32(x, LOW_TWICE); }
static inline Vector shift_left(Vector x, int count) {
    return _mm_sll_epi64(x, _mm_cvtsi32_si128(count));
}
static inline Vector where_top_bit(Vector bits, Vector x) {
    return _mm_castpd_si128(
        _mm_blendv_pd(_mm_setzero_pd(), _mm_castsi128_pd(x), _mm_castsi128_pd(bits)));
}
#endif

constexpr size_t WORDS = sizeof(Vector) / sizeof(u64);
constexpr size_t BLOCKS = WORDS / 2;
constexpr int ROUNDS = 10;

struct Schedule {
    Vector keys[ROUNDS + 1];
};

template <int CONSTANT> static inline __m128i next_key(__m128i key) {
    const __m128i assist = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, CONSTANT), 0xff);
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, assist);
}

static inline Schedule expand(const u8* key) {
    __m128i k[ROUNDS + 1];
    k[0] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
    k[1] = next_key<0x01>(k[0]);
    k[2] = next_key<0x02>(k[1]);
    k[3] = next_key<0x04>(k[2]);
    k[4] = next_key<0x08>(k[3]);
    k[5] = next_key<0x10>(k[4]);
    k[6] = next_key<0x20>(k[5]);
    k[7] = next_key<0x40>(k[6]);
    k[8] = next_key<0x80>(k[7]);
    k[9] = next_key<0x1b>(k[8]);
    k[10] = next_key<0x36>(k[9]);
    Schedule schedule;
    for (int i = 0; i <= ROUNDS; i++) schedule.keys[i] = spread(k[i]);
    return schedule;
}

#define TACITA_QUOTE(x) #x
#define TACITA_NAME(x) TACITA_QUOTE(x)

}  // namespace tacita::TACITA_CIPHER
