// Bindings: bit planes, one-hot tables, ANDs.
#include "bindings.hpp"

namespace tacita {

static size_t blocks_for(size_t n, size_t width) {
    return n / (64 * width) + (n % (64 * width) != 0);
}

static void require_vector(const Array& x) { x.require_shape({Array::ANY}); }

static Chunks chunks_of(const std::vector<int>& bits) {
    Chunks chunks{bits.data(), static_cast<int>(bits.size()), 0, 0};
    for (int b : bits) {
        chunks.planes += b;
        chunks.entries += 1 << b;
    }
    return chunks;
}

static Groups groups_of(const std::vector<int>& fan, bool order) {
    Groups groups{fan.data(), static_cast<int>(fan.size()), 0, order};
    for (int size : fan) groups.nodes += size;
    return groups;
}

static size_t shares_of(int nodes, bool order) {
    return static_cast<size_t>(order ? 2 * nodes - 1 : nodes);
}

static void to_planes(size_t path, nb::handle values_object, nb::handle low_object,
                      nb::handle count_object, nb::handle planes_object) {
    const Array values(values_object, "values");
    require_vector(values);
    const int count = number(count_object, "count", 1, 64);
    const int low = number(low_object, "low", 0, 64 - count);
    const Planes planes(planes_object, "planes", count, Array::write);
    const Sliced shape = planes.sliced();
    planes.require_shape({blocks_for(values.size(), shape.width), static_cast<size_t>(count),
                          static_cast<size_t>(shape.width)});
    const Table& kernels = table(path);
    const Unlocked unlocked(values.size());
    kernels.to_planes(values.words(), values.size(), low, count, shape, planes.words());
}

static void pack_bits(size_t path, nb::handle bits_object, nb::handle plane_object) {
    const Octets bits(bits_object, "bits");
    require_vector(bits);
    const Planes plane(plane_object, "planes", 1, Array::write);
    const size_t width = plane.shape(2);
    plane.require_shape({blocks_for(bits.size(), width), 1, width});
    const Table& kernels = table(path);
    const Unlocked unlocked(bits.size() / 8);
    kernels.pack_bits(bits.octets(), bits.size(), plane.words(), plane.size());
}

static void unpack_bits(size_t path, nb::handle plane_object, nb::handle bits_object) {
    const Octets bits(bits_object, "bits", Array::write);
    require_vector(bits);
    const Plane plane(plane_object, "planes", bits.size());
    const Table& kernels = table(path);
    const Unlocked unlocked(bits.size() / 8);
    kernels.unpack_bits(plane.words(), bits.size(), bits.octets());
}

static void xor_one_hot(size_t path, nb::handle planes_object, nb::handle chunks_object,
                        nb::handle into_object) {
    const std::vector<int> bits = sizes(chunks_object, "chunks", MAX_CHUNK);
    const Chunks chunks = chunks_of(bits);
    const Planes planes(planes_object, "planes", chunks.planes);
    const Planes into(into_object, "into", chunks.entries, planes.sliced(), Array::write);
    if (into.overlaps(planes)) refuse("into", "shares memory with planes");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.one_hot(planes.words(), planes.sliced(), chunks, into.words());
}

static void lookup(size_t path, nb::handle index_object, nb::handle hot_object,
                   nb::handle chunks_object, bool order, nb::handle nodes_object) {
    const std::vector<int> bits = sizes(chunks_object, "chunks", MAX_CHUNK);
    const Chunks chunks = chunks_of(bits);
    const Planes index(index_object, "index_planes", chunks.planes);
    const Planes hot(hot_object, "hot", chunks.entries, index.sliced());
    const Planes nodes(nodes_object, "nodes", shares_of(chunks.size, order), index.sliced(),
                       Array::write);
    const Table& kernels = table(path);
    const Unlocked unlocked(hot.size());
    kernels.lookup(index.words(), hot.words(), index.sliced(), chunks, order, nodes.words());
}

static void lookup_many(size_t path, nb::handle index_object, nb::handle hot_object,
                        nb::handle chunks_object, nb::handle numbers_object,
                        nb::handle nodes_object, nb::handle tops_object) {
    const std::vector<int> bits = sizes(chunks_object, "chunks", MAX_CHUNK);
    const Chunks chunks = chunks_of(bits);
    if (chunks.planes > 63) refuse("chunks", "have more than 63 bits");
    const Planes index(index_object, "index_planes", chunks.planes + 1);
    const Planes hot(hot_object, "hot", chunks.entries, index.sliced());
    const Array numbers(numbers_object, "numbers");
    require_vector(numbers);
    if (numbers.size() > MAX_NUMBERS) refuse("numbers", "are more than 64");
    const Planes nodes(nodes_object, "nodes", numbers.size() * shares_of(chunks.size, true),
                       index.sliced(), Array::write);
    const Planes tops(tops_object, "tops", numbers.size(), index.sliced(), Array::write);
    const Table& kernels = table(path);
    const Unlocked unlocked(hot.size());
    kernels.lookup_many(index.words(), hot.words(), index.sliced(), chunks, numbers.words(),
                        static_cast<int>(numbers.size()), nodes.words(), tops.words());
}

static void xor_products(size_t path, nb::handle masks_object, nb::handle fan_object, bool order,
                         nb::handle into_object) {
    const std::vector<int> fan = sizes(fan_object, "fan", MAX_FAN);
    const Groups groups = groups_of(fan, order);
    const Planes masks(masks_object, "masks", shares_of(groups.nodes, order));
    const size_t count = product_count(fan, order);
    const Planes into(into_object, "into", count, masks.sliced(), Array::write);
    if (into.overlaps(masks)) refuse("into", "shares memory with masks");
    const Table& kernels = table(path);
    const Unlocked unlocked(into.size());
    kernels.xor_products(masks.words(), masks.sliced(), groups, count, into.words());
}

static void fan_in(size_t path, nb::handle opened_object, nb::handle masks_object,
                   nb::handle products_object, nb::handle fan_object, bool order, bool first,
                   nb::handle nodes_object) {
    const std::vector<int> fan = sizes(fan_object, "fan", MAX_FAN);
    const Groups groups = groups_of(fan, order);
    const size_t in = shares_of(groups.nodes, order), count = product_count(fan, order);
    const Planes opened(opened_object, "opened", in);
    const Sliced shape = opened.sliced();
    const Planes masks(masks_object, "masks", in, shape);
    const Planes products(products_object, "products", count, shape);
    const Planes nodes(nodes_object, "nodes", shares_of(groups.size, order), shape, Array::write);
    const Table& kernels = table(path);
    const Unlocked unlocked(products.size() + opened.size());
    kernels.fan_in(opened.words(), masks.words(), products.words(), shape, groups, count, first,
                   nodes.words());
}

void bind_planes(nb::module_& m) {
    m.def("to_planes", &to_planes);
    m.def("pack_bits", &pack_bits);
    m.def("unpack_bits", &unpack_bits);
    m.def("xor_one_hot", &xor_one_hot);
    m.def("lookup", &lookup);
    m.def("lookup_many", &lookup_many);
    m.def("xor_products", &xor_products);
    m.def("fan_in", &fan_in);
    m.def("product_count", [](nb::handle fan, bool order) {
        return product_count(sizes(fan, "fan", MAX_FAN), order);
    });
}

}  // namespace tacita
