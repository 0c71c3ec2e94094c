// The interface between the bindings and the dispatch paths: one table of functions for each path.
//
// Every function here is branch-free and index-free in the data: time depends on shapes and on
// public parameters only. Arguments have been checked by the bindings; nothing is checked again.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tacita {

using u64 = std::uint64_t;
using u8 = std::uint8_t;
using std::ptrdiff_t;
using std::size_t;

// A matrix in memory; strides in elements, of either sign, or 0.
struct Matrix {
    const u64* data;
    ptrdiff_t row, column;
};

// The divisor of a truncation: x div d for every 64-bit x, without a division.
// d = 2^shift: x >> shift. Otherwise q = high64(multiplier·x); (q + ((x − q) >> 1)) >> shift, the
// 65-bit reciprocal of Granlund and Montgomery (1994), figure 4.1.
struct Divisor {
    u64 multiplier;
    int shift;
    bool power;
};

// n bit-sliced elements: `blocks` blocks of 64·width elements, width in {1, 2, 4, 8}.
struct Sliced {
    size_t blocks;
    int width;
};

// How the sizes of an AND tree's level group its nodes. `size` entries of 1 … MAX_FAN.
constexpr int MAX_FAN = 9;
constexpr int MAX_CHUNK = 8;
constexpr int MAX_NUMBERS = 64;  // that are added to one x
struct Groups {
    const int* fan;
    int size, nodes;
    bool order;
};

struct Chunks {
    const int* bits;  // the most significant chunk first
    int size, planes, entries;
};

// Public functions that are steps at the same thresholds: `rows` of them. steps is [rows, thresholds].
struct Stairs {
    const u64 *base, *steps;
    size_t rows, thresholds;
};

// Words of scratch that `matmul` needs, whatever the shapes.
constexpr size_t MATMUL_WORKSPACE = size_t{1} << 18;

// A convolution of two dimensions, [0] height and [1] width; strides of x and w in elements, of
// either sign, or 0. `inputs` and `outputs` are the channels of one group. out is contiguous.
struct Convolution {
    const u64 *x, *w;
    ptrdiff_t x_image, x_channel, x_at[2];
    ptrdiff_t w_output, w_input, w_at[2];
    size_t images, groups, inputs, outputs;
    size_t extent[2], taps[2], stride[2], padding[2], dilation[2], out[2];
    bool negate;

    size_t pixels() const { return out[0] * out[1]; }
};

// The range of an exponential: 2^index_bits segments of 2^segment_bits numbers. `rate` is how many
// octaves all of what a fraction is taken of has, at 58 bits after the point; `series` as in
// src/tacita/ring/exponents.py.
struct Exponents {
    int segment_bits, index_bits;
    u64 rate;
    const u64* series;
};

struct Table {
    const char* name;

    // out[i·out_row + j·out_column] ± = a[m, k] · b[k, n]; `scratch` is 64-byte aligned.
    void (*matmul)(u64* out, ptrdiff_t out_row, ptrdiff_t out_column, Matrix a, Matrix b,
                   size_t m, size_t n, size_t k, bool negate, u64* scratch);
    // Words of scratch that this convolution needs, and the convolution: out ± = conv2d(x, w).
    size_t (*convolve_workspace)(const Convolution& c);
    void (*convolve)(u64* out, const Convolution& c, u64* scratch);
    // Multiply-adds that the path's innermost step does with its operands in registers.
    size_t (*multiply_peak)(size_t steps);
    void (*product)(u64* out, const u64* a, const u64* b, size_t n, bool negate);

    void (*to_planes)(const u64* values, size_t n, int low, int count, Sliced shape, u64* planes);
    void (*pack_bits)(const u8* bits, size_t n, u64* words, size_t count);
    void (*unpack_bits)(const u64* words, size_t n, u8* bits);

