// AES-128 in counter mode on the CPU's AES instructions: several counter blocks in one vector, and
// eight vectors in flight, because a round's latency is several times its throughput.
//
// Compiled once for each width: TACITA_CIPHER is aesni, vaes256 or vaes512. There is no
// table-based AES here: without these instructions the caller uses another library.
#include <immintrin.h>

#include "table.hpp"

namespace tacita::TACITA_CIPHER {

#if defined(__AVX512F__) && defined(__VAES__)
using Vector = __m512i;
static inline Vector spread(__m128i x) { return _mm512_broadcast_i32x4(x); }
static inline Vector counters(u64 nonce, u64 block) {
    const long long n = static_cast<long long>(nonce), b = static_cast<long long>(block);
    return _mm512_set_epi64(b + 3, n, b + 2, n, b + 1, n, b, n);
}
static inline Vector plus(Vector x, Vector y) { return _mm512_add_epi64(x, y); }
static inline Vector exclusive_or(Vector x, Vector y) { return _mm512_xor_si512(x, y); }
static inline Vector shuffle(Vector x, Vector order) { return _mm512_shuffle_epi8(x, order); }
static inline Vector round(Vector x, Vector key) { return _mm512_aesenc_epi128(x, key); }
static inline Vector last(Vector x, Vector key) { return _mm512_aesenclast_epi128(x, key); }
static inline Vector load(const u64* p) { return _mm512_loadu_si512(p); }
static inline void store(u64* p, Vector x) { _mm512_storeu_si512(p, x); }
#elif defined(__VAES__)
using Vector = __m256i;
static inline Vector spread(__m128i x) { return _mm256_broadcastsi128_si256(x); }
static inline Vector counters(u64 nonce, u64 block) {
    const long long n = static_cast<long long>(nonce), b = static_cast<long long>(block);
    return _mm256_set_epi64x(b + 1, n, b, n);
}
static inline Vector plus(Vector x, Vector y) { return _mm256_add_epi64(x, y); }
static inline Vector exclusive_or(Vector x, Vector y) { return _mm256_xor_si256(x, y); }
static inline Vector shuffle(Vector x, Vector order) { return _mm256_shuffle_epi8(x, order); }
static inline Vector round(Vector x, Vector key) { return _mm256_aesenc_epi128(x, key); }
static inline Vector last(Vector x, Vector key) { return _mm256_aesenclast_epi128(x, key); }
static inline Vector load(const u64* p) {
    return _mm256_loadu_si256(reinterpret_cast<const Vector*>(p));
}
static inline void store(u64* p, Vector x) { _mm256_storeu_si256(reinterpret_cast<Vector*>(p), x); }
#else
using Vector = __m128i;
static inline Vector spread(__m128i x) { return x; }
static inline Vector counters(u64 nonce, u64 block) {
    return _mm_set_epi64x(static_cast<long long>(block), static_cast<long long>(nonce));
}
static inline Vector plus(Vector x, Vector y) { return _mm_add_epi64(x, y); }
static inline Vector exclusive_or(Vector x, Vector y) { return _mm_xor_si128(x, y); }
static inline Vector shuffle(Vector x, Vector order) { return _mm_shuffle_epi8(x, order); }
static inline Vector round(Vector x, Vector key) { return _mm_aesenc_si128(x, key); }
static inline Vector last(Vector x, Vector key) { return _mm_aesenclast_si128(x, key); }
static inline Vector load(const u64* p) {
    return _mm_loadu_si128(reinterpret_cast<const Vector*>(p));
}
static inline void store(u64* p, Vector x) { _mm_storeu_si128(reinterpret_cast<Vector*>(p), x); }
#endif

constexpr size_t WORDS = sizeof(Vector) / sizeof(u64);
constexpr size_t BLOCKS = WORDS / 2;
constexpr int FLIGHT = 8;
constexpr size_t BATCH = FLIGHT * WORDS;
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

static Schedule expand(const u8* key) {
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

// Counters are kept with the block number in native order, and turned round on their way in.
static inline Vector big_endian(Vector counter) {
    return shuffle(counter,
                   spread(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)));
}

static inline void keystream(const Schedule& schedule, Vector counter, Vector* state) {
    for (int i = 0; i < FLIGHT; i++) {
        state[i] = exclusive_or(big_endian(counter), schedule.keys[0]);
        counter = plus(counter, spread(_mm_set_epi64x(BLOCKS, 0)));
    }
#pragma GCC unroll 16
    for (int r = 1; r < ROUNDS; r++)
#pragma GCC unroll 8
        for (int i = 0; i < FLIGHT; i++) state[i] = round(state[i], schedule.keys[r]);
#pragma GCC unroll 8
    for (int i = 0; i < FLIGHT; i++) state[i] = last(state[i], schedule.keys[ROUNDS]);
}

template <Stream USE> static inline void put(u64* out, Vector stream) {
    if (USE == Stream::add) stream = plus(load(out), stream);
    if (USE == Stream::exclusive_or) stream = exclusive_or(load(out), stream);
    store(out, stream);
}

template <Stream USE>
static void run(const u8* key, u64 nonce, u64 block, u64* out, size_t words) {
    const Schedule schedule = expand(key);
    Vector state[FLIGHT];
    Vector counter = counters(nonce, block);
    const Vector batch = spread(_mm_set_epi64x(FLIGHT * BLOCKS, 0));
    for (; words >= BATCH; words -= BATCH, out += BATCH) {
        keystream(schedule, counter, state);
        counter = plus(counter, batch);
#pragma GCC unroll 8
        for (int i = 0; i < FLIGHT; i++) put<USE>(out + i * WORDS, state[i]);
    }
    if (words == 0) return;
    u64 rest[BATCH];
    keystream(schedule, counter, state);
    for (int i = 0; i < FLIGHT; i++) store(rest + i * WORDS, state[i]);
    for (size_t i = 0; i < words; i++) {
        const u64 before = USE == Stream::fill ? 0 : out[i];
        out[i] = USE == Stream::exclusive_or ? before ^ rest[i] : before + rest[i];
    }
}

static void stream(const u8* key, u64 nonce, u64 block, u64* out, size_t words, Stream use) {
    switch (use) {
        case Stream::fill: run<Stream::fill>(key, nonce, block, out, words); break;
        case Stream::add: run<Stream::add>(key, nonce, block, out, words); break;
        case Stream::exclusive_or: run<Stream::exclusive_or>(key, nonce, block, out, words);
    }
}

#define TACITA_QUOTE(x) #x
#define TACITA_NAME(x) TACITA_QUOTE(x)
extern const Cipher cipher;
const Cipher cipher = {TACITA_NAME(TACITA_CIPHER), stream};

}  // namespace tacita::TACITA_CIPHER
