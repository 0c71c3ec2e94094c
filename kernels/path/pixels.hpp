// Convolution as a ring product whose right-hand side is never written down: its rows are the
// steps (channel, tap row, tap column), its columns the output pixels of all images. Two forms:
//
//   pixel_panels  any shape: pixels are packed straight from x, as `matmul_panels` packs b
//   pixel_dots    few pixels: each one's patch against w as it lies, as `matmul_dots`
#pragma once

#include "matmul.hpp"

namespace tacita::TACITA_PATH {

TACITA_INLINE const u64* at(const Convolution& c, size_t image, size_t channel) {
    return c.x + static_cast<ptrdiff_t>(image) * c.x_image +
           static_cast<ptrdiff_t>(channel) * c.x_channel;
}

TACITA_INLINE size_t taps_of(const Convolution& c) { return c.taps[0] * c.taps[1]; }

// Where an output pixel's patch begins in its image; above or left of the image if it is padded.
struct Corner {
    size_t image;
    ptrdiff_t row, column;
};

TACITA_INLINE Corner corner(const Convolution& c, size_t pixel) {
    const size_t image = pixel / c.pixels(), inside = pixel % c.pixels();
    const size_t row = inside / c.out[1], column = inside % c.out[1];
    return {image,
            static_cast<ptrdiff_t>(row * c.stride[0]) - static_cast<ptrdiff_t>(c.padding[0]),
            static_cast<ptrdiff_t>(column * c.stride[1]) - static_cast<ptrdiff_t>(c.padding[1])};
}

// The offset in a channel of what a tap of a patch sees; `seen` is false in the padding.
TACITA_INLINE ptrdiff_t offset(const Convolution& c, const Corner& at, size_t tap_row,
                               size_t tap_column, bool& seen) {
    const ptrdiff_t row = at.row + static_cast<ptrdiff_t>(tap_row * c.dilation[0]);
    const ptrdiff_t column = at.column + static_cast<ptrdiff_t>(tap_column * c.dilation[1]);
    seen = static_cast<size_t>(row) < c.extent[0] && static_cast<size_t>(column) < c.extent[1];
    return row * c.x_at[0] + column * c.x_at[1];
}

// ---- panels ------------------------------------------------------------------------------------

// Of each of a block's steps: where it lies in x, from a patch's corner, and in a filter of w.
struct Steps {
    size_t first, count;
    ptrdiff_t x[DEEP], w[DEEP];
};

static void lay_out(const Convolution& c, size_t first, size_t count, Steps& steps) {
    steps.first = first, steps.count = count;
    for (size_t s = 0; s < count; s++) {
        const ptrdiff_t input = static_cast<ptrdiff_t>((first + s) / taps_of(c));
        const size_t tap = (first + s) % taps_of(c), row = tap / c.taps[1], column = tap % c.taps[1];
        steps.x[s] = input * c.x_channel +
                     static_cast<ptrdiff_t>(row * c.dilation[0]) * c.x_at[0] +
                     static_cast<ptrdiff_t>(column * c.dilation[1]) * c.x_at[1];
        steps.w[s] = input * c.w_input + static_cast<ptrdiff_t>(row) * c.w_at[0] +
                     static_cast<ptrdiff_t>(column) * c.w_at[1];
    }
}

// A panel whose patches see no padding.
static void pack_inner_pixels(const Steps& steps, const u64* const* from, bool adjacent,
                              u64* packed) {
    for (size_t s = 0; s < steps.count; s++, packed += COLUMNS)
        if (adjacent)
            __builtin_memcpy(packed, from[0] + steps.x[s], COLUMNS * sizeof(u64));
        else
            for (int p = 0; p < COLUMNS; p++) packed[p] = from[p][steps.x[s]];
}

static void pack_border_pixels(const Convolution& c, const Steps& steps, size_t group,
                               const Corner* corners, size_t present, u64* packed) {
    const u64 nothing = 0;
    const size_t taps = taps_of(c), last = steps.first + steps.count;
    size_t tap = 0;
    for (size_t tap_row = 0; tap_row < c.taps[0]; tap_row++)
        for (size_t tap_column = 0; tap_column < c.taps[1]; tap_column++, tap++) {
            // The channels whose step channel·taps + tap is one of ours.
            const size_t begin =
                steps.first > tap ? (steps.first - tap + taps - 1) / taps : 0;
            const size_t end = last > tap ? (last - tap + taps - 1) / taps : 0;
            if (begin >= end) continue;
            const u64* from[COLUMNS];
            ptrdiff_t move[COLUMNS];
            for (size_t p = 0; p < COLUMNS; p++) {
                from[p] = &nothing, move[p] = 0;
                if (p >= present) continue;
                bool seen;
                const ptrdiff_t there = offset(c, corners[p], tap_row, tap_column, seen);
                if (!seen) continue;
                from[p] = at(c, corners[p].image, group * c.inputs + begin) + there;
                move[p] = c.x_channel;
            }
            u64* to = packed + (begin * taps + tap - steps.first) * COLUMNS;
            for (size_t n = begin; n < end; n++, to += taps * COLUMNS)
                for (size_t p = 0; p < COLUMNS; p++) {
                    to[p] = *from[p];
                    from[p] += move[p];
                }
        }
}

// COLUMNS pixels from `first` on, of which `present` exist.
static void pack_pixels(const Convolution& c, const Steps& steps, size_t group, size_t first,
                        size_t present, u64* packed) {
    Corner corners[COLUMNS];
    const u64* from[COLUMNS];
    bool inner = present == COLUMNS, adjacent = true;
    for (size_t p = 0; p < present; p++) {
        corners[p] = corner(c, first + p);
        bool begins, ends;
        const ptrdiff_t there = offset(c, corners[p], 0, 0, begins);
        offset(c, corners[p], c.taps[0] - 1, c.taps[1] - 1, ends);
        inner = inner && begins && ends;
        if (inner) {
            from[p] = at(c, corners[p].image, group * c.inputs) + there;
            adjacent = adjacent && from[p] == from[0] + p;
        }
    }
    if (inner)
        pack_inner_pixels(steps, from, adjacent, packed);
    else
        pack_border_pixels(c, steps, group, corners, present, packed);
}

// Filters i … of a group as panels of ROWS, padded with zeros.
static void pack_filters(const Convolution& c, const Steps& steps, size_t group, size_t i,
                         size_t rows, u64* packed) {
    for (size_t top = 0; top < rows; top += ROWS, packed += steps.count * ROWS * Step::LEFT_WORDS)
        for (size_t r = 0; r < ROWS; r++) {
            u64* to = packed + r * Step::LEFT_WORDS;
            const bool present = top + r < rows;
            const u64* from =
                c.w + static_cast<ptrdiff_t>(group * c.outputs + i + top + r) * c.w_output;
            for (size_t s = 0; s < steps.count; s++, to += ROWS * Step::LEFT_WORDS)
                Step::pack(present ? from[steps.w[s]] : 0, to);
        }
}

// A tile's columns are pixels of one image, or the last of one and the first of the next ones.
static void add_pixels(u64* out, const Convolution& c, size_t channel, size_t pixel, size_t rows,
                       size_t columns, const u64* tile) {
    for (size_t done = 0; done < columns;) {
        const size_t image = (pixel + done) / c.pixels(), inside = (pixel + done) % c.pixels();
        const size_t run = least(columns - done, c.pixels() - inside);
        u64* to = out + (image * c.groups * c.outputs + channel) * c.pixels() + inside;
        add_tile({to, static_cast<ptrdiff_t>(c.pixels()), 1, c.negate}, 0, 0, rows, run,
                 tile + done);
        done += run;
    }
}

static void pixel_panels(u64* out, const Convolution& c, u64* scratch) {
    u64 *left = scratch, *right = scratch + TALL * DEEP * Step::LEFT_WORDS;
    const size_t k = c.inputs * taps_of(c), n = c.images * c.pixels();
    const size_t blocks = (k + DEEP - 1) / DEEP, deep = (k + blocks - 1) / blocks;
    Steps steps;
    for (size_t group = 0; group < c.groups; group++)
        for (size_t k0 = 0; k0 < k; k0 += deep) {
            lay_out(c, k0, least(deep, k - k0), steps);
            for (size_t j0 = 0; j0 < n; j0 += WIDE) {
                const size_t columns = least(WIDE, n - j0);
                for (size_t j = 0; j < columns; j += COLUMNS)
                    pack_pixels(c, steps, group, j0 + j, least(COLUMNS, columns - j),
                                right + j * steps.count);
                for (size_t i0 = 0; i0 < c.outputs; i0 += TALL) {
                    const size_t rows = least(TALL, c.outputs - i0);
                    pack_filters(c, steps, group, i0, rows, left);
                    for (size_t j = 0; j < columns; j += COLUMNS)
                        for (size_t i = 0; i < rows; i += ROWS) {
                            alignas(64) u64 tile[ROWS * COLUMNS];
                            tile_panel(steps.count, left + i * steps.count * Step::LEFT_WORDS,
                                       right + j * steps.count, tile);
                            add_pixels(out, c, group * c.outputs + i0 + i, j0 + j,
                                       least(ROWS, rows - i), least(COLUMNS, columns - j), tile);
                        }
                }
            }
        }
}

// ---- dots --------------------------------------------------------------------------------------

// Do a filter's words lie in the order of the steps?
TACITA_INLINE bool filters_lie_flat(const Convolution& c) {
    const ptrdiff_t rows = static_cast<ptrdiff_t>(c.taps[0]);
    const ptrdiff_t columns = static_cast<ptrdiff_t>(c.taps[1]);
    return (columns == 1 || c.w_at[1] == 1) && (rows == 1 || c.w_at[0] == columns) &&
           (c.inputs == 1 || c.w_input == rows * columns);
}

static void pixel_dots(u64* out, const Convolution& c, u64* scratch) {
    const size_t k = c.inputs * taps_of(c);
    for (size_t part = 0; part < c.images * c.groups; part++) {
        const size_t image = part / c.groups, group = part % c.groups;
        const Output to{out + part * c.outputs * c.pixels(), 1,
                        static_cast<ptrdiff_t>(c.pixels()), c.negate};
        const Matrix filters{c.w + static_cast<ptrdiff_t>(group * c.outputs) * c.w_output, 1,
                             c.w_output};
        for (size_t k0 = 0; k0 < k; k0 += LONG) {
            const size_t steps = least(LONG, k - k0);
            for (size_t i = 0; i < c.pixels(); i += BLOCK) {
                const size_t rows = least(BLOCK, c.pixels() - i);
                for (size_t r = 0; r < rows; r++) {
                    const Corner from = corner(c, image * c.pixels() + i + r);
                    size_t input = k0 / taps_of(c), tap_row = k0 % taps_of(c) / c.taps[1],
                           tap_column = k0 % c.taps[1];
                    for (size_t s = 0; s < steps; s++) {
                        bool seen;
                        const ptrdiff_t there = offset(c, from, tap_row, tap_column, seen);
                        scratch[r * LONG + s] =
                            seen ? at(c, image, group * c.inputs + input)[there] : 0;
                        if (++tap_column < c.taps[1]) continue;
                        tap_column = 0;
                        if (++tap_row < c.taps[0]) continue;
                        tap_row = 0;
                        input++;
                    }
                }
                block_dots(to, i, rows, scratch, LONG, filters, k0, c.outputs, steps);
            }
        }
    }
}

}  // namespace tacita::TACITA_PATH
