// Distributed point functions: keys, and walks down their trees towards public points. What is
// computed, and the layout of a key, stands in src/tacita/ring/points.py.
//
// Compiled once for each width, as cipher.cpp is. Elements go by groups that fill eight vectors,
// because a level is a chain of AES rounds: only many walks side by side keep the AES units busy.
#include <cstring>

#include "aes.hpp"

namespace tacita::TACITA_CIPHER {

constexpr size_t BLOCK = 16;  // elements of a key that lie together
constexpr size_t LEVEL = 2 * BLOCK;  // words of a whole block's level
constexpr int MOST_ROWS = point_levels(MOST_POINT_BITS) + 1;  // levels and the leaf

constexpr size_t WALKS = 8, KEYS = 4;  // vectors of a group; a key has two nodes for each element
constexpr size_t WALK_GROUP = WALKS * BLOCKS, KEY_GROUP = KEYS * BLOCKS;
constexpr size_t SPAN = WALK_GROUP > BLOCK ? WALK_GROUP : BLOCK;
static_assert(SPAN % BLOCK == 0 && SPAN % WALK_GROUP == 0 && SPAN % KEY_GROUP == 0);
static_assert(BLOCK % KEY_GROUP == 0);

static inline size_t block_words(int bits) { return (point_levels(bits) + 1) * LEVEL; }

// The words of element e's corrections, from the start of a key of whole blocks.
static inline size_t place(size_t e, size_t block) { return e / BLOCK * block + e % BLOCK * 2; }
// The same for the vector i of a group, from the start of the group: constant where it can be.
static inline size_t offset(size_t i, size_t block) {
    return i * BLOCKS / BLOCK * block + i * BLOCKS % BLOCK * 2;
}

// ---- nodes -------------------------------------------------------------------------------------

static inline Vector sigma(Vector x) {
    return exclusive_or(halves_swapped(x), both(x, spread(_mm_set_epi64x(-1, 0))));
}

// A root: the words with the control bit set to the party's number.
static inline Vector rooted(Vector words, u64 party) {
    const Vector cleared = both(words, spread(_mm_set_epi64x(-1, ~1LL)));
    return exclusive_or(cleared, spread(_mm_set_epi64x(0, static_cast<long long>(party))));
}

// x, or 0 where the node's control bit is 0.
static inline Vector where_control(Vector node, Vector x) {
    return where_top_bit(shift_left(low_half_twice(node), 63), x);
}

// COUNT vectors side by side: all rounds but the last, whose key the caller adds something to.
template <size_t COUNT> static inline void rounds(const Schedule& schedule, Vector* state) {
#pragma GCC unroll 16
    for (int r = 1; r < ROUNDS; r++)
#pragma GCC unroll 8
        for (size_t i = 0; i < COUNT; i++) state[i] = round(state[i], schedule.keys[r]);
}

// A number in both words of its block, its highest bit on top.
template <size_t COUNT>
static inline void align(const u64* numbers, int bits, u64 fill, u64* aligned) {
    for (size_t e = 0; e < COUNT; e++)
        aligned[2 * e] = aligned[2 * e + 1] = numbers[e] << (64 - bits) | fill;
}

// Which bits of a leaf count for a number: its own, or with `above` those of greater numbers.
template <size_t COUNT>
static inline void leaf_masks(const u64* numbers, int bits, bool above, u64* masks) {
    const u64 inner = (u64{1} << (bits < LEAF_BITS ? bits : LEAF_BITS)) - 1;
    const u64 beyond = u64{0} - above;
    for (size_t e = 0; e < COUNT; e++) {
        const u64 number = numbers[e] & inner, upper = u64{0} - (number >> 6);
        const u64 own = u64{1} << (number & 63), greater = u64{0} - (own << 1);
        const u64 word = (own & ~beyond) | (greater & beyond);
        masks[2 * e] = word & ~upper;
        masks[2 * e + 1] = (word & upper) | (beyond & ~upper);
    }
}

// ---- walks -------------------------------------------------------------------------------------

// A group of walks. ORDER: shares of [α > point], otherwise of [α = point]. `ahead`: what follows
// in memory at this distance is fetched on the way, if it is not 0.
template <bool ORDER>
static void walk_group(const Schedule& schedule, const u64* numbers, const u64* roots, u64 party,
                       const u64* keys, size_t block, int bits, size_t ahead, u8* out) {
    alignas(64) u64 path[2 * WALK_GROUP], turns[2 * WALK_GROUP], mask[2 * WALK_GROUP];
    const int depth = point_levels(bits);
    // Σ over levels i that go left of t_{i-1} ⊕ t_i, put together by t: t_i counts where levels i
    // and i + 1 go different ways, if what lies before the root and below the last level is "right".
    align<WALK_GROUP>(numbers, bits, ~u64{0} >> depth, path);
    if (ORDER)
        for (size_t w = 0; w < 2 * WALK_GROUP; w++)
            turns[w] = path[w] ^ (path[w] >> 1 | u64{1} << 63);
    leaf_masks<WALK_GROUP>(numbers, bits, ORDER, mask);

    Vector node[WALKS], tail[WALKS], upwards[WALKS];
#pragma GCC unroll 8
    for (size_t i = 0; i < WALKS; i++) {
        node[i] = rooted(load(roots + i * WORDS), party);
        upwards[i] = exclusive_or(node[i], node[i]);
    }
    const Vector whitening = schedule.keys[0], last_key = schedule.keys[ROUNDS];
    for (int level = 0; level < depth; level++, keys += LEVEL) {
#pragma GCC unroll 8
        for (size_t i = 0; i < WALKS; i++) {
            const Vector x = node[i], turned = sigma(x);
            const Vector right = where_top_bit(shift_left(load(path + i * WORDS), level), x);
            const Vector fix = where_control(x, load(keys + offset(i, block)));
            if (ORDER) {
                const Vector turn = shift_left(load(turns + i * WORDS), level);
                upwards[i] = exclusive_or(upwards[i], where_top_bit(turn, x));
            }
            tail[i] = exclusive_or(exclusive_or(turned, last_key), exclusive_or(right, fix));
            node[i] = exclusive_or(turned, whitening);
        }
        if (ahead)
#pragma GCC unroll 8
            for (size_t i = 0; i < WALKS; i += 4 / BLOCKS)  // four nodes in a cache line
                __builtin_prefetch(keys + ahead + offset(i, block));
        rounds<WALKS>(schedule, node);
#pragma GCC unroll 8
        for (size_t i = 0; i < WALKS; i++) node[i] = last(node[i], tail[i]);
    }
    if (ahead)
#pragma GCC unroll 8
        for (size_t i = 0; i < WALKS; i += 4 / BLOCKS)
            __builtin_prefetch(keys + ahead + offset(i, block));

#pragma GCC unroll 8
    for (size_t i = 0; i < WALKS; i++) {
        const Vector x = node[i], turned = sigma(x);
        if (ORDER) {
            const Vector turn = shift_left(load(turns + i * WORDS), depth);
            upwards[i] = exclusive_or(upwards[i], where_top_bit(turn, x));
        }
        tail[i] = exclusive_or(exclusive_or(turned, last_key),
                               where_control(x, load(keys + offset(i, block))));
        node[i] = exclusive_or(turned, whitening);
    }
    rounds<WALKS>(schedule, node);
    const Vector control = spread(_mm_set_epi64x(0, 1));
#pragma GCC unroll 8
    for (size_t i = 0; i < WALKS; i++) {
        Vector counted = both(last(node[i], tail[i]), load(mask + i * WORDS));
        if (ORDER) counted = exclusive_or(counted, both(upwards[i], control));
        store(mask + i * WORDS, counted);
    }
    for (size_t e = 0; e < WALK_GROUP; e++) {
        u64 parity = mask[2 * e] ^ mask[2 * e + 1];
        for (int half = 32; half > 0; half /= 2) parity ^= parity >> half;
        out[e] = static_cast<u8>(parity & 1);
    }
}

template <bool ORDER>
static void run(const u64* points, size_t count, const u64* roots, const u64* keys, size_t n,
                int bits, const Schedule& schedule, u64 party, u8* out) {
    const size_t block = block_words(bits), whole = n - n % SPAN;
    for (size_t e = 0; e < whole; e += WALK_GROUP) {
        // What comes next is fetched once: by the first of the walks with these corrections.
        size_t ahead = e + SPAN < whole ? place(SPAN, block) : 0;
        for (size_t t = 0; t < count; t++, ahead = 0)
            walk_group<ORDER>(schedule, points + t * n + e, roots + 2 * e, party,
                              keys + place(e, block), block, bits, ahead, out + t * n + e);
    }
    const size_t rest = n - whole;
    if (rest == 0) return;
    // What is left is laid out as whole blocks would be; what is made of the padding is dropped.
    u64 root[2 * SPAN] = {}, numbers[SPAN] = {}, key[SPAN * 2 * MOST_ROWS] = {};
    u8 shares[SPAN];
    std::memcpy(root, roots + 2 * whole, 2 * rest * sizeof(u64));
    const u64* from = keys + place(whole, block);
    for (size_t e = 0; e < rest; e += BLOCK) {
        const size_t row = 2 * (rest - e < BLOCK ? rest - e : BLOCK);
        for (int level = 0; level <= point_levels(bits); level++, from += row)
            std::memcpy(key + place(e, block) + level * LEVEL, from, row * sizeof(u64));
    }
    for (size_t t = 0; t < count; t++) {
        std::memcpy(numbers, points + t * n + whole, rest * sizeof(u64));
        for (size_t e = 0; e < rest; e += WALK_GROUP)
            walk_group<ORDER>(schedule, numbers + e, root + 2 * e, party, key + place(e, block),
                              block, bits, 0, shares + e);
        std::memcpy(out + t * n + whole, shares, rest);
    }
}

static void walk(bool order, const u64* points, size_t count, const u64* roots, const u64* keys,
                 size_t n, int bits, const u8* permutation, bool first, u8* out) {
    const Schedule schedule = expand(permutation);
    const u64 party = first ? 0 : 1;
    if (order)
        run<true>(points, count, roots, keys, n, bits, schedule, party, out);
    else
        run<false>(points, count, roots, keys, n, bits, schedule, party, out);
}

// ---- keys --------------------------------------------------------------------------------------

// The corrections of a group. Both parties' nodes on α's path are followed as one and Δ: σ is
// linear, so H(s_0) ⊕ H(s_1) = π(σ(s_0)) ⊕ π(σ(s_0) ⊕ σ(Δ)) ⊕ σ(Δ).
static void generate_group(const Schedule& schedule, const u64* alpha, const u64* first,
                           const u64* second, int bits, u64* into) {
    alignas(64) u64 path[2 * KEY_GROUP], mask[2 * KEY_GROUP];
    const int depth = point_levels(bits);
    align<KEY_GROUP>(alpha, bits, 0, path);
    leaf_masks<KEY_GROUP>(alpha, bits, false, mask);

    Vector node[KEYS], delta[KEYS], turned[KEYS], state[2 * KEYS];
#pragma GCC unroll 4
    for (size_t i = 0; i < KEYS; i++) {
        node[i] = rooted(load(first + i * WORDS), 0);
        delta[i] = exclusive_or(node[i], rooted(load(second + i * WORDS), 1));
    }
    const auto permute = [&] {
#pragma GCC unroll 4
        for (size_t i = 0; i < KEYS; i++) {
            turned[i] = sigma(node[i]);
            state[i] = exclusive_or(turned[i], schedule.keys[0]);
            state[KEYS + i] = exclusive_or(state[i], sigma(delta[i]));
        }
        rounds<2 * KEYS>(schedule, state);
#pragma GCC unroll 8
        for (size_t i = 0; i < 2 * KEYS; i++) state[i] = last(state[i], schedule.keys[ROUNDS]);
    };
    for (int level = 0; level < depth; level++, into += LEVEL) {
        permute();
#pragma GCC unroll 4
        for (size_t i = 0; i < KEYS; i++) {
            const Vector right = shift_left(load(path + i * WORDS), level);
            const Vector left_delta = exclusive_or(delta[i], where_top_bit(right, delta[i]));
            const Vector differing = exclusive_or(sigma(delta[i]), left_delta);
            const Vector fix = exclusive_or(exclusive_or(state[i], state[KEYS + i]), differing);
            store(into + i * WORDS, fix);
            const Vector child = exclusive_or(exclusive_or(state[i], turned[i]),
                                              where_top_bit(right, node[i]));
            node[i] = exclusive_or(child, where_control(node[i], fix));
        }
    }
    permute();
#pragma GCC unroll 4
    for (size_t i = 0; i < KEYS; i++) {
        const Vector differing = exclusive_or(sigma(delta[i]), load(mask + i * WORDS));
        store(into + i * WORDS,
              exclusive_or(exclusive_or(state[i], state[KEYS + i]), differing));
    }
}

static void generate(const u64* alpha, const u64* roots, size_t n, int bits, const u8* permutation,
                     u64* into) {
    const Schedule schedule = expand(permutation);
    const size_t block = block_words(bits), whole = n - n % BLOCK;
    const u64 *first = roots, *second = roots + 2 * n;
    for (size_t e = 0; e < whole; e += KEY_GROUP)
        generate_group(schedule, alpha + e, first + 2 * e, second + 2 * e, bits,
                       into + place(e, block));
    const size_t rest = n - whole, row = 2 * rest;
    if (rest == 0) return;
    u64 numbers[BLOCK] = {}, root[2][2 * BLOCK] = {}, key[LEVEL * MOST_ROWS];
    std::memcpy(numbers, alpha + whole, rest * sizeof(u64));
    std::memcpy(root[0], first + 2 * whole, row * sizeof(u64));
    std::memcpy(root[1], second + 2 * whole, row * sizeof(u64));
    for (size_t e = 0; e < rest; e += KEY_GROUP)
        generate_group(schedule, numbers + e, root[0] + 2 * e, root[1] + 2 * e, bits, key + 2 * e);
    into += place(whole, block);
    for (int level = 0; level <= point_levels(bits); level++, into += row)
        std::memcpy(into, key + level * LEVEL, row * sizeof(u64));
}

extern const PointFunctions points;
const PointFunctions points = {TACITA_NAME(TACITA_CIPHER), generate, walk};

}  // namespace tacita::TACITA_CIPHER
