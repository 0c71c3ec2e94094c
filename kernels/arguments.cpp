#include "arguments.hpp"

#include <cstring>

namespace tacita {

void refuse(const char* argument, const std::string& what) {
    throw nb::value_error((std::string(argument) + ": " + what).c_str());
}

static std::string class_of(nb::handle object) { return Py_TYPE(object.ptr())->tp_name; }

// ---- arrays ------------------------------------------------------------------------------------

static bool is_native(const Py_buffer& view, bool uint64) {
    const char* format = view.format ? view.format : "B";
    if (*format == '@' || *format == '=') format++;
    if (!uint64) return std::strcmp(format, "B") == 0 && view.itemsize == 1;
    return (std::strcmp(format, "L") == 0 || std::strcmp(format, "Q") == 0) && view.itemsize == 8;
}

Array::Array(nb::handle object, const char* name, Access access)
    : Array(object, name, access, uint64, true) {}

Array::Array(nb::handle object, const char* name, Access access, Kind kind, bool contiguous)
    : name_(name) {
    const std::string type = kind == uint64 ? "uint64" : "uint8";
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_RECORDS_RO) != 0) {
        PyErr_Clear();
        refuse(name, "expected a numpy array of " + type + ", got " + class_of(object));
    }
    // From here on ~Array does not run if we throw: the buffer is released by hand.
    std::string problem;
    if (!is_native(view_, kind == uint64)) {
        problem = "expected " + type + ", got a buffer of format '" +
                  (view_.format ? view_.format : "B") + "'";
    } else if (access == write && view_.readonly) {
        problem = "is read-only";
    } else if (contiguous && !PyBuffer_IsContiguous(&view_, 'C')) {
        problem = "must be C-contiguous";
    } else if (reinterpret_cast<std::uintptr_t>(view_.buf) % view_.itemsize != 0) {
        problem = "is not aligned";
    } else {
        for (int axis = 0; axis < view_.ndim; axis++)
            if (view_.strides[axis] % view_.itemsize != 0) problem = "is not aligned";
    }
    if (!problem.empty()) {
        PyBuffer_Release(&view_);
        refuse(name, problem);
    }
}

Array::~Array() { PyBuffer_Release(&view_); }

size_t Array::size() const { return static_cast<size_t>(view_.len / view_.itemsize); }

static std::string text(size_t extent) {
    return extent == Array::ANY ? "any" : std::to_string(extent);
}

std::string Array::shape_text() const {
    std::string all;
    for (int axis = 0; axis < view_.ndim; axis++)
        all += (axis ? ", " : "") + std::to_string(view_.shape[axis]);
    return "[" + all + "]";
}

void Array::require_shape(std::initializer_list<size_t> shape) const {
    bool fits = static_cast<size_t>(view_.ndim) == shape.size();
    std::string wanted;
    int axis = 0;
    for (size_t extent : shape) {
        wanted += (axis ? ", " : "") + text(extent);
        if (fits && extent != ANY) fits = static_cast<size_t>(view_.shape[axis]) == extent;
        axis++;
    }
    if (!fits) refuse(name_, "expected shape [" + wanted + "], got " + shape_text());
}

void Array::require_dimensions(int least, int most) const {
    if (view_.ndim < least || view_.ndim > most)
        refuse(name_, "expected " + std::to_string(least) + " to " + std::to_string(most) +
                          " dimensions, got shape " + shape_text());
}

bool Array::overlaps(const Array& other) const {
    const auto range = [](const Py_buffer& view, const char*& low, const char*& high) {
        low = high = static_cast<const char*>(view.buf);
        for (int axis = 0; axis < view.ndim; axis++) {
            if (view.shape[axis] == 0) return false;
            const ptrdiff_t reach = view.strides[axis] * (view.shape[axis] - 1);
            (reach < 0 ? low : high) += reach;
        }
        high += view.itemsize;
        return true;
    };
    const char *low, *high, *other_low, *other_high;
    if (!range(view_, low, high) || !range(other.view_, other_low, other_high)) return false;
    return low < other_high && other_low < high;
}

