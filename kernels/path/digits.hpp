// Digits modulo 67 of private comparisons, eight in a word: what the parties of `snn` tell the
// dealer, what it deals, and what it finds. The arithmetic is that of src/tacita/ring/digits_twin.py.
//
// An element's digits are worked on side by side, in places that are filled up to whole vectors.
// What stands in the places after the last digit never reaches a result.
#pragma once

#include "fixed.hpp"

namespace tacita::TACITA_PATH {

using u16 = std::uint16_t;

constexpr u16 PRIME = 67;         // above any sum of 64 bits and 2
constexpr size_t PACKED = 8;      // digits in a word
constexpr size_t MOST_DIGITS = 65;
constexpr size_t STEP = 16;       // digits that fill a vector of 16-bit fields
constexpr size_t PLACES = 80;     // the most digits, in whole steps
constexpr size_t AT_A_TIME = 16;  // elements that are worked on together
constexpr u64 LOW_BITS = 0x0101010101010101u;  // of the digits of a word

TACITA_INLINE size_t packed_words(size_t count) { return (count + PACKED - 1) / PACKED; }
TACITA_INLINE size_t whole_steps(size_t count) { return (count + STEP - 1) / STEP * STEP; }

// The digits of the last of so many digits' words.
TACITA_INLINE u64 last_word(size_t count) {
    return ~u64{0} >> ((PACKED - count % PACKED) % PACKED * 8);
}

// Digits of a step, with room for products.
typedef u16 Fields __attribute__((vector_size(2 * STEP)));
typedef u8 Narrow __attribute__((vector_size(STEP)));
typedef u8 Octets __attribute__((vector_size(2 * STEP)));

template <class V, class T> TACITA_INLINE V vector_at(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
TACITA_INLINE Fields fields(const u16* p) { return vector_at<Fields>(p); }
TACITA_INLINE Octets octets(const u8* p) { return vector_at<Octets>(p); }
TACITA_INLINE Fields widened(const u8* p) {
    return __builtin_convertvector(vector_at<Narrow>(p), Fields);
}
TACITA_INLINE void put(u16* p, Fields v) { __builtin_memcpy(p, &v, sizeof v); }
TACITA_INLINE void narrow(u8* p, Fields v) {
    const Narrow bytes = __builtin_convertvector(v, Narrow);
    __builtin_memcpy(p, &bytes, sizeof bytes);
}

// Digits below 2·67 as digits below 67.
TACITA_INLINE Fields once_less(Fields v) { return v - ((Fields)(v >= PRIME) & PRIME); }

// ---- uniform words to digits --------------------------------------------------------------------

// Uniform below `size`: the top of a product of 64 and 7 bits.
template <class V> TACITA_INLINE V below(V word, V size) {
    return (unsigned_product(word >> 32, size) + (unsigned_product(word, size) >> 32)) >> 32;
}

static void cut(const u64* words, size_t n, u64 size, u8* digits) {
    constexpr size_t RUN = 64;
    const Wide sizes = Wide{} + size;
    u64 wide[RUN];
    size_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        for (size_t j = 0; j < RUN; j += MAX_LANES)
            store<Wide>(wide + j, below<Wide>(load<Wide>(words + i + j), sizes));
        for (size_t j = 0; j < RUN; j++) digits[i + j] = static_cast<u8>(wide[j]);
    }
    for (; i < n; i++) digits[i] = static_cast<u8>(below<u64>(words[i], size));
}

// ---- places and words ---------------------------------------------------------------------------

// The low bits as digits, the most significant first; whole words are written.
TACITA_INLINE void bits_to_digits(u64 value, int bits, u8* digits) {
    const u64 aligned = value << (64 - bits);
    for (size_t w = 0; w < packed_words(bits); w++) {
        // Byte i keeps bit 7 - i of the octet, which is then brought down to bit 0.
        const u64 octet = aligned >> (56 - 8 * w) & 0xff;
        const u64 apart = (octet * LOW_BITS) & 0x0102040810204080u;
        const u64 flags = ((apart + 0x7f7f7f7f7f7f7f7fu) >> 7) & LOW_BITS;
        __builtin_memcpy(digits + PACKED * w, &flags, PACKED);
    }
}

TACITA_INLINE void pack(const u8* digits, size_t count, u64* into) {
    const size_t words = packed_words(count);
    __builtin_memcpy(into, digits, PACKED * words);
    into[words - 1] &= last_word(count);
}

// ---- what a party has and tells -----------------------------------------------------------------

static void draw_digits(const u64* seeds, size_t n, int bits, u64* into) {
    const size_t count = bits, words = packed_words(count);
    u8 own[AT_A_TIME * MOST_DIGITS + PACKED] = {};
    for (size_t start = 0; start < n; start += AT_A_TIME) {
        const size_t size = n - start < AT_A_TIME ? n - start : AT_A_TIME;
        cut(seeds + start * count, size * count, PRIME, own);
        for (size_t e = 0; e < size; e++)
            pack(own + e * count, count, into + (start + e) * words);
    }
}

static void lack_digits(const u64* seeds, const u64* r, size_t n, int bits, u64* into) {
    const size_t count = bits, words = packed_words(count);
    u8 own[AT_A_TIME * MOST_DIGITS + PLACES] = {}, lacking[PLACES] = {};
    for (size_t start = 0; start < n; start += AT_A_TIME) {
        const size_t size = n - start < AT_A_TIME ? n - start : AT_A_TIME;
        cut(seeds + start * count, size * count, PRIME, own);
        for (size_t e = 0; e < size; e++) {
            const u8* digits = own + e * count;
            bits_to_digits(r[start + e], bits, lacking);
            for (size_t at = 0; at < whole_steps(count); at += STEP)
                narrow(lacking + at, once_less(widened(lacking + at) + PRIME - widened(digits + at)));
            pack(lacking, count, into + (start + e) * words);
        }
    }
}

// What is worked on of some elements: a row for each. Every step goes through all of them before the
// next begins, so that nothing is read right after it was written in other portions.
struct DigitRows {
    u8 p[AT_A_TIME][PLACES], r[AT_A_TIME][PLACES];
    u16 differ[AT_A_TIME][PLACES], before[AT_A_TIME][PLACES];
    u8 twice[AT_A_TIME][3 * PLACES];  // digits that stand there two times in a row
    u8 u[AT_A_TIME * MOST_DIGITS + PLACES], z[AT_A_TIME * MOST_DIGITS + PLACES];
    u8 turns[AT_A_TIME];
};

// p ⊕ r = p + (1 - 2p)·r, of which a public summand is the first party's; and p' and r'.
static void differ_digits(DigitRows& rows, const u64* places, const u64* share, size_t size, int bits,
                          u16 own) {
    const size_t steps = whole_steps(bits + 1), words = packed_words(bits);
    for (size_t e = 0; e < size; e++) {
        bits_to_digits(places[e], bits, rows.p[e]);
        __builtin_memcpy(rows.r[e], share + e * words, PACKED * words);
        rows.p[e][bits] = 1;
        rows.r[e][bits] = 0;
    }
    for (size_t e = 0; e < size; e++)
        for (size_t at = 0; at < steps; at += STEP) {
            const Fields p = widened(rows.p[e] + at), r = widened(rows.r[e] + at) % PRIME;
            const Fields mask = Fields{} - p;
            const Fields unlike = once_less(((PRIME - r) & mask) | (r & ~mask));
            put(rows.differ[e] + at, unlike + (mask & own));
            narrow(rows.r[e] + at, r);
        }
}

// Sums of the digits that stand before, four to a word: a product's field i adds up fields 0 … i.
static void add_digits(DigitRows& rows, size_t size, size_t count) {
    constexpr u64 EACH = 0x0001000100010001u;
    for (size_t e = 0; e < size; e++) {
        u64 carried = 0;
        for (size_t at = 0; at < count; at += 4) {
            u64 four;
            __builtin_memcpy(&four, rows.differ[e] + at, sizeof four);
            const u64 sums = four * EACH, earlier = (sums << 16) + carried * EACH;
            __builtin_memcpy(rows.before[e] + at, &earlier, sizeof earlier);
            carried += sums >> 48;
        }
    }
}

// u·c ± z, two times in a row.
template <bool ORDER>
static void blind_digits(DigitRows& rows, const u8* flips, size_t size, int bits, u16 own) {
    const size_t count = bits + 1;
    u16 head[PLACES] = {}, tail[PLACES] = {};
    head[0] = tail[bits] = 0xffff;
    const u16 other = static_cast<u16>(own - 1);
    const Fields others = Fields{} + other;  // all ones where z is subtracted
    for (size_t e = 0; e < size; e++) {
        const u16 flip = flips[e] & 1;
        const Fields beta = Fields{} - flip;
        const Fields all = Fields{} + rows.before[e][bits];
        const u8 *factors = rows.u + e * count, *summands = rows.z + e * count;
        // From the end: a later step writes over what the places after the digits left behind.
        for (size_t at = whole_steps(count); at > 0;) {
            at -= STEP;
            const Fields before = fields(rows.before[e] + at);
            Fields straight, turned, c;
            if (ORDER) {
                const Fields p = widened(rows.p[e] + at), r = widened(rows.r[e] + at);
                straight = before + own + own * p + (PRIME - r);
                turned = before + own + own * (PRIME - p) + r;
            } else {
                const Fields first_place = fields(head + at);
                straight = (first_place & all) | (~first_place & own);
                turned = before + own + (PRIME - once_less(fields(rows.differ[e] + at)));
            }
            c = (straight & ~beta) | (turned & beta);
            if (!ORDER) {
                const Fields last_place = fields(tail + at);
                c = (last_place & own) | (~last_place & c);
            }
            const Fields z = widened(summands + at);
            const Fields added = ((PRIME - z) & others) | (z & ~others);
            const Fields blinded = (c % PRIME * (widened(factors + at) + 1) + added) % PRIME;
            narrow(rows.twice[e] + at, blinded);
            narrow(rows.twice[e] + count + at, blinded);
        }
    }
}

// Digit i ← digit (i + turn) % count, turn < count: by 2^k or not, for each bit of a turn.
static void turn_digits(DigitRows& rows, size_t size, size_t count) {
    int highest = 0;
    while ((size_t{2} << highest) < count) highest++;
    for (int k = highest; k >= 0; k--) {
        const size_t far = size_t{1} << k;
        for (size_t e = 0; e < size; e++) {
            const u8 bit = static_cast<u8>(rows.turns[e] >> k & 1);
            const Octets mask = Octets{} - bit;
            u8* digits = rows.twice[e];
            for (size_t at = 0; at < count + far; at += sizeof mask) {
                const Octets now = octets(digits + at), ahead = octets(digits + far + at);
                const Octets moved = now ^ ((now ^ ahead) & mask);
                __builtin_memcpy(digits + at, &moved, sizeof moved);
            }
        }
    }
}

template <bool ORDER>
static void hide_all(const u64* places, const u64* share, const u8* flips, const u64* factors,
                     const u64* summands, const u64* turns, size_t n, int bits, bool first,
                     u64* into) {
    const size_t count = bits + 1, words = packed_words(bits), said = packed_words(count);
    DigitRows rows{};  // what stands after the digits is computed on as well: it has to be something
    for (size_t e = 0; e < n; e += AT_A_TIME) {
        const size_t size = n - e < AT_A_TIME ? n - e : AT_A_TIME;
        cut(factors + e * count, size * count, PRIME - 1, rows.u);
        cut(summands + e * count, size * count, PRIME, rows.z);
        cut(turns + e, size, count, rows.turns);
        differ_digits(rows, places + e, share + e * words, size, bits, first);
        add_digits(rows, size, count);
        blind_digits<ORDER>(rows, flips + e, size, bits, first);
        turn_digits(rows, size, count);
        for (size_t i = 0; i < size; i++) pack(rows.twice[i], count, into + (e + i) * said);
    }
}

static void hide_digits(bool order, const u64* places, const u64* share, const u8* flips,
                        const u64* factors, const u64* summands, const u64* turns, size_t n,
                        int bits, bool first, u64* into) {
    if (order)
        hide_all<true>(places, share, flips, factors, summands, turns, n, bits, first, into);
    else
        hide_all<false>(places, share, flips, factors, summands, turns, n, bits, first, into);
}

// ---- what the dealer finds ----------------------------------------------------------------------

static void find_zeros(const u64* one, const u64* other, size_t n, size_t count, u8* found) {
    constexpr size_t MOST_WORDS = (MOST_DIGITS + PACKED - 1) / PACKED;
    const size_t words = packed_words(count);
    u8 zero[AT_A_TIME * MOST_WORDS * PACKED];
    for (size_t start = 0; start < n; start += AT_A_TIME) {
        const size_t size = n - start < AT_A_TIME ? n - start : AT_A_TIME;
        u8 a[AT_A_TIME * MOST_WORDS * PACKED], b[AT_A_TIME * MOST_WORDS * PACKED];
        const size_t octets = size * words * PACKED;
        __builtin_memcpy(a, one + start * words, octets);
        __builtin_memcpy(b, other + start * words, octets);
        for (size_t j = 0; j < octets; j++) {
            const int sum = a[j] % PRIME + b[j] % PRIME;
            zero[j] = static_cast<u8>((sum == 0) | (sum == PRIME));
        }
        for (size_t e = 0; e < size; e++) {
            u64 any = 0;
            for (size_t w = 0; w < words; w++) {
                u64 eight;
                __builtin_memcpy(&eight, zero + (e * words + w) * PACKED, PACKED);
                any |= eight & (w + 1 < words ? ~u64{0} : last_word(count));
            }
            found[start + e] = static_cast<u8>((any | (u64{0} - any)) >> 63);
        }
    }
}

}  // namespace tacita::TACITA_PATH
