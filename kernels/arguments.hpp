// Arguments from Python, checked: every failure is a ValueError that names the argument.
#pragma once

#include <nanobind/nanobind.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "table.hpp"

namespace tacita {

namespace nb = nanobind;

[[noreturn]] void refuse(const char* argument, const std::string& what);

// A numpy array through the buffer protocol; the buffer is held, and so the memory stays, for as
// long as this object lives. Strides are in elements.
class Array {
public:
    enum Access { read, write };
    // uint64, C-contiguous.
    Array(nb::handle object, const char* name, Access access = read);
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array();

    static constexpr size_t ANY = ~size_t{0};
    void require_shape(std::initializer_list<size_t> shape) const;  // ANY: this axis is free
    void require_dimensions(int least, int most) const;

    const char* name() const { return name_; }
    int dimensions() const { return view_.ndim; }
    size_t shape(int axis) const { return static_cast<size_t>(view_.shape[axis]); }
    ptrdiff_t stride(int axis) const { return view_.strides[axis] / view_.itemsize; }
    size_t size() const;
    std::string shape_text() const;
    u64* words() const { return static_cast<u64*>(view_.buf); }
    u8* octets() const { return static_cast<u8*>(view_.buf); }
    // Do the memory ranges meet? (Ranges, not elements: two interleaved views meet as well.)
    bool overlaps(const Array& other) const;

protected:
    enum Kind { uint64, uint8 };
    Array(nb::handle object, const char* name, Access access, Kind kind, bool contiguous);

private:
    Py_buffer view_;
    const char* name_;
};

// uint64 of any strides.
class StridedArray : public Array {
public:
    StridedArray(nb::handle object, const char* name)
        : Array(object, name, read, uint64, false) {}
};

// uint8, C-contiguous.
class Octets : public Array {
public:
    Octets(nb::handle object, const char* name, Access access = read)
        : Array(object, name, access, uint8, true) {}
};

// Bit planes [blocks, planes, width]; `planes` may be Array::ANY.
class Planes : public Array {
public:
    Planes(nb::handle object, const char* name, size_t planes, Access access = read);
    Planes(nb::handle object, const char* name, size_t planes, Sliced shape, Access access = read);
    Sliced sliced() const { return {shape(0), static_cast<int>(shape(2))}; }
};

// One plane that covers n elements.
class Plane : public Planes {
public:
    Plane(nb::handle object, const char* name, size_t n);
};

u64 word(nb::handle object, const char* name);  // 0 … 2^64 − 1
int number(nb::handle object, const char* name, int least, int most);
Divisor divisor(nb::handle object);

// Sizes of chunks or of groups: a non-empty sequence of 1 … most.
std::vector<int> sizes(nb::handle object, const char* name, int most);

size_t product_count(const std::vector<int>& fan, bool order);

}  // namespace tacita