// ---- planes ------------------------------------------------------------------------------------

Planes::Planes(nb::handle object, const char* name, size_t planes, Access access)
    : Array(object, name, access) {
    require_shape({ANY, planes, ANY});
    const size_t width = shape(2);
    if (width != 1 && width != 2 && width != 4 && width != 8)
        refuse(name, "blocks must be 1, 2, 4 or 8 words wide, got shape " + shape_text());
}

Planes::Planes(nb::handle object, const char* name, size_t planes, Sliced shape, Access access)
    : Array(object, name, access) {
    require_shape({shape.blocks, planes, static_cast<size_t>(shape.width)});
}

Plane::Plane(nb::handle object, const char* name, size_t n) : Planes(object, name, 1) {
    // Blocks exist in memory, so that their number of bits, 8 times that of bytes, may overflow
    // only where 2^61 bytes do; compare by dividing.
    const size_t run = 64 * shape(2), wanted = n / run + (n % run != 0);
    if (shape(0) != wanted)
        refuse(name, "expected " + std::to_string(wanted) + " blocks for " + std::to_string(n) +
                         " elements, got shape " + shape_text());
}

// ---- numbers -----------------------------------------------------------------------------------

u64 word(nb::handle object, const char* name) {
    PyObject* index = PyNumber_Index(object.ptr());
    if (index == nullptr) {
        PyErr_Clear();
        refuse(name, "expected an integer, got " + class_of(object));
    }
    const u64 value = PyLong_AsUnsignedLongLong(index);
    Py_DECREF(index);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        refuse(name, "must lie in 0 … 2^64 − 1");
    }
    return value;
}

int number(nb::handle object, const char* name, int least, int most) {
    const u64 value = word(object, name);
    if (value < static_cast<u64>(least) || value > static_cast<u64>(most))
        refuse(name, "must lie in " + std::to_string(least) + " … " + std::to_string(most));
    return static_cast<int>(value);
}

Divisor divisor(nb::handle object) {
    const u64 d = word(object, "divisor");
    if (d == 0) refuse("divisor", "must be at least 1");
    const int floor_log = 63 - __builtin_clzll(d);
    if ((d & (d - 1)) == 0) return {0, floor_log, true};
    // ⌊2^64·(2^(floor_log+1) − d)/d⌋ + 1: the low 64 bits of the 65-bit reciprocal.
    const u64 excess = floor_log == 63 ? u64{0} - d : (u64{2} << floor_log) - d;
    const u64 reciprocal =
        static_cast<u64>((static_cast<unsigned __int128>(excess) << 64) / d) + 1;
    return {reciprocal, floor_log, false};
}

std::vector<int> sizes(nb::handle object, const char* name, int most) {
    if (!PySequence_Check(object.ptr())) refuse(name, "expected a sequence of integers");
    const Py_ssize_t length = PySequence_Size(object.ptr());
    if (length < 0) {
        PyErr_Clear();
        refuse(name, "expected a sequence of integers");
    }
    if (length == 0) refuse(name, "must not be empty");
    if (length > 64) refuse(name, "has more than 64 entries");
    std::vector<int> list;
    for (Py_ssize_t i = 0; i < length; i++) {
        nb::object item = nb::steal(PySequence_GetItem(object.ptr(), i));
        if (!item.is_valid()) {
            PyErr_Clear();
            refuse(name, "expected a sequence of integers");
        }
        list.push_back(number(item, name, 1, most));
    }
    return list;
}

size_t product_count(const std::vector<int>& fan, bool order) {
    size_t count = 0;
    for (size_t q = 0; q < fan.size(); q++) {
        const int size = fan[q], used = order && q + 1 == fan.size() ? size - 1 : size;
        count += (size_t{1} << used) - used - 1;
        if (order) count += (size_t{1} << size) - 1 - size;  // Σ over j of 2^j − 1
    }
    return count;
}

}  // namespace tacita
