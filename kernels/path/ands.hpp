// ANDs of many inputs: one level of a tree, from opened inputs and dealt products of their masks.
//
// With e = ê ⊕ α, a prefix's AND multiplies out to Π(ê_i ⊕ α_i) = ⊕_S (Π_{i∉S} ê_i)·A_S, where
// A_S = Π_{i∈S} α_i. The ê are public, so a party that holds XOR shares of all A_S evaluates this
// alone, one variable after the other: folding bit 0 of S halves the number of coefficients. After
// i folds the first coefficient left is the AND of the first i inputs, so that all prefixes come
// out of one pass.
#pragma once

#include "lanes.hpp"

namespace tacita::TACITA_PATH {

constexpr int MAX_SUBSETS = 1 << MAX_FAN;

// Folds coefficients of `count` variables in place, of which the first has been folded already.
// prefix[i] becomes the AND of the first i inputs, for i = 1 … count.
template <class V>
TACITA_INLINE void fold(V* terms, int count, const u64* opened, size_t stride, V* prefix) {
    prefix[1] = terms[0];
    for (int i = 1; i < count; i++) {
        V bit = load<V>(opened + i * stride);
        for (int s = 0; s < 1 << (count - 1 - i); s++)
            terms[s] = terms[2 * s + 1] ^ (bit & terms[2 * s]);
        prefix[i + 1] = terms[0];
    }
}

// prefix[0 … used] of one group; moves `product` past the group's A_S.
template <class V>
TACITA_INLINE void and_prefixes(const u64* opened, const u64* masks, const u64*& product, int used,
                                size_t stride, bool first, V* prefix) {
    prefix[0] = every<V>(first);
    if (used == 0) return;
    V terms[MAX_SUBSETS / 2];
    V bit = load<V>(opened);
    terms[0] = load<V>(masks) ^ (bit & prefix[0]);
    for (int top = 0; top < used - 1; top++) {
        // Subsets with highest element top + 1: the singleton comes first, and is no product.
        V lower = load<V>(masks + (top + 1) * stride);
        for (int s = 1 << top; s < 2 << top; s++) {
            if (s > 1 << top) {
                lower = load<V>(product);
                product += stride;
            }
            terms[s] = load<V>(product) ^ (bit & lower);
            product += stride;
        }
    }
    fold<V>(terms, used, opened, stride, prefix);
}

// Share of λ_j ∧ (AND of the first j inputs); moves `product` past the λ_j·A_S.
template <class V>
TACITA_INLINE V masked_prefix(const u64* opened, const u64* lambda, const u64*& product, int j,
                              size_t stride) {
    if (j == 0) return load<V>(lambda);
    V terms[MAX_SUBSETS / 4], prefix[MAX_FAN];
    V bit = load<V>(opened);
    terms[0] = load<V>(product) ^ (bit & load<V>(lambda));
    product += stride;
    for (int s = 1; s < 1 << (j - 1); s++) {
        terms[s] = load<V>(product + stride) ^ (bit & load<V>(product));
        product += 2 * stride;
    }
    fold<V>(terms, j, opened, stride, prefix);
    return prefix[j];
}

template <class V>
TACITA_INLINE void fan_in_column(const u64* opened, const u64* masks, const u64* products,
                                 size_t stride, Groups groups, bool first, u64* nodes) {
    const size_t lambdas = (groups.nodes - 1) * stride;
    for (int q = 0, start = 0; q < groups.size; start += groups.fan[q++]) {
        const int size = groups.fan[q];
        const bool whole = !groups.order || q < groups.size - 1;
        const u64 *e_open = opened + start * stride, *e_mask = masks + start * stride;
        V prefix[MAX_FAN + 1];
        and_prefixes<V>(e_open, e_mask, products, whole ? size : size - 1, stride, first, prefix);
        if (whole) store<V>(nodes + q * stride, prefix[size]);
        if (!groups.order) continue;
        V less = zeros<V>();
        for (int j = 0; j < size; j++) {
            less ^= load<V>(e_open + lambdas + j * stride) & prefix[j];
            less ^= masked_prefix<V>(e_open, e_mask + lambdas + j * stride, products, j, stride);
        }
        store<V>(nodes + (groups.size - 1 + q) * stride, less);
    }
}

template <class V>
TACITA_INLINE void xor_products_column(const u64* masks, size_t stride, Groups groups, u64* into) {
    const size_t lambdas = (groups.nodes - 1) * stride;
    for (int q = 0, start = 0; q < groups.size; start += groups.fan[q++]) {
        const int size = groups.fan[q];
        const bool whole = !groups.order || q < groups.size - 1;
        const int used = whole ? size : size - 1;
        const u64* alpha = masks + start * stride;
        V power[MAX_SUBSETS];
        for (int top = 0; top < used; top++) {
            V bit = load<V>(alpha + top * stride);
            power[1 << top] = bit;
            for (int s = 1; s < 1 << top; s++) {
                power[1 << top | s] = power[s] & bit;
                exclusive_or<V>(into, power[1 << top | s]);
                into += stride;
            }
        }
        if (!groups.order) continue;
        for (int j = 1; j < size; j++) {
            V lambda = load<V>(alpha + lambdas + j * stride);
            for (int s = 1; s < 1 << j; s++) {
                exclusive_or<V>(into, lambda & power[s]);
                into += stride;
            }
        }
    }
}

static void fan_in(const u64* opened, const u64* masks, const u64* products, Sliced shape,
                   Groups groups, size_t product_count, bool first, u64* nodes) {
    const size_t stride = shape.width;
    const size_t in = (groups.order ? 2 * groups.nodes - 1 : groups.nodes) * stride;
    const size_t out = (groups.order ? 2 * groups.size - 1 : groups.size) * stride;
    for (size_t b = 0; b < shape.blocks; b++)
        each_column(shape.width, [&](auto v, int column) {
            fan_in_column<decltype(v)>(opened + b * in + column, masks + b * in + column,
                                       products + b * product_count * stride + column, stride,
                                       groups, first, nodes + b * out + column);
        });
}

static void xor_products(const u64* masks, Sliced shape, Groups groups, size_t products,
                         u64* into) {
    const size_t stride = shape.width;
    const size_t in = (groups.order ? 2 * groups.nodes - 1 : groups.nodes) * stride;
    for (size_t b = 0; b < shape.blocks; b++)
        each_column(shape.width, [&](auto v, int column) {
            xor_products_column<decltype(v)>(masks + b * in + column, stride, groups,
                                             into + b * products * stride + column);
        });
}

}  // namespace tacita::TACITA_PATH
