// AES-128 in counter mode on the CPU's AES instructions: several counter blocks in one vector, and
// eight vectors in flight, because a round's latency is several times its throughput.
#include "aes.hpp"

namespace tacita::TACITA_CIPHER {

constexpr int FLIGHT = 8;
constexpr size_t BATCH = FLIGHT * WORDS;

static inline Vector counters(u64 nonce, u64 block) {
    u64 words[WORDS];
    for (size_t i = 0; i < BLOCKS; i++) {
        words[2 * i] = nonce;
        words[2 * i + 1] = block + i;
    }
    return load(words);
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

extern const Cipher cipher;
const Cipher cipher = {TACITA_NAME(TACITA_CIPHER), stream};

}  // namespace tacita::TACITA_CIPHER
