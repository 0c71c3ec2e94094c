// Vectors of 1 … MAX_LANES words, in GCC's and Clang's vector extensions.
//
// Everything under path/ is compiled once for each dispatch path, with other -m flags, in a
// namespace of its own (TACITA_PATH). Nothing here may call a library function that is inline or a
// template: the linker keeps one copy of such a function for the whole extension, and that copy
// could be the one compiled for a CPU that this machine is not.
#pragma once

#include "../table.hpp"

namespace tacita::TACITA_PATH {

#if defined(__AVX512F__)
constexpr int MAX_LANES = 8;
#elif defined(__AVX2__)
constexpr int MAX_LANES = 4;
#else
constexpr int MAX_LANES = 2;
#endif

#define TACITA_INLINE inline __attribute__((always_inline))

template <int LANES> struct Lanes;
template <> struct Lanes<1> { typedef u64 type; };
template <> struct Lanes<2> { typedef u64 type __attribute__((vector_size(16))); };
template <> struct Lanes<4> { typedef u64 type __attribute__((vector_size(32))); };
template <> struct Lanes<8> { typedef u64 type __attribute__((vector_size(64))); };

template <class V> TACITA_INLINE V load(const u64* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class V> TACITA_INLINE void store(u64* p, V v) { __builtin_memcpy(p, &v, sizeof v); }

template <class V> TACITA_INLINE void exclusive_or(u64* p, V v) { store<V>(p, load<V>(p) ^ v); }

template <class V> TACITA_INLINE V zeros() { return V{}; }
template <class V> TACITA_INLINE V ones() { return ~V{}; }
template <class V> TACITA_INLINE V every(bool set) { return V{} - static_cast<u64>(set); }

// Calls f(V{}, column) for the columns of a block of `width` words, as wide as the path allows.
// A block's planes lie `width` words apart, so a column is a strided walk with no shuffles.
template <class F> TACITA_INLINE void each_column(int width, F f) {
    switch (width) {
        case 1: f(Lanes<1>::type{}, 0); break;
        case 2: f(Lanes<2>::type{}, 0); break;
        case 4: {
            constexpr int L = MAX_LANES < 4 ? MAX_LANES : 4;
            for (int c = 0; c < 4; c += L) f(Lanes<L>::type{}, c);
            break;
        }
        default:
            for (int c = 0; c < 8; c += MAX_LANES) f(Lanes<MAX_LANES>::type{}, c);
    }
}

}  // namespace tacita::TACITA_PATH
