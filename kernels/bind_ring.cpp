// Bindings: ring products and AES in counter mode.
#include <cstdlib>
#include <memory>

#include "bindings.hpp"

namespace tacita {

// ---- products ----------------------------------------------------------------------------------

constexpr int MAX_BATCH_AXES = 14;

// The batch axes of out, a and b, broadcast to those of out; the innermost last.
struct Batch {
    int axes = 0;
    size_t extent[MAX_BATCH_AXES];
    ptrdiff_t out[MAX_BATCH_AXES], a[MAX_BATCH_AXES], b[MAX_BATCH_AXES];
};

static ptrdiff_t batch_stride(const Array& x, const Array& out, int axis) {
    const int own = axis - (out.dimensions() - x.dimensions());
    if (own < 0 || (x.shape(own) == 1 && out.shape(axis) != 1)) return 0;
    if (x.shape(own) != out.shape(axis))
        refuse(x.name(), "shape " + x.shape_text() + " does not broadcast to out's " +
                             out.shape_text());
    return x.stride(own);
}

static void matmul_add(size_t path, nb::handle out_object, nb::handle a_object,
                       nb::handle b_object, bool negate) {
    const Array out(out_object, "out", Array::write);
    const StridedArray a(a_object, "a"), b(b_object, "b");
    out.require_dimensions(2, MAX_BATCH_AXES + 2);
    a.require_dimensions(2, out.dimensions());
    b.require_dimensions(2, out.dimensions());
    const int od = out.dimensions(), ad = a.dimensions(), bd = b.dimensions();
    size_t m = out.shape(od - 2);
    const size_t n = out.shape(od - 1), k = a.shape(ad - 1);
    if (a.shape(ad - 2) != m)
        refuse("a", "shape " + a.shape_text() + " does not fit out's " + out.shape_text());
    if (b.shape(bd - 2) != k || b.shape(bd - 1) != n)
        refuse("b", "shape " + b.shape_text() + " does not fit a's " + a.shape_text() +
                        " and out's " + out.shape_text());
    if (out.overlaps(a)) refuse("out", "shares memory with a");
    if (out.overlaps(b)) refuse("out", "shares memory with b");

    Batch batch;
    for (int axis = 0; axis < od - 2; axis++) {
        batch.extent[axis] = out.shape(axis);
        batch.out[axis] = out.stride(axis);
        batch.a[axis] = batch_stride(a, out, axis);
        batch.b[axis] = batch_stride(b, out, axis);
        batch.axes++;
    }
    if (out.size() == 0 || k == 0) return;

    // The stride of an axis of length 1 means nothing, and must not decide how we compute.
    Matrix left{a.words(), m == 1 ? 0 : a.stride(ad - 2), k == 1 ? 0 : a.stride(ad - 1)};
    Matrix right{b.words(), k == 1 ? 0 : b.stride(bd - 2), n == 1 ? 0 : b.stride(bd - 1)};
    const ptrdiff_t out_row = static_cast<ptrdiff_t>(n);

    // Many matrices times the same one are one tall matrix, where their rows are evenly spaced.
    while (batch.axes > 0) {
        const int axis = batch.axes - 1;
        const ptrdiff_t rows = static_cast<ptrdiff_t>(m);
        if (batch.extent[axis] > 1) {
            if (batch.b[axis] != 0 || (m > 1 && batch.a[axis] != rows * left.row)) break;
            if (m == 1) left.row = batch.a[axis];
            m *= batch.extent[axis];
        }
        batch.axes--;
    }

    const std::unique_ptr<void, decltype(&pool_give)> scratch(
        pool_take(MATMUL_WORKSPACE * sizeof(u64)), &pool_give);
    if (!scratch) throw std::bad_alloc();
    const Table& kernels = table(path);

    const Unlocked unlocked(b.size() + out.size() * (k / 8));
    size_t index[MAX_BATCH_AXES] = {};
    u64* target = out.words();
    for (;;) {
        kernels.matmul(target, out_row, 1, left, right, m, n, k, negate,
                       static_cast<u64*>(scratch.get()));
        int axis = batch.axes - 1;
        for (; axis >= 0; axis--) {
            target += batch.out[axis];
            left.data += batch.a[axis];
            right.data += batch.b[axis];
            if (++index[axis] < batch.extent[axis]) break;
            const ptrdiff_t whole = static_cast<ptrdiff_t>(batch.extent[axis]);
            target -= whole * batch.out[axis];
            left.data -= whole * batch.a[axis];
            right.data -= whole * batch.b[axis];
            index[axis] = 0;
        }
        if (axis < 0) return;
    }
}

static void product_add(size_t path, nb::handle out_object, nb::handle a_object,
                        nb::handle b_object, bool negate) {
    const Array out(out_object, "out", Array::write), a(a_object, "a"), b(b_object, "b");
    for (const Array* x : {&a, &b}) {
        bool same = x->dimensions() == out.dimensions();
        for (int axis = 0; same && axis < out.dimensions(); axis++)
            same = x->shape(axis) == out.shape(axis);
        if (!same)
            refuse(x->name(), "expected out's shape " + out.shape_text() + ", got " +
                                  x->shape_text());
        if (x->words() != out.words() && out.overlaps(*x))
            refuse("out", std::string("shares a part of its memory with ") + x->name());
    }
    const Table& kernels = table(path);
    const Unlocked unlocked(3 * out.size());
    kernels.product(out.words(), a.words(), b.words(), out.size(), negate);
}

// ---- AES ---------------------------------------------------------------------------------------

static void aes_ctr(size_t cipher, int use, nb::handle key, nb::handle nonce, nb::handle block,
                    nb::handle out_object) {
    if (!PyBytes_Check(key.ptr()) || PyBytes_Size(key.ptr()) != 16)
        refuse("key", "must be 16 bytes");
    const u64 nonce_word = word(nonce, "nonce"), block_word = word(block, "block");
    const Array out(out_object, "out", Array::write);
    const u64 blocks = out.size() / 2 + out.size() % 2;
    if (blocks > 0 && block_word > ~u64{0} - (blocks - 1))
        refuse("block", "the counter runs past 2^64 − 1");
    if (cipher >= ciphers().size()) refuse("path", "no such AES path");
    if (use < 0 || use > 2) refuse("use", "must lie in 0 … 2");
    // `bytes` do not change, and the caller holds them.
    const u8* key_bytes = reinterpret_cast<const u8*>(PyBytes_AsString(key.ptr()));
    const Cipher& engine = *ciphers()[cipher];
    const Unlocked unlocked(out.size());
    engine.stream(key_bytes, nonce_word, block_word, out.words(), out.size(),
                  static_cast<Stream>(use));
}

void bind_ring(nb::module_& m) {
    m.def("paths", [] {
        nb::list names;
        for (const Table* t : tables()) names.append(t->name);
        return names;
    });
    m.def("aes_paths", [] {
        nb::list names;
        for (const Cipher* c : ciphers()) names.append(c->name);
        return names;
    });
    m.def("matmul_add", &matmul_add);
    m.def("product_add", &product_add);
    m.def("multiply_peak", [](size_t path, size_t steps) {
        const Table& kernels = table(path);
        nb::gil_scoped_release unlocked;
        return kernels.multiply_peak(steps);
    });
    m.def("aes_ctr", &aes_ctr);
}

}  // namespace tacita
