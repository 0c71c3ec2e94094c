// 3×3 filters, one place after the other: 64 products for 16 outputs where the definition takes 144.
//
// In one dimension, four outputs y_i = x_i·w0 + x_{i+1}·w1 + x_{i+2}·w2 are the transpose of a
// product of polynomials of 3 and 4 coefficients (Winograd 1980, minimal filtering). Its residues
// modulo t², t − 1, t² + t + 1 and at infinity take 3 + 1 + 3 + 1 = 8 products. Put together again,
// they need a division by 3, but never one by 2: 3 has an inverse mod 2^64, so that the result is
// exact in the ring, where filtering at 0, 1, −1 and infinity would not be. The inverse goes to
// the filters. With s = x2 + x3 + x4:
//
//   plane      of x                  of w                  added to
//   0          x0 − x3               w0                    y0
//   1          x1 − x4               w1                    (see below)
//   2          s                     (w0 + w1 + w2) / 3    y0, y1, y2, y3
//   3          s − 3·x2              (w0 − w2) / 3         y0, −y2, y3
//   4          s − 3·x3              (w1 − w2) / 3         y1, −y2
//   5          s − 3·x4              (w0 − w1) / 3         y0, −y1, y3
//   6          x5 − x2               w2                    y3
//
// The product of x's plane 1 and w's plane 1 is added to that of plane 0, and plane 1 of the
// products is x's plane 1 times w's plane 0; it is added to y1. In two dimensions the same is done to
// rows and to columns: 6×6 inputs become 49 planes, 3×3 filters 49, the 49 planes of products
// take 64 ring products of [tiles, inputs] and [inputs, outputs], and give 4×4 outputs.
#pragma once

#include "pixels.hpp"

