// out ± = a·b mod 2^64, for matrices of any strides, in three forms:
//
//   panels  many rows of a: both operands are packed block by block, and a tile of
//           ROWS × COLUMNS sums stays in registers (Goto and van de Geijn 2008)
//   dots    few rows of a, b stored column by column (x @ weight.T): dot products, b as it lies
//   rows    few rows of a, b stored row by row: sums of scaled rows, b as it lies
#pragma once

#include "multiply.hpp"

namespace tacita::TACITA_PATH {

TACITA_INLINE size_t least(size_t x, size_t y) { return x < y ? x : y; }

// The blocks that the panels are cut into: a's block (packed) lives in L2, b's panel of COLUMNS
// columns in L1.
constexpr size_t DEEP = 256, TALL = 64, WIDE = 512;

// Rows of a up to which packing b does not pay, for a b that lies in columns, and in rows.
constexpr size_t FEW_DOTS = 32, FEW_ROWS = 4;

struct Output {
    u64* data;
    ptrdiff_t row, column;
    bool negate;

    TACITA_INLINE void add(size_t i, size_t j, u64 value) const {
        u64& at = data[static_cast<ptrdiff_t>(i) * row + static_cast<ptrdiff_t>(j) * column];
        at += negate ? u64{0} - value : value;
    }
};

TACITA_INLINE const u64* at(Matrix x, size_t i, size_t j) {
    return x.data + static_cast<ptrdiff_t>(i) * x.row + static_cast<ptrdiff_t>(j) * x.column;
}

// ---- panels ------------------------------------------------------------------------------------

// k ≥ 1 steps of a tile: `a` holds ROWS prepared scalars a step, `b` COLUMNS words.
static void tile_panel(size_t k, const u64* a, const u64* b, u64* tile) {
    Step::Sum sums[ROWS][VECTORS];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++) sums[i][j] = Step::zero();
    do {  // not a `for`: its exit before the first step makes GCC copy every sum in every step
        Step::Vector right[VECTORS];
        for (int j = 0; j < VECTORS; j++) right[j] = Step::load(b + j * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            const Step::Left left = Step::broadcast(a + i * Step::LEFT_WORDS);
#pragma GCC unroll 8
            for (int j = 0; j < VECTORS; j++)
                Step::add(sums[i][j], left, right[j]);
        }
        a += ROWS * Step::LEFT_WORDS;
        b += COLUMNS;
    } while (--k > 0);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++)
            Step::total(sums[i][j], tile + i * COLUMNS + j * LANES);
}

// Rows i … of a as panels of ROWS, padded with zero rows.
static void pack_left(Matrix a, size_t i, size_t rows, size_t k0, size_t k, u64* packed) {
    for (size_t top = 0; top < rows; top += ROWS) {
        for (size_t r = 0; r < ROWS; r++) {
            const u64* from = at(a, i + top + r, k0);
            u64* to = packed + r * Step::LEFT_WORDS;
            const bool present = top + r < rows;
            for (size_t step = 0; step < k; step++, to += ROWS * Step::LEFT_WORDS)
                Step::pack(present ? from[static_cast<ptrdiff_t>(step) * a.column] : 0, to);
        }
        packed += k * ROWS * Step::LEFT_WORDS;
    }
}

// Four columns of b, each contiguous, to four words a step: a transposition in registers.
TACITA_INLINE void pack_four_columns(const u64* from, ptrdiff_t column, size_t k, u64* to) {
    using Pair = Lanes<2>::type;
    for (size_t step = 0; step + 2 <= k; step += 2, to += 2 * COLUMNS)
        for (int c = 0; c < 4; c += 2) {
            const Pair x = load<Pair>(from + c * column + step);
            const Pair y = load<Pair>(from + (c + 1) * column + step);
            store<Pair>(to + c, __builtin_shufflevector(x, y, 0, 2));
            store<Pair>(to + COLUMNS + c, __builtin_shufflevector(x, y, 1, 3));
        }
    if (k % 2)
        for (int c = 0; c < 4; c++) to[c] = from[c * column + static_cast<ptrdiff_t>(k) - 1];
}

// Columns j … of b as panels of COLUMNS, padded with zero columns.
static void pack_right(Matrix b, size_t j, size_t columns, size_t k0, size_t k, u64* packed) {
    for (size_t left = 0; left < columns; left += COLUMNS, packed += k * COLUMNS) {
        const size_t present = least(COLUMNS, columns - left);
        const u64* from = at(b, k0, j + left);
        if (present == COLUMNS && b.row == 1) {
            for (int c = 0; c < COLUMNS; c += 4)
                pack_four_columns(from + c * b.column, b.column, k, packed + c);
        } else if (present == COLUMNS && b.column == 1) {
            for (size_t step = 0; step < k; step++, from += b.row)
                __builtin_memcpy(packed + step * COLUMNS, from, COLUMNS * sizeof(u64));
        } else {
            for (size_t step = 0; step < k; step++, from += b.row)
                for (size_t c = 0; c < COLUMNS; c++)
                    packed[step * COLUMNS + c] =
                        c < present ? from[static_cast<ptrdiff_t>(c) * b.column] : 0;
        }
    }
}

