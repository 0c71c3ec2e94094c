// out ± = conv2d(x, w) mod 2^64: which of the forms a convolution takes.
//
// The choice depends on shapes and strides alone, which are public.
#pragma once

#include "depthwise.hpp"
#include "filtering.hpp"

namespace tacita::TACITA_PATH {

enum class Form { few_outputs, matmul, filtering, dots, panels };

TACITA_INLINE bool is(const size_t (&values)[2], size_t value) {
    return values[0] == value && values[1] == value;
}

// A 1×1 filter in every place: one ring product for each image and group, x as it lies.
TACITA_INLINE bool is_matmul(const Convolution& c) {
    return is(c.taps, 1) && is(c.stride, 1) && is(c.padding, 0) &&
           (c.extent[0] == 1 || c.extent[1] == 1 ||
            c.x_at[0] == static_cast<ptrdiff_t>(c.extent[1]) * c.x_at[1]);
}

TACITA_INLINE bool takes_dots(const Convolution& c) {
    return c.images * c.pixels() <= FEW_DOTS && filters_lie_flat(c);
}

TACITA_INLINE bool can_filter(const Convolution& c) {
    return is(c.taps, 3) && is(c.stride, 1) && is(c.dilation, 1) && c.groups == 1;
}

// Is filtering faster than the definition? Both are counted in multiply-adds of the innermost
// step; the numbers below are what the rest took, measured in that unit.
TACITA_INLINE bool filtering_pays(const Convolution& c) {
    const Filtering f = filtering(c, nullptr);
    const double inputs = static_cast<double>(c.inputs), outputs = static_cast<double>(c.outputs);
    const double pixels = static_cast<double>(c.images) * static_cast<double>(c.pixels());
    const double tiles = static_cast<double>(round_up(f.tiles, ROWS));
    const double tile_blocks = static_cast<double>((f.tiles + f.block - 1) / f.block);
    const double pixel_blocks = pixels / static_cast<double>(WIDE) + 1;
    const double panels = static_cast<double>(round_up(c.outputs, COLUMNS));

    const double filtered = tiles * (64 * inputs * panels + 450 * inputs + 350 * outputs) +
                            tile_blocks * 150 * inputs * outputs;
    const double direct = takes_dots(c)
                              ? pixels * 9 * inputs * outputs * 1.6
                              : pixels * (9 * inputs * outputs + 60 * inputs + 15 * outputs) +
                                    pixel_blocks * 70 * inputs * outputs;
    return filtered < direct;
}

TACITA_INLINE Form form(const Convolution& c) {
    if (c.outputs <= FEW_OUTPUTS && taps_of(c) > 1 && rows_fit(c)) return Form::few_outputs;
    if (is_matmul(c) && (c.images == 1 || c.pixels() >= WIDE / 4 || c.outputs <= FEW_ROWS))
        return Form::matmul;
    if (can_filter(c) && filtering_pays(c)) return Form::filtering;
    return takes_dots(c) ? Form::dots : Form::panels;
}

static size_t convolve_workspace(const Convolution& c) {
    switch (form(c)) {
        case Form::few_outputs: return BAND;
        case Form::filtering: return filtering(c, nullptr).words;
        default: return MATMUL_WORKSPACE;
    }
}

static void convolve_as_matmul(u64* out, const Convolution& c, u64* scratch) {
    const Matrix filters{c.w, c.w_output, c.w_input};
    for (size_t part = 0; part < c.images * c.groups; part++) {
        const size_t image = part / c.groups, group = part % c.groups;
        matmul(out + part * c.outputs * c.pixels(), static_cast<ptrdiff_t>(c.pixels()), 1,
               {filters.data + static_cast<ptrdiff_t>(group * c.outputs) * c.w_output, filters.row,
                filters.column},
               {at(c, image, group * c.inputs), c.x_channel,
                c.extent[1] == 1 ? c.x_at[0] : c.x_at[1]},
               c.outputs, c.pixels(), c.inputs, c.negate, scratch);
    }
}

static void convolve(u64* out, const Convolution& c, u64* scratch) {
    switch (form(c)) {
        case Form::few_outputs: return few_outputs(out, c, scratch);
        case Form::matmul: return convolve_as_matmul(out, c, scratch);
        case Form::filtering: return filter_three(out, c, scratch);
        case Form::dots: return pixel_dots(out, c, scratch);
        case Form::panels: return pixel_panels(out, c, scratch);
    }
}

}  // namespace tacita::TACITA_PATH