namespace tacita::TACITA_PATH {

constexpr size_t TILE = 4, PATCH = 6, FORMS = 7, PLANES = FORMS * FORMS;
constexpr u64 THIRD = 0xAAAAAAAAAAAAAAAB;  // 3·THIRD = 1 mod 2^64

// What is transformed at a time: tiles, channels in, channels out; and of those, a strip whose
// filters' planes stay in L2.
constexpr size_t TILES = 64, DEPTH = 64, BREADTH = 64, STRIPE = 16;

constexpr size_t AHEAD = 16;  // channels whose filters are fetched before they are needed

// Planes lie one cache line off a power of two: one word of each would share one cache set otherwise.
constexpr size_t LINE = 8;

using Word = Lanes<LANES>::type;
using Quad = Lanes<4>::type;

// What is worked on at a time, and where in the scratch its planes lie.
struct Filtering {
    size_t down, across, tiles;        // tiles of an image, and of all images
    size_t block, depth, breadth;      // tiles, channels in and out, of a block
    size_t x_plane, w_plane, y_plane;  // words
    size_t pitch;                      // words of one place of all patches
    u64 *x, *w, *y, *patches;
    size_t words;
};

TACITA_INLINE size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

TACITA_INLINE Filtering filtering(const Convolution& c, u64* scratch) {
    Filtering f;
    constexpr size_t together = ROWS > LANES ? ROWS : LANES;
    f.down = (c.out[0] + TILE - 1) / TILE;
    f.across = (c.out[1] + TILE - 1) / TILE;
    f.tiles = c.images * f.down * f.across;
    f.block = round_up(least(TILES, f.tiles), together);
    f.depth = least(DEPTH, c.inputs);
    f.breadth = round_up(least(BREADTH * (TILES / f.block), c.outputs), COLUMNS);
    f.x_plane = f.block * f.depth * Step::LEFT_WORDS + LINE;
    f.w_plane = least(STRIPE, f.breadth) * f.depth + LINE;
    f.y_plane = f.block * f.breadth + LINE;
    f.pitch = f.block + LINE;
    f.x = scratch;
    f.w = f.x + PLANES * f.x_plane;
    f.y = f.w + PLANES * f.w_plane;
    f.patches = f.y + PLANES * f.y_plane;
    f.words = PLANES * (f.x_plane + f.w_plane + f.y_plane) + PATCH * PATCH * f.pitch;
    return f;
}

// Where a tile lies, counted on from one to the next.
struct Place {
    size_t image, down, across;
    TACITA_INLINE Place(const Filtering& f, size_t tile)
        : image(tile / (f.down * f.across)),
          down(tile / f.across % f.down),
          across(tile % f.across) {}
    TACITA_INLINE void advance(const Filtering& f, size_t tiles) {  // inside a row of tiles
        across += tiles;
        if (across < f.across) return;
        across = 0;
        if (++down < f.down) return;
        down = 0;
        image++;
    }
};

TACITA_INLINE void transpose(Quad (&q)[4]) {
    const Quad a = __builtin_shufflevector(q[0], q[1], 0, 4, 2, 6);
    const Quad b = __builtin_shufflevector(q[0], q[1], 1, 5, 3, 7);
    const Quad c = __builtin_shufflevector(q[2], q[3], 0, 4, 2, 6);
    const Quad d = __builtin_shufflevector(q[2], q[3], 1, 5, 3, 7);
    q[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    q[1] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    q[2] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    q[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// ---- inputs ------------------------------------------------------------------------------------

TACITA_INLINE void input_forms(const Word* x, size_t step, Word* forms) {
    const Word x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step], later = x3 + x4;
    forms[0] = x[0] - x3;
    forms[1] = x[step] - x4;
    forms[2] = later + x2;
    forms[3] = later - x2 - x2;
    forms[4] = x2 + x4 - x3 - x3;
    forms[5] = x2 + x3 - x4 - x4;
    forms[6] = x[5 * step] - x2;
}

// A padded row of x, from `column` of the padding on.
TACITA_INLINE void copy_line(const Convolution& c, const u64* line, size_t column, size_t count,
                             u64* to) {
    const size_t begin = column < c.padding[1] ? least(c.padding[1] - column, count) : 0;
    const size_t after = c.padding[1] + c.extent[1];
    const size_t end = column < after ? least(after - column, count) : 0;
    for (size_t i = 0; i < begin; i++) to[i] = 0;
    const u64* from =
        line + static_cast<ptrdiff_t>(column + begin - c.padding[1]) * c.x_at[1];
    if (c.x_at[1] == 1)
        for (size_t i = begin; i < end; i++) to[i] = from[i - begin];
    else
        for (size_t i = begin; i < end; i++)
            to[i] = from[static_cast<ptrdiff_t>(i - begin) * c.x_at[1]];
    for (size_t i = begin < end ? end : begin; i < count; i++) to[i] = 0;
}

// patches[(row·PATCH + column)·pitch + tile] for the tiles from `first` on, of one channel. Writes
// up to three tiles too many after the last one.
static void gather_patches(const Convolution& c, const Filtering& f, size_t channel, size_t first,
                           size_t count) {
    Place place(f, first);
    for (size_t done = 0; done < count;) {
        const size_t run = least(count - done, f.across - place.across);
        const u64* image = at(c, place.image, channel);
        for (size_t r = 0; r < PATCH; r++) {
            alignas(64) u64 line[TILE * (TILES + 2 * LINE)];
            u64* to = f.patches + r * PATCH * f.pitch + done;
            const size_t row = place.down * TILE + r - c.padding[0];  // wraps around above
            const size_t needed = TILE * (round_up(run, 4) + 1);
            if (row < c.extent[0])
                copy_line(c, image + static_cast<ptrdiff_t>(row) * c.x_at[0],
                          place.across * TILE, needed, line);
            else
                for (size_t i = 0; i < needed; i++) line[i] = 0;
            for (size_t i = 0; i < run; i += 4) {
                // Of four neighbours: words 0 … 3 of each tile, then words 0 and 1 of the next.
                Quad own[4], next[4];
                for (size_t t = 0; t < 4; t++) {
                    own[t] = load<Quad>(line + TILE * (i + t));
                    next[t] = load<Quad>(line + TILE * (i + t + 1));
                }
                transpose(own);
                transpose(next);
                for (size_t j = 0; j < 4; j++) store(to + j * f.pitch + i, own[j]);
                for (size_t j = 0; j < 2; j++) store(to + (4 + j) * f.pitch + i, next[j]);
            }
        }
        place.advance(f, run);
        done += run;
    }
}

// x's planes: panels of ROWS tiles, [tiles / ROWS, channels, ROWS], prepared for Step.
static void transform_inputs(const Convolution& c, const Filtering& f, size_t first, size_t count,
                             size_t input, size_t depth) {
    for (size_t n = 0; n < depth; n++) {
        gather_patches(c, f, input + n, first, count);
        for (size_t t = 0; t < count; t += LANES) {
            Word columns[FORMS * PATCH], forms[FORMS];
            for (size_t j = 0; j < PATCH; j++) {
                Word x[PATCH];
                for (size_t r = 0; r < PATCH; r++)
                    x[r] = load<Word>(f.patches + (r * PATCH + j) * f.pitch + t);
                input_forms(x, 1, forms);
                for (size_t i = 0; i < FORMS; i++) columns[i * PATCH + j] = forms[i];
            }
            u64* to = f.x + (t / ROWS * depth + n) * ROWS * Step::LEFT_WORDS +
                      t % ROWS * Step::LEFT_WORDS;
            for (size_t i = 0; i < FORMS; i++) {
                input_forms(columns + i * PATCH, 1, forms);
                for (size_t j = 0; j < FORMS; j++, to += f.x_plane)
                    Step::pack_lanes(forms[j], to, depth * ROWS * Step::LEFT_WORDS);
            }
        }
    }
}

// ---- filters -----------------------------------------------------------------------------------

// The forms that are divided by 3, of words that have been.
TACITA_INLINE void third_forms(Word w0, Word w1, Word w2, Word* forms) {
    forms[0] = w0 + w1 + w2;
    forms[1] = w0 - w2;
    forms[2] = w1 - w2;
    forms[3] = w0 - w1;
}

// One word of each of as many filters as V has lanes; not through memory, where a load of words just
// stored one by one waits for them all.
TACITA_INLINE void gather_filters(const u64* w, const ptrdiff_t* lane, u64& v) { v = w[lane[0]]; }
TACITA_INLINE void gather_filters(const u64* w, const ptrdiff_t* lane, Quad& v) {
    v = Quad{w[lane[0]], w[lane[1]], w[lane[2]], w[lane[3]]};
}
TACITA_INLINE void gather_filters(const u64* w, const ptrdiff_t* lane, Lanes<8>::type& v) {
    Quad low, high;
    gather_filters(w, lane, low);
    gather_filters(w, lane + 4, high);
    v = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

// The compiler would make ten shifts and additions of a multiplication by a constant.
TACITA_INLINE Word third_of(Word v) {
    alignas(64) u64 words[LANES], third[Step::LEFT_WORDS];
    Step::pack(THIRD, third);
    Step::Sum sum = Step::zero();
    Step::add(sum, Step::broadcast(third), reinterpret_cast<Step::Vector&>(v));
    Step::total(sum, words);
    return load<Word>(words);
}

// w's planes: panels of COLUMNS outputs, [outputs / COLUMNS, channels, COLUMNS].
TACITA_INLINE void transform_lanes(const Convolution& c, const u64* w, const ptrdiff_t* lanes,
                                   size_t plane, u64* to) {
    constexpr size_t places[3] = {0, 1, 6};  // of the forms that are w0, w1 and w2
    Word plain[FORMS][3], third[FORMS][3];
    for (size_t j = 0; j < 3; j++) {
        Word taps[3], thirds[3], ninths[3], forms[4];
        for (size_t i = 0; i < 3; i++) {
            gather_filters(w + static_cast<ptrdiff_t>(i) * c.w_at[0] +
                               static_cast<ptrdiff_t>(j) * c.w_at[1],
                           lanes, taps[i]);
            thirds[i] = third_of(taps[i]);
            ninths[i] = third_of(thirds[i]);
            plain[places[i]][j] = taps[i];
            third[places[i]][j] = thirds[i];
        }
        third_forms(thirds[0], thirds[1], thirds[2], forms);
        for (size_t i = 0; i < 4; i++) plain[2 + i][j] = forms[i];
        third_forms(ninths[0], ninths[1], ninths[2], forms);
        for (size_t i = 0; i < 4; i++) third[2 + i][j] = forms[i];
    }
    for (size_t i = 0; i < FORMS; i++, to += FORMS * plane) {
        Word forms[4];
        third_forms(third[i][0], third[i][1], third[i][2], forms);
        for (size_t j = 0; j < 3; j++) store<Word>(to + places[j] * plane, plain[i][j]);
        for (size_t j = 0; j < 4; j++) store<Word>(to + (2 + j) * plane, forms[j]);
    }
}

static void transform_filters(const Convolution& c, const Filtering& f, size_t output,
                              size_t breadth, size_t input, size_t depth) {
    for (size_t o = 0; o < breadth; o += COLUMNS) {
        ptrdiff_t lanes[COLUMNS];  // past the last filter: that one again, unused
        for (size_t l = 0; l < COLUMNS; l++)
            lanes[l] = static_cast<ptrdiff_t>(output + least(o + l, breadth - 1)) * c.w_output;
        u64* to = f.w + o * depth;
        for (size_t n = 0; n < depth; n++) {
            const u64* w = c.w + static_cast<ptrdiff_t>(input + n) * c.w_input;
            // Large filters come from memory, in more streams than the processor foresees.
            const u64* later = c.w + static_cast<ptrdiff_t>(input + least(n + AHEAD, depth - 1)) *
                                         c.w_input;
            for (size_t l = 0; l < COLUMNS; l++) __builtin_prefetch(later + lanes[l]);
            for (size_t l = 0; l < COLUMNS; l += LANES, to += LANES)
                transform_lanes(c, w, lanes + l, f.w_plane, to);
        }
    }
}

// ---- products ----------------------------------------------------------------------------------

// One plane of products, set or added to: one of x's times one of w's.
static void multiply_planes(const Filtering& f, const u64* x, const u64* w, size_t count,
                            size_t breadth, size_t depth, bool fresh, u64* y) {
    for (size_t o = 0; o < breadth; o += COLUMNS, w += depth * COLUMNS, y += f.block * COLUMNS)
        for (size_t t = 0; t < count; t += ROWS) {
            const u64* left = x + t * depth * Step::LEFT_WORDS;
            u64* to = y + t * COLUMNS;
            if (fresh) {
                tile_panel(depth, left, w, to);
                continue;
            }
            alignas(64) u64 tile[ROWS * COLUMNS];
            tile_panel(depth, left, w, tile);
            for (int i = 0; i < ROWS * COLUMNS; i++) to[i] += tile[i];
        }
}

// The planes whose products make plane `form` of a dimension: x's, and w's.
struct Term {
    size_t x, w;
};
TACITA_INLINE size_t terms(size_t form, Term (&list)[2]) {
    list[0] = {form, form == 1 ? 0 : form};
    list[1] = {1, 1};
    return form == 0 ? 2 : 1;
}

// The outputs o … of the block.
static void multiply_all(const Filtering& f, size_t count, size_t o, size_t breadth, size_t depth,
                         bool first) {
    for (size_t i = 0; i < FORMS; i++)
        for (size_t j = 0; j < FORMS; j++) {
            Term down[2], across[2];
            const size_t rows = terms(i, down), columns = terms(j, across);
            for (size_t r = 0; r < rows; r++)
                for (size_t s = 0; s < columns; s++)
                    multiply_planes(f, f.x + (down[r].x * FORMS + across[s].x) * f.x_plane,
                                    f.w + (down[r].w * FORMS + across[s].w) * f.w_plane, count,
                                    breadth, depth, first && r + s == 0,
                                    f.y + (i * FORMS + j) * f.y_plane + o * f.block);
        }
}

// ---- outputs -----------------------------------------------------------------------------------

TACITA_INLINE void output_sums(const Word* m, Word* y) {
    const Word both = m[2] + m[3] + m[5];
    y[0] = both + m[0];
    y[1] = m[2] + m[4] - m[5] + m[1];
    y[2] = m[2] - m[3] - m[4];
    y[3] = both + m[6];
}

// Adds LANES tiles, one for each output o …, of which `present` exist; words is [4, 4, LANES].
TACITA_INLINE void add_tiles(u64* out, const Convolution& c, size_t present, size_t high,
                             size_t wide, const u64* words) {
    const u64 sign = u64{0} - c.negate;  // (x ^ sign) − sign is x or −x
    if constexpr (LANES % 4 == 0)
        if (wide == TILE && present == LANES) {
            for (size_t i = 0; i < high; i++)
                for (size_t l = 0; l < LANES; l += 4) {
                    Quad rows[4];
                    for (size_t j = 0; j < 4; j++)
                        rows[j] = load<Quad>(words + (i * TILE + j) * LANES + l);
                    transpose(rows);
                    for (size_t j = 0; j < 4; j++) {
                        u64* to = out + (l + j) * c.pixels() + i * c.out[1];
                        store<Quad>(to, load<Quad>(to) + ((rows[j] ^ sign) - sign));
                    }
                }
            return;
        }
    for (size_t l = 0; l < present; l++)
        for (size_t i = 0; i < high; i++)
            for (size_t j = 0; j < wide; j++)
                out[l * c.pixels() + i * c.out[1] + j] +=
                    (words[(i * TILE + j) * LANES + l] ^ sign) - sign;
}

static void add_outputs(u64* out, const Convolution& c, const Filtering& f, size_t first,
                        size_t count, size_t output, size_t breadth) {
    for (size_t o = 0; o < breadth; o += LANES) {
        Place place(f, first);
        for (size_t t = 0; t < count; t++, place.advance(f, 1)) {
            const u64* from = f.y + (o / COLUMNS * f.block + t) * COLUMNS + o % COLUMNS;
            Word columns[TILE][FORMS], m[FORMS], y[TILE];
            for (size_t j = 0; j < FORMS; j++) {
                for (size_t i = 0; i < FORMS; i++)
                    m[i] = load<Word>(from + (i * FORMS + j) * f.y_plane);
                output_sums(m, y);
                for (size_t i = 0; i < TILE; i++) columns[i][j] = y[i];
            }
            alignas(64) u64 words[TILE * TILE * LANES];
            for (size_t i = 0; i < TILE; i++) {
                output_sums(columns[i], y);
                for (size_t j = 0; j < TILE; j++)
                    store<Word>(words + (i * TILE + j) * LANES, y[j]);
            }
            const size_t row = place.down * TILE, column = place.across * TILE;
            u64* to = out + (place.image * c.outputs + output + o) * c.pixels() +
                      row * c.out[1] + column;
            add_tiles(to, c, least(LANES, breadth - o), least(TILE, c.out[0] - row),
                      least(TILE, c.out[1] - column), words);
        }
    }
}

static void filter_three(u64* out, const Convolution& c, u64* scratch) {
    const Filtering f = filtering(c, scratch);
    for (size_t i = 0; i < PATCH * PATCH * f.pitch; i++) f.patches[i] = 0;  // tiles that are none
    for (size_t first = 0; first < f.tiles; first += f.block) {
        const size_t count = least(f.block, f.tiles - first);
        for (size_t output = 0; output < c.outputs; output += f.breadth) {
            const size_t breadth = least(f.breadth, c.outputs - output);
            for (size_t input = 0; input < c.inputs; input += f.depth) {
                const size_t depth = least(f.depth, c.inputs - input);
                transform_inputs(c, f, first, count, input, depth);
                for (size_t o = 0; o < breadth; o += STRIPE) {
                    const size_t wide = least(STRIPE, breadth - o);
                    transform_filters(c, f, output + o, wide, input, depth);
                    multiply_all(f, count, o, wide, depth, input == 0);
                }
            }
            add_outputs(out, c, f, first, count, output, breadth);
        }
    }
}

}  // namespace tacita::TACITA_PATH