static void add_tile(const Output& out, size_t i, size_t j, size_t rows, size_t columns,
                     const u64* tile) {
    if (columns < COLUMNS || out.column != 1) {
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++) out.add(i + r, j + c, tile[r * COLUMNS + c]);
        return;
    }
    const u64 sign = u64{0} - out.negate;  // (x ^ sign) − sign is x or −x
    for (size_t r = 0; r < rows; r++, tile += COLUMNS) {
        u64* to = out.data + static_cast<ptrdiff_t>(i + r) * out.row + static_cast<ptrdiff_t>(j);
        for (int c = 0; c < COLUMNS; c++) to[c] += (tile[c] ^ sign) - sign;
    }
}

static void matmul_panels(const Output& out, Matrix a, Matrix b, size_t m, size_t n, size_t k,
                          u64* scratch) {
    u64 *left = scratch, *right = scratch + TALL * DEEP * Step::LEFT_WORDS;
    static_assert(TALL * DEEP * Step::LEFT_WORDS + WIDE * DEEP <= MATMUL_WORKSPACE);
    const size_t deep = (k + (k + DEEP - 1) / DEEP - 1) / ((k + DEEP - 1) / DEEP);
    for (size_t k0 = 0; k0 < k; k0 += deep) {
        const size_t steps = least(deep, k - k0);
        for (size_t j0 = 0; j0 < n; j0 += WIDE) {
            const size_t columns = least(WIDE, n - j0);
            pack_right(b, j0, columns, k0, steps, right);
            for (size_t i0 = 0; i0 < m; i0 += TALL) {
                const size_t rows = least(TALL, m - i0);
                pack_left(a, i0, rows, k0, steps, left);
                for (size_t j = 0; j < columns; j += COLUMNS)
                    for (size_t i = 0; i < rows; i += ROWS) {
                        alignas(64) u64 tile[ROWS * COLUMNS];
                        tile_panel(steps, left + i * steps * Step::LEFT_WORDS, right + j * steps,
                                   tile);
                        add_tile(out, i0 + i, j0 + j, least(ROWS, rows - i),
                                 least(COLUMNS, columns - j), tile);
                    }
            }
        }
    }
}

// ---- dots --------------------------------------------------------------------------------------

// R × C dot products of contiguous vectors.
template <int R, int C>
TACITA_INLINE void tile_dots(const Output& out, size_t i, size_t j, const u64* a, size_t a_row,
                             const u64* b, ptrdiff_t b_column, size_t k) {
    Step::Sum sums[R][C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) sums[r][c] = Step::zero();
    size_t step = 0;
    for (; step + LANES <= k; step += LANES) {
        Step::Left left[R];
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) left[r] = Step::left(Step::load(a + r * a_row + step));
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            const Step::Vector right = Step::load(b + c * b_column + step);
#pragma GCC unroll 4
            for (int r = 0; r < R; r++)
                Step::add(sums[r][c], left[r], right);
        }
    }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) {
            u64 sum = sum_lanes(sums[r][c]);
            for (size_t s = step; s < k; s++) sum += a[r * a_row + s] * b[c * b_column + s];
            out.add(i + r, j + c, sum);
        }
}

// All columns of b against `rows` contiguous rows of a: b passes through the caches once.
static void block_dots(const Output& out, size_t i, size_t rows, const u64* a, size_t a_row,
                       Matrix b, size_t k0, size_t n, size_t k) {
    if (rows == 1) {
        size_t j = 0;
        for (; j + 4 <= n; j += 4)
            tile_dots<1, 4>(out, i, j, a, a_row, at(b, k0, j), b.column, k);
        for (; j < n; j++) tile_dots<1, 1>(out, i, j, a, a_row, at(b, k0, j), b.column, k);
        return;
    }
    for (size_t j = 0; j < n; j += 2) {
        const u64* right = at(b, k0, j);
        const bool pair = j + 2 <= n;
        size_t r = 0;
        for (; r + 2 <= rows; r += 2) {
            const u64* left = a + r * a_row;
            if (pair)
                tile_dots<2, 2>(out, i + r, j, left, a_row, right, b.column, k);
            else
                tile_dots<2, 1>(out, i + r, j, left, a_row, right, b.column, k);
        }
        if (r == rows) continue;
        if (pair)
            tile_dots<1, 2>(out, i + r, j, a + r * a_row, a_row, right, b.column, k);
        else
            tile_dots<1, 1>(out, i + r, j, a + r * a_row, a_row, right, b.column, k);
    }
}

constexpr size_t LONG = 1024, BLOCK = 8;  // of a's rows: what is copied to be contiguous

static void matmul_dots(const Output& out, Matrix a, Matrix b, size_t m, size_t n, size_t k,
                        u64* scratch) {
    static_assert(LONG * BLOCK <= MATMUL_WORKSPACE);
    for (size_t k0 = 0; k0 < k; k0 += LONG) {
        const size_t steps = least(LONG, k - k0);
        for (size_t i = 0; i < m; i += BLOCK) {
            const size_t rows = least(BLOCK, m - i);
            for (size_t r = 0; r < rows; r++) {
                const u64* from = at(a, i + r, k0);
                for (size_t s = 0; s < steps; s++)
                    scratch[r * LONG + s] = from[static_cast<ptrdiff_t>(s) * a.column];
            }
            block_dots(out, i, rows, scratch, LONG, b, k0, n, steps);
        }
    }
}