    void (*one_hot)(const u64* planes, Sliced shape, Chunks chunks, u64* into);
    void (*lookup)(const u64* index, const u64* hot, Sliced shape, Chunks chunks, bool order,
                   u64* nodes);
    // `count` public numbers added to the same x in turn; index has one plane more than the chunks.
    void (*lookup_many)(const u64* index, const u64* hot, Sliced shape, Chunks chunks,
                        const u64* numbers, int count, u64* nodes, u64* tops);
    void (*xor_products)(const u64* masks, Sliced shape, Groups groups, size_t products,
                         u64* into);
    void (*fan_in)(const u64* opened, const u64* masks, const u64* products, Sliced shape,
                   Groups groups, size_t product_count, bool first, u64* nodes);

    void (*truncation_correction)(const u64* r, size_t n, Divisor d, u64* into);
    void (*truncate_share)(const u64* opened, const u64* dealt, size_t n, Divisor d, u64 offset,
                           bool first, u64* out);
    void (*relu_correction)(const u64* r, const u64* s, size_t n, Divisor d, u64* into);
    void (*relu_share)(const u64* opened, const u64* flipped, const u64* dealt, size_t n,
                       Divisor d, u64 offset, bool first, u64* out);
    void (*gate_correction)(const u64* r, const u64* s, size_t n, u64* into);
    void (*gate_share)(const u64* opened, const u64* x, const u64* flipped, const u64* dealt,
                       size_t n, u64* out);
    void (*bit_correction)(const u64* s, size_t n, u64* into);
    void (*bit_share)(const u64* flipped, const u64* dealt, size_t n, bool first, u64* out);

    // `series` as in src/tacita/ring/angles.py; `count` frequencies, two rows of n words for each.
    void (*wave_correction)(const u64* r, size_t n, u64 turn, const u64* series, size_t count,
                            u64* into);
    void (*wave_share)(const u64* opened, const u64* dealt, size_t n, u64 turn, const u64* series,
                       const u64* waves, size_t count, u64* out);
    void (*exponential_correction)(const u64* r, size_t n, const Exponents& e, int b, u64* into);
    void (*exponential_share)(const u64* opened, const u64* dealt, size_t n, u64 low,
                              const Exponents& e, const u64* mantissas, const u64* shifts,
                              u64* out);
    // `count` planes in each block of `width` words.
    void (*bits_correction)(const u64* s, size_t n, size_t width, size_t count, u64* into);
    void (*stairs_share)(const u64* flipped, const u64* dealt, size_t n, size_t width,
                         Stairs stairs, bool first, u64* out);

    // Digits of private comparisons, eight in a word: arguments and layouts as in
    // src/tacita/ring/digits.py.
    void (*draw_digits)(const u64* seeds, size_t n, int bits, u64* into);
    void (*lack_digits)(const u64* seeds, const u64* r, size_t n, int bits, u64* into);
    void (*hide_digits)(bool order, const u64* places, const u64* share, const u8* flips,
                        const u64* factors, const u64* summands, const u64* turns, size_t n,
                        int bits, bool first, u64* into);
    void (*find_zeros)(const u64* one, const u64* other, size_t n, size_t count, u8* found);
};

// What to do with the keystream.
enum class Stream { fill, add, exclusive_or };

// AES-128-CTR: counter block i is nonce ‖ (block + i), both 8 bytes, big-endian. `words` 64-bit
// words of keystream, from the start of block `block`, go to `out`.
struct Cipher {
    const char* name;
    void (*stream)(const u8* key, u64 nonce, u64 block, u64* out, size_t words, Stream use);
};

// A point's last bits say which of a leaf's 128 bits stands for it; each bit before is a level.
constexpr int LEAF_BITS = 7;
constexpr int MOST_POINT_BITS = 64;
constexpr int point_levels(int bits) { return bits > LEAF_BITS ? bits - LEAF_BITS : 0; }

// Distributed point functions; shapes and layouts as in src/tacita/ring/points.py. `permutation`
// is the key of AES-128. walk: `count` rows of n points; shares of [α > point] with `order`,
// otherwise of [α = point].
struct PointFunctions {
    const char* name;
    void (*generate)(const u64* alpha, const u64* roots, size_t n, int bits,
                     const u8* permutation, u64* into);
    void (*walk)(bool order, const u64* points, size_t count, const u64* root, const u64* keys,
                 size_t n, int bits, const u8* permutation, bool first, u8* out);
};

}  // namespace tacita
