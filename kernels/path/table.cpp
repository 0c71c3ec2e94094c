// One dispatch path: this file is compiled once for each, with that path's -m flags.
// TACITA_PATH, its name, is set by the build.
#include "ands.hpp"
#include "convolve.hpp"
#include "digits.hpp"
#include "exponentials.hpp"
#include "gates.hpp"
#include "matmul.hpp"
#include "planes.hpp"
#include "stairs.hpp"
#include "tables.hpp"
#include "thresholds.hpp"
#include "waves.hpp"

#define TACITA_QUOTE(x) #x
#define TACITA_NAME(x) TACITA_QUOTE(x)

namespace tacita::TACITA_PATH {

extern const Table table;
const Table table = {
    TACITA_NAME(TACITA_PATH),
    matmul,
    convolve_workspace,
    convolve,
    multiply_peak,
    product,
    to_planes,
    pack_bits,
    unpack_bits,
    one_hot,
    lookup,
    lookup_many,
    xor_products,
    fan_in,
    truncation_correction,
    truncate_share,
    relu_correction,
    relu_share,
    gate_correction,
    gate_share,
    bit_correction,
    bit_share,
    wave_correction,
    wave_share,
    exponential_correction,
    exponential_share,
    bits_correction,
    stairs_share,
    draw_digits,
    lack_digits,
    hide_digits,
    find_zeros,
};

}  // namespace tacita::TACITA_PATH
