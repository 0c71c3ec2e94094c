// Convolution with few outputs in a group: every channel's padded rows are copied once, so that
// what a tap sees lies side by side, and every output is summed along them in registers.
#pragma once

#include "pixels.hpp"

namespace tacita::TACITA_PATH {

// Outputs of a group up to which packing pixels does not pay; words that the rows may take, and
// words of them that stay in L1 while output rows are made.
constexpr size_t FEW_OUTPUTS = 4, BAND = size_t{1} << 17, NEAR = size_t{1} << 12;
constexpr size_t MAX_TAPS = 256;
constexpr int STRETCH = 4;  // vectors of sums

// A channel's rows, one after the other. With a stride, a row is cut into one part for each
// remainder of the column: what a tap sees is then adjacent again.
struct Rows {
    size_t part, pitch;   // words of a part, and of a row
    size_t high, covers;  // output rows in a band, and rows that a filter covers
};

TACITA_INLINE Rows rows_of(const Convolution& c) {
    Rows rows;
    const size_t across = c.dilation[1] * (c.taps[1] - 1);
    rows.part = c.out[1] + across / c.stride[1] + STRETCH * LANES;
    rows.pitch = least(c.stride[1], across + 1) * rows.part;
    rows.covers = c.dilation[0] * (c.taps[0] - 1) + 1;
    const size_t fit = NEAR / rows.pitch;
    rows.high = fit > rows.covers ? (fit - rows.covers) / c.stride[0] + 1 : 1;
    if (rows.high > c.out[0]) rows.high = c.out[0];
    return rows;
}

TACITA_INLINE bool rows_fit(const Convolution& c) {
    // Compared by dividing: extents may be anything where arrays are broadcast.
    if (c.taps[0] > MAX_TAPS || c.taps[1] > MAX_TAPS || taps_of(c) > MAX_TAPS) return false;
    if (c.out[1] > BAND || c.dilation[0] > BAND || c.dilation[1] > BAND || c.stride[0] > BAND)
        return false;
    const Rows rows = rows_of(c);
    return rows.pitch <= BAND && rows.covers <= BAND / rows.pitch;
}

// Padded rows top … of a channel. `top` counts from the first row of the padding.
static void copy_rows(const Convolution& c, const u64* from, size_t top, size_t count,
                      const Rows& rows, u64* to) {
    const size_t parts = rows.pitch / rows.part;
    for (size_t r = 0; r < count; r++)
        for (size_t part = 0; part < parts; part++, to += rows.part) {
            const size_t row = top + r - c.padding[0];  // wraps around above the image
            if (row >= c.extent[0]) {
                for (size_t i = 0; i < rows.part; i++) to[i] = 0;
                continue;
            }
            const u64* line = from + static_cast<ptrdiff_t>(row) * c.x_at[0];
            const auto bound = [&](size_t column) {  // the first i with i·stride + part ≥ column
                const size_t i = column > part ? (column - part + c.stride[1] - 1) / c.stride[1]
                                               : 0;
                return least(i, rows.part);
            };
            const size_t begin = bound(c.padding[1]), end = bound(c.padding[1] + c.extent[1]);
            for (size_t i = 0; i < begin; i++) to[i] = 0;
            for (size_t i = end; i < rows.part; i++) to[i] = 0;
            const size_t column = begin * c.stride[1] + part - c.padding[1];
            const u64* first = line + static_cast<ptrdiff_t>(column) * c.x_at[1];
            const ptrdiff_t move = static_cast<ptrdiff_t>(c.stride[1]) * c.x_at[1];
            if (move == 1)
                for (size_t i = begin; i < end; i++) to[i] = first[i - begin];
            else
                for (size_t i = begin; i < end; i++)
                    to[i] = first[static_cast<ptrdiff_t>(i - begin) * move];
        }
}

template <int WIDTH>
TACITA_INLINE void sum_taps(const u64* rows, const size_t* places, const u64* packed, size_t taps,
                            u64* words) {
    Step::Sum sums[WIDTH];
    for (int v = 0; v < WIDTH; v++) sums[v] = Step::zero();
    for (size_t t = 0; t < taps; t++) {
        const Step::Left left = Step::broadcast(packed + t * Step::LEFT_WORDS);
#pragma GCC unroll 4
        for (int v = 0; v < WIDTH; v++)
            Step::add(sums[v], left, Step::load(rows + places[t] + v * LANES));
    }
    for (int v = 0; v < WIDTH; v++) Step::total(sums[v], words + v * LANES);
}

static void add_row(u64* out, size_t count, const u64* rows, const size_t* places,
                    const u64* packed, size_t taps, u64 sign) {
    for (size_t j = 0; j < count; j += STRETCH * LANES) {
        alignas(64) u64 words[STRETCH * LANES];
        const size_t left = count - j;
        if (left > 2 * LANES)
            sum_taps<4>(rows + j, places, packed, taps, words);
        else if (left > LANES)
            sum_taps<2>(rows + j, places, packed, taps, words);
        else
            sum_taps<1>(rows + j, places, packed, taps, words);
        if (left >= STRETCH * LANES)
            for (int i = 0; i < STRETCH * LANES; i++) out[j + i] += (words[i] ^ sign) - sign;
        else
            for (size_t i = 0; i < left; i++) out[j + i] += (words[i] ^ sign) - sign;
    }
}

static void few_outputs(u64* out, const Convolution& c, u64* scratch) {
    const Rows rows = rows_of(c);
    const size_t taps = taps_of(c);
    const u64 sign = u64{0} - c.negate;  // (x ^ sign) − sign is x or −x
    size_t places[MAX_TAPS];
    for (size_t t = 0; t < taps; t++) {
        const size_t column = t % c.taps[1] * c.dilation[1];
        places[t] = t / c.taps[1] * c.dilation[0] * rows.pitch +
                    column % c.stride[1] * rows.part + column / c.stride[1];
    }
    for (size_t channel = 0; channel < c.groups * c.inputs; channel++) {
        const size_t group = channel / c.inputs, input = channel % c.inputs;
        u64 packed[FEW_OUTPUTS][MAX_TAPS * Step::LEFT_WORDS];
        for (size_t o = 0; o < c.outputs; o++)
            for (size_t t = 0; t < taps; t++) {
                const u64* w = c.w +
                               static_cast<ptrdiff_t>(group * c.outputs + o) * c.w_output +
                               static_cast<ptrdiff_t>(input) * c.w_input;
                Step::pack(w[static_cast<ptrdiff_t>(t / c.taps[1]) * c.w_at[0] +
                             static_cast<ptrdiff_t>(t % c.taps[1]) * c.w_at[1]],
                           packed[o] + t * Step::LEFT_WORDS);
            }
        for (size_t image = 0; image < c.images; image++)
            for (size_t y = 0; y < c.out[0]; y += rows.high) {
                const size_t high = least(rows.high, c.out[0] - y);
                copy_rows(c, at(c, image, channel), y * c.stride[0],
                          (high - 1) * c.stride[0] + rows.covers, rows, scratch);
                for (size_t o = 0; o < c.outputs; o++) {
                    const size_t plane = (image * c.groups + group) * c.outputs + o;
                    for (size_t r = 0; r < high; r++)
                        add_row(out + (plane * c.out[0] + y + r) * c.out[1], c.out[1],
                                scratch + r * c.stride[0] * rows.pitch, places, packed[o], taps,
                                sign);
                }
            }
    }
}

}  // namespace tacita::TACITA_PATH