// ---- rows --------------------------------------------------------------------------------------

constexpr size_t STRIP = 1024;  // sums, split as Step splits them, that stay in L1
constexpr int TOGETHER = 4;     // rows of b that share one pass over the sums

TACITA_INLINE void scale_rows(int together, const u64* const* b, const u64* packed, size_t columns,
                              Step::Sum* sums) {
    Step::Left left[TOGETHER];
    for (int t = 0; t < together; t++) left[t] = Step::broadcast(packed + t * Step::LEFT_WORDS);
    for (size_t j = 0; j + LANES <= columns; j += LANES) {
        Step::Sum sum = sums[j / LANES];
        for (int t = 0; t < together; t++) Step::add(sum, left[t], Step::load(b[t] + j));
        sums[j / LANES] = sum;
    }
}

static void matmul_rows(const Output& out, Matrix a, Matrix b, size_t m, size_t n, size_t k) {
    Step::Sum sums[FEW_ROWS][STRIP / LANES];
    const size_t strip = STRIP / (m == 3 ? 4 : m);
    for (size_t j0 = 0; j0 < n; j0 += strip) {
        const size_t columns = least(strip, n - j0), whole = columns / LANES * LANES;
        for (size_t i = 0; i < m; i++)
            for (size_t v = 0; v < whole / LANES; v++) sums[i][v] = Step::zero();
        for (size_t k0 = 0; k0 < k; k0 += TOGETHER) {
            const size_t together = least(TOGETHER, k - k0);
            const u64* from[TOGETHER];
            for (size_t t = 0; t < together; t++) from[t] = at(b, k0 + t, j0);
            for (size_t i = 0; i < m; i++) {
                u64 packed[TOGETHER * Step::LEFT_WORDS];
                for (size_t t = 0; t < together; t++) {
                    const u64 scalar = *at(a, i, k0 + t);
                    Step::pack(scalar, packed + t * Step::LEFT_WORDS);
                    for (size_t j = whole; j < columns; j++)
                        out.add(i, j0 + j, scalar * from[t][j]);
                }
                if (together == TOGETHER)
                    scale_rows(TOGETHER, from, packed, columns, sums[i]);
                else
                    scale_rows(static_cast<int>(together), from, packed, columns, sums[i]);
            }
        }
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < whole; j += LANES) {
                u64 words[LANES];
                Step::total(sums[i][j / LANES], words);
                for (size_t l = 0; l < LANES; l++) out.add(i, j0 + j + l, words[l]);
            }
    }
}

// ---- choice ------------------------------------------------------------------------------------

static void matmul(u64* out, ptrdiff_t out_row, ptrdiff_t out_column, Matrix a, Matrix b,
                   size_t m, size_t n, size_t k, bool negate, u64* scratch) {
    if (m == 0 || n == 0 || k == 0) return;
    if (n < m && (n <= FEW_ROWS || (n <= FEW_DOTS && a.column == 1))) {
        // A narrow b: the same product, transposed, has few rows.
        const Matrix swapped = a;
        a = {b.data, b.column, b.row};
        b = {swapped.data, swapped.column, swapped.row};
        const ptrdiff_t row = out_row;
        out_row = out_column, out_column = row;
        const size_t columns = n;
        n = m, m = columns;
    }
    const Output to{out, out_row, out_column, negate};
    if (m <= FEW_ROWS && b.column == 1)
        matmul_rows(to, a, b, m, n, k);
    else if (m <= FEW_DOTS && b.row == 1)
        matmul_dots(to, a, b, m, n, k, scratch);
    else
        matmul_panels(to, a, b, m, n, k, scratch);
}

// The innermost step with operands that never leave the registers: what `matmul` is measured
// against. Returns the multiply-adds done.
static size_t multiply_peak(size_t steps) {
    Step::Sum sums[ROWS][VECTORS];
    Step::Left left[ROWS];
    Step::Vector right[VECTORS];
    alignas(64) u64 words[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) words[c] = steps + static_cast<size_t>(c);
    for (int j = 0; j < VECTORS; j++) right[j] = Step::load(words + j * LANES);
    for (int i = 0; i < ROWS; i++) left[i] = Step::left(right[0]);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++) sums[i][j] = Step::zero();
    for (size_t step = 0; step < steps; step++)
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            Step::renew(left[i]);
#pragma GCC unroll 8
            for (int j = 0; j < VECTORS; j++)
                Step::add(sums[i][j], left[i], right[j]);
        }
    u64 all = 0;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < VECTORS; j++) all += sum_lanes(sums[i][j]);
    volatile u64 sink = all;
    (void)sink;
    return steps * ROWS * VECTORS * LANES;
}

}  // namespace tacita::TACITA_PATH
