// A pool of large blocks for NumPy arrays, so that a role does not pay for fresh pages each time.
//
// The system hands out large blocks zeroed and takes them back when they are freed; for arrays of
// megabytes that live for a millisecond this costs more than the arithmetic. NumPy lets a thread
// choose where its arrays' data comes from (NEP 49). A role's thread takes it from here: freed
// blocks are kept by size class and handed out again, by whichever thread frees them.
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include "bindings.hpp"
#include <numpy/arrayobject.h>

namespace tacita {
namespace {

constexpr size_t smallest = size_t{1} << 16;       // bytes: below this, malloc is fast
constexpr size_t most_kept = size_t{1} << 30;      // bytes kept for reuse by the whole process
constexpr size_t alignment = 64;                   // a cache line, a 512-bit register
constexpr size_t steps = 4;                        // size classes for each power of two
constexpr size_t classes = 64 * steps;

// The class of a size, and the size of a class: at most a fifth of a block is unused.
size_t class_of(size_t size) {
    const size_t power = std::bit_width(size) - 1;  // 2^power <= size < 2^(power+1)
    const size_t base = size_t{1} << power, step = base / steps;
    return power * steps + (size - base + step - 1) / step;
}
size_t size_of(size_t number) {
    const size_t base = size_t{1} << (number / steps);
    return base + base / steps * (number % steps);
}

// What stands before the data of every block: how much may be written behind it.
struct alignas(alignment) Header {
    size_t capacity;
};
Header* header(void* data) { return static_cast<Header*>(data) - 1; }

class Pool {
  public:
    void* take(size_t size) {
        size_t capacity = (size + alignment - 1) / alignment * alignment;
        if (size >= smallest && size <= most_kept) {
            const size_t number = class_of(size);
            capacity = size_of(number);
            const std::lock_guard<std::mutex> guard(lock_);
            auto& blocks = free_[number];
            if (!blocks.empty()) {
                void* data = blocks.back();
                blocks.pop_back();
                kept_ -= capacity;
                return data;
            }
        }
        if (capacity < size || capacity > SIZE_MAX - sizeof(Header)) return nullptr;
        void* block = std::aligned_alloc(alignment, capacity + sizeof(Header));
        if (block == nullptr) return nullptr;
        return new (block) Header{capacity} + 1;
    }

    void give(void* data) {
        if (data == nullptr) return;
        const size_t capacity = header(data)->capacity;
        if (capacity >= smallest && capacity <= most_kept) {
            const std::lock_guard<std::mutex> guard(lock_);
            if (kept_ + capacity <= most_kept) {
                free_[class_of(capacity)].push_back(data);
                kept_ += capacity;
                return;
            }
        }
        std::free(header(data));
    }

  private:
    std::mutex lock_;
    size_t kept_ = 0;
    std::array<std::vector<void*>, classes> free_;
};

// Never destroyed: arrays may outlive everything else in the process.
Pool& pool() {
    static Pool* const only = new Pool;
    return *only;
}

void* pool_malloc(void*, size_t size) { return pool().take(size); }

void* pool_calloc(void*, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return nullptr;
    void* data = pool().take(count * size);
    if (data != nullptr) std::memset(data, 0, count * size);
    return data;
}

void* pool_realloc(void*, void* data, size_t size) {
    if (data != nullptr && size <= header(data)->capacity) return data;
    void* larger = pool().take(size);
    if (larger != nullptr && data != nullptr) {
        std::memcpy(larger, data, header(data)->capacity);
        pool().give(data);
    }
    return larger;
}

void pool_free(void*, void* data, size_t) { pool().give(data); }

PyDataMem_Handler handler = {
    "tacita_pool", 1, {nullptr, pool_malloc, pool_calloc, pool_realloc, pool_free}};

// NumPy keeps the choice in the context of the calling thread, and each array remembers its own.
void pool_arrays() {
    nb::object capsule = nb::capsule(&handler, "mem_handler");
    nb::object before = nb::steal(PyDataMem_SetHandler(capsule.ptr()));
    if (!before.is_valid()) throw nb::python_error();
}

int import_numpy() {
    import_array1(-1);
    return 0;
}

}  // namespace

void* pool_take(size_t bytes) { return pool().take(bytes); }
void pool_give(void* block) { pool().give(block); }

void bind_pool(nb::module_& m) {
    if (import_numpy() < 0) throw nb::python_error();
    m.def("pool_arrays", &pool_arrays);
}

}  // namespace tacita
