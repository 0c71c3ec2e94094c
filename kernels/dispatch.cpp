#include "dispatch.hpp"

namespace tacita {

#define TACITA_DECLARE(path) \
    namespace path {         \
    extern const Table table; \
    }
#define TACITA_DECLARE_CIPHER(name)     \
    namespace name {                    \
    extern const Cipher cipher;         \
    extern const PointFunctions points; \
    }

TACITA_DECLARE(portable)
#ifdef TACITA_X86
TACITA_DECLARE(avx2)
TACITA_DECLARE(avx512)
TACITA_DECLARE_CIPHER(aesni)
TACITA_DECLARE_CIPHER(vaes256)
TACITA_DECLARE_CIPHER(vaes512)
#endif

// __builtin_cpu_supports asks the operating system too (XGETBV), not the CPU alone.
const std::vector<const Table*>& tables() {
    static const std::vector<const Table*> found = [] {
        std::vector<const Table*> list;
#ifdef TACITA_X86
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
            list.push_back(&avx512::table);
        if (__builtin_cpu_supports("avx2")) list.push_back(&avx2::table);
#endif
        list.push_back(&portable::table);
        return list;
    }();
    return found;
}

#ifdef TACITA_X86
// What is compiled for the widths of AES instructions, for those widths that this machine has.
template <class Functions>
static std::vector<const Functions*> by_cipher(const Functions& widest, const Functions& wide,
                                               const Functions& narrow) {
    std::vector<const Functions*> list;
    __builtin_cpu_init();
    const bool aes = __builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1");
    const bool vaes = aes && __builtin_cpu_supports("vaes") && __builtin_cpu_supports("avx2");
    if (vaes && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        list.push_back(&widest);
    if (vaes) list.push_back(&wide);
    if (aes) list.push_back(&narrow);
    return list;
}
#endif

const std::vector<const Cipher*>& ciphers() {
#ifdef TACITA_X86
    static const auto found = by_cipher(vaes512::cipher, vaes256::cipher, aesni::cipher);
#else
    static const std::vector<const Cipher*> found;
#endif
    return found;
}

const std::vector<const PointFunctions*>& point_functions() {
#ifdef TACITA_X86
    static const auto found = by_cipher(vaes512::points, vaes256::points, aesni::points);
#else
    static const std::vector<const PointFunctions*> found;
#endif
    return found;
}

}  // namespace tacita
