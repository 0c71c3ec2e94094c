// Bindings: convolution.
#include <climits>
#include <memory>

#include "bindings.hpp"

namespace tacita {

// A number for the height and one for the width.
static void pair(nb::handle object, const char* name, int least, size_t (&values)[2]) {
    if (!PySequence_Check(object.ptr()) || PySequence_Size(object.ptr()) != 2) {
        PyErr_Clear();
        refuse(name, "expected two integers, (height, width)");
    }
    for (Py_ssize_t axis = 0; axis < 2; axis++) {
        nb::object item = nb::steal(PySequence_GetItem(object.ptr(), axis));
        if (!item.is_valid()) {
            PyErr_Clear();
            refuse(name, "expected two integers, (height, width)");
        }
        values[axis] = static_cast<size_t>(number(item, name, least, INT_MAX));
    }
}

// How many places a filter takes along an axis. Broadcasting makes arrays of any extent out of one
// word, so that products of extents need 128 bits.
static size_t places(const Convolution& c, int axis) {
    using Wide = unsigned __int128;
    const Wide covered = Wide{c.dilation[axis]} * (c.taps[axis] - 1) + 1;
    const Wide padded = Wide{c.extent[axis]} + 2 * Wide{c.padding[axis]};
    if (covered > padded) refuse("w", "the dilated filter is larger than the padded x");
    return static_cast<size_t>((padded - covered) / c.stride[axis]) + 1;
}

static void convolve_add(size_t path, nb::handle out_object, nb::handle x_object,
                         nb::handle w_object, nb::handle stride, nb::handle padding,
                         nb::handle dilation, nb::handle groups_object, bool negate) {
    const Array out(out_object, "out", Array::write);
    const StridedArray x(x_object, "x"), w(w_object, "w");
    constexpr size_t ANY = Array::ANY;
    for (const Array* array : {static_cast<const Array*>(&out), static_cast<const Array*>(&x),
                               static_cast<const Array*>(&w)})
        array->require_shape({ANY, ANY, ANY, ANY});
    const size_t groups = static_cast<size_t>(number(groups_object, "groups", 1, INT_MAX));
    const size_t channels = x.shape(1), filters = w.shape(0);
    if (channels % groups != 0)
        refuse("groups", std::to_string(groups) + " does not divide the " +
                             std::to_string(channels) + " channels of x");
    if (filters % groups != 0)
        refuse("groups", std::to_string(groups) + " does not divide the " +
                             std::to_string(filters) + " filters of w");
    if (w.shape(1) != channels / groups || w.shape(2) == 0 || w.shape(3) == 0)
        refuse("w", "shape " + w.shape_text() + " does not fit x's " + x.shape_text() + " in " +
                        std::to_string(groups) + " groups");

    Convolution c{};
    pair(stride, "stride", 1, c.stride);
    pair(padding, "padding", 0, c.padding);
    pair(dilation, "dilation", 1, c.dilation);
    c.images = x.shape(0);
    c.groups = groups;
    c.inputs = channels / groups;
    c.outputs = filters / groups;
    for (int axis = 0; axis < 2; axis++) {
        c.extent[axis] = x.shape(2 + axis);
        c.taps[axis] = w.shape(2 + axis);
        c.out[axis] = places(c, axis);
    }
    out.require_shape({c.images, filters, c.out[0], c.out[1]});
    if (out.overlaps(x)) refuse("out", "shares memory with x");
    if (out.overlaps(w)) refuse("out", "shares memory with w");
    if (out.size() == 0 || c.inputs == 0) return;

    // The stride of an axis of length 1 means nothing, and must not decide how we compute.
    const auto step = [](const Array& array, int axis) {
        return array.shape(axis) == 1 ? 0 : array.stride(axis);
    };
    c.x = x.words();
    c.w = w.words();
    c.x_image = step(x, 0);
    c.x_channel = step(x, 1);
    c.w_output = step(w, 0);
    c.w_input = step(w, 1);
    for (int axis = 0; axis < 2; axis++) {
        c.x_at[axis] = step(x, 2 + axis);
        c.w_at[axis] = step(w, 2 + axis);
    }
    c.negate = negate;

    const Table& kernels = table(path);
    const std::unique_ptr<void, decltype(&pool_give)> scratch(
        pool_take(kernels.convolve_workspace(c) * sizeof(u64)), &pool_give);
    if (!scratch) throw std::bad_alloc();
    const size_t steps = c.inputs * c.taps[0] * c.taps[1];
    const Unlocked unlocked(x.size() + w.size() + out.size() * (1 + steps / 8));
    kernels.convolve(out.words(), c, static_cast<u64*>(scratch.get()));
}

void bind_convolution(nb::module_& m) { m.def("convolve_add", &convolve_add); }

}  // namespace tacita
