"""The native kernels on one core: ring products, convolutions, AES, planes, comparisons, ReLU.

    python -m bench.kernels

Figures are medians. Ring products are also set against the path's bound: the multiply-adds that
the innermost step does with its operands in registers, measured in turn with the product itself,
so that both see the same clock and the same neighbours. So are convolutions, in the multiply-adds
of their definition (3×3 filters take fewer: above 1 is possible), and against the usual detour:
patches copied to a matrix by NumPy, and one ring product.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench import record
from tacita.ring import _kernels, kernels, points

U64 = np.uint64
N = 1_000_000  # elements of the elementwise kernels
WIDTH = 8
CHUNKS = [4] * 8  # 32 bits
FAN = [4, 4]
DIVISOR = 1 << 16
PEAK_STEPS = 200_000
BUDGET = 1.0  # seconds for each figure
Figures = dict[str, float]

generator = np.random.default_rng(1)


def words(*shape: int) -> np.ndarray:
    return generator.integers(0, 2**64, size=shape, dtype=U64)


def medians(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call; the calls take turns."""
    for call in calls:
        call()
    taken: list[list[float]] = [[] for _ in calls]
    deadline = time.perf_counter() + BUDGET * len(calls)
    while time.perf_counter() < deadline or len(taken[0]) < 7:
        for times, call in zip(taken, calls, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]


def show(figures: Figures, name: str, value: float, unit: str) -> None:
    figures[f"{name} [{unit}]"] = round(value, 3)
    print(f"{name:58s} {value:10.2f} {unit}", flush=True)


def bench_matmul(figures: Figures, path: str) -> None:
    """nn.Linear's shape, its backward passes, and matrix times vector."""
    number = kernels.paths().index(path)

    def peak() -> None:
        _kernels.multiply_peak(number, PEAK_STEPS)

    per_peak = _kernels.multiply_peak(number, PEAK_STEPS) / 1e9
    for label, (m, n, k), a_transposed, b_transposed in (
        ("x @ weight.T 128×784×500", (128, 500, 784), False, True),
        ("grad @ weight 128×500×784", (128, 784, 500), False, False),
        ("grad.T @ x 500×128×784", (500, 784, 128), True, False),
        ("x @ weight.T 1×784×500", (1, 500, 784), False, True),
        ("x @ matrix 1×784×500", (1, 500, 784), False, False),
        ("x @ weight.T 1×4096×4096", (1, 4096, 4096), False, True),
        ("x @ matrix 1×4096×4096", (1, 4096, 4096), False, False),
    ):
        a = words(k, m).T if a_transposed else words(m, k)
        b = words(n, k).T if b_transposed else words(k, n)
        out = words(m, n)
        ours, bound = medians(lambda: kernels.matmul_add(out, a, b, path=path), peak)
        gmacs = m * n * k / 1e9
        show(figures, f"{path} {label}", gmacs / ours, "GMAC/s")
        show(figures, f"{path} {label}, of the path's bound", gmacs / ours * bound / per_peak, "")
        if m == 1:
            show(figures, f"{path} {label}, of the matrix", 8 * n * k / ours / 1e9, "GB/s")
    (bound,) = medians(peak)
    show(figures, f"{path} bound: multiply-adds in registers", per_peak / bound, "GMAC/s")


# (images, channels, extent, filters), taps, and how: layers of ResNets for 32² and 224² pixels.
THREE: dict[str, Any] = {"padding": (1, 1)}
HALVING: dict[str, Any] = {"stride": (2, 2)}
LAYERS: list[tuple[tuple[int, int, int, int], int, dict[str, Any]]] = [
    ((1, 64, 32, 64), 3, THREE),
    ((1, 64, 56, 64), 3, THREE),
    ((32, 16, 32, 16), 3, THREE),
    ((32, 32, 16, 32), 3, THREE),
    ((32, 64, 8, 64), 3, THREE),
    ((1, 128, 16, 128), 3, THREE),
    ((1, 256, 8, 256), 3, THREE),
    ((1, 512, 4, 512), 3, THREE),
    ((1, 3, 224, 64), 7, HALVING | {"padding": (3, 3)}),
    ((1, 64, 56, 128), 3, HALVING | THREE),
    ((1, 64, 56, 128), 1, HALVING),
    ((1, 64, 56, 256), 1, {}),
    ((32, 64, 8, 64), 1, {}),
    ((1, 64, 56, 64), 3, THREE | {"groups": 64}),
]


def by_patches(out: np.ndarray, x: np.ndarray, w: np.ndarray, path: str, how: dict) -> None:
    """The convolution by way of a matrix of patches."""
    (down, across), (high, wide) = how.get("stride", (1, 1)), how.get("padding", (0, 0))
    groups = how.get("groups", 1)
    padded = np.pad(x, ((0, 0), (0, 0), (high, high), (wide, wide)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))
    seen = seen[:, :, ::down, ::across].transpose(0, 1, 4, 5, 2, 3)
    patches = np.ascontiguousarray(seen).reshape(len(x), groups, w[0].size, -1)
    filters = w.reshape(groups, -1, w[0].size)
    kernels.matmul_add(
        out.reshape(len(x), groups, filters.shape[1], -1), filters, patches, path=path
    )


def bench_convolve(figures: Figures, path: str) -> None:
    number = kernels.paths().index(path)

    def peak() -> None:
        _kernels.multiply_peak(number, PEAK_STEPS)

    per_peak = _kernels.multiply_peak(number, PEAK_STEPS) / 1e9
    for (images, channels, extent, filters), taps, how in LAYERS:
        x, groups = words(images, channels, extent, extent), how.get("groups", 1)
        w = words(filters, channels // groups, taps, taps)
        (stride, _), (padding, _) = how.get("stride", (1, 1)), how.get("padding", (0, 0))
        places = (extent + 2 * padding - taps) // stride + 1
        out = words(images, filters, places, places)
        ours, detour, bound = medians(
            lambda: kernels.convolve_add(out, x, w, **how, path=path),
            lambda: by_patches(out, x, w, path, how),
            peak,
        )
        gmacs = out.size * w[0].size / 1e9
        label = f"{path} conv {images}×{channels}×{extent}×{extent} → {filters}, {taps}×{taps}"
        label += f", stride {stride}" if stride > 1 else ""
        label += ", depthwise" if groups > 1 else ""
        show(figures, label, ours * 1e3, "ms")
        show(figures, label, gmacs / ours, "GMAC/s")
        show(figures, f"{label}, faster than by patches", detour / ours, "times")
        show(figures, f"{label}, of the path's bound", gmacs / ours * bound / per_peak, "")


def bench_torch(figures: Figures) -> None:
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.int64):
        x, weight = torch.ones(128, 784, dtype=dtype), torch.ones(500, 784, dtype=dtype)
        (taken,) = medians(lambda: x @ weight.T)
        show(figures, f"torch {dtype} 128×784×500", 128 * 784 * 500 / taken / 1e9, "GMAC/s")


def bench_aes(figures: Figures) -> None:
    key = bytes(16)
    for label, size in (("64 KiB", 1 << 13), ("8 MiB", 1 << 20)):
        out, zeros, room = np.empty(size, U64), bytes(8 * size), bytearray(8 * size + 16)

        def openssl() -> None:
            Cipher(algorithms.AES(key), modes.CTR(key)).encryptor().update_into(zeros, room)

        (taken,) = medians(openssl)
        show(figures, f"AES-CTR {label} cryptography, update_into", 8 * size / taken / 1e9, "GB/s")
        for cipher in kernels.aes_paths():
            for call in (kernels.aes_ctr, kernels.aes_ctr_add, kernels.aes_ctr_xor):
                (taken,) = medians(lambda: call(key, 1, 0, out, path=cipher))
                label_ = f"AES-CTR {label} {cipher} {call.__name__}"
                show(figures, label_, 8 * size / taken / 1e9, "GB/s")


POINT_SIZES = (1 << 16, N)  # elements: keys that stay in the last cache, and keys that do not
POINT_BITS = (16, 32, 64)


def bench_points(figures: Figures) -> None:
    """Keys of point functions, and comparisons with them: one public point, and three."""
    for cipher in kernels.aes_paths():
        native = kernels.native_cipher(cipher) is not None
        for n, bits in product(POINT_SIZES if native else POINT_SIZES[:1], POINT_BITS):
            alpha, roots, permutation = words(n), words(2, n, 2), words(2)
            keys, of = np.zeros(points.key_words(n, bits), U64), {"path": cipher}

            def per_comparison(label: str, call: Callable[[], object], count: int = 1) -> None:
                (taken,) = medians(call)
                label = f"{cipher} {label}, {bits} bits, {n} elements"
                show(figures, label, taken / n / count * 1e9, "ns/comparison")

            per_comparison(
                "points.generate",
                lambda: points.generate(alpha, roots, bits, permutation, keys, **of),
            )
            for count, compare in ((1, points.greater), (3, points.greater), (1, points.equal)):
                numbers = words(count, n)
                per_comparison(
                    f"points.{compare.__name__}, {count}",
                    lambda: compare(numbers, roots[0], keys, bits, permutation, True, **of),
                    count,
                )


def bench_elementwise(figures: Figures, path: str) -> None:
    def per_element(label: str, call: Callable[[], object]) -> None:
        (taken,) = medians(call)
        show(figures, f"{path} {label}", taken / N * 1e9, "ns/element")

    r, x = words(N), words(N)
    planes = kernels.to_planes(r, 0, 32, WIDTH)
    blocks = planes.shape[0]
    hot = words(blocks, sum(1 << c for c in CHUNKS), WIDTH)
    inputs, count = 2 * sum(FAN) - 1, kernels.product_count(FAN, True)
    opened, masks = words(blocks, inputs, WIDTH), words(blocks, inputs, WIDTH)
    products, bit = words(blocks, count, WIDTH), words(blocks, 1, WIDTH)
    two, five = words(2, N), words(5, N)
    of = {"path": path}

    for bits in (8, 32, 64):
        per_element(f"to_planes, {bits}", lambda: kernels.to_planes(r, 0, bits, WIDTH, **of))
    per_element("xor_one_hot, 8 × 4 bits", lambda: kernels.xor_one_hot(planes, CHUNKS, hot, **of))
    for order in (True, False):
        per_element(
            f"lookup, 8 × 4 bits, order={order}",
            lambda: kernels.lookup(planes, hot, CHUNKS, order=order, **of),
        )
    per_element(
        "xor_products, 4 + 4",
        lambda: kernels.xor_products(masks, FAN, order=True, into=products, **of),
    )
    per_element(
        "fan_in, 4 + 4",
        lambda: kernels.fan_in(opened, masks, products, FAN, order=True, first=True, **of),
    )
    for d in (DIVISOR, 9):
        per_element(
            f"truncation_correction, d = {d}",
            lambda: kernels.truncation_correction(r, d, two, **of),
        )
        per_element(
            f"truncate_share, d = {d}", lambda: kernels.truncate_share(x, two, d, 5, True, **of)
        )
        per_element(
            f"relu_correction, d = {d}", lambda: kernels.relu_correction(r, bit, d, five, **of)
        )
        per_element(
            f"relu_share, d = {d}", lambda: kernels.relu_share(x, bit, five, d, 5, True, **of)
        )
    per_element("gate_correction", lambda: kernels.gate_correction(r, bit, two, **of))
    per_element("gate_share", lambda: kernels.gate_share(x, r, bit, two, **of))
    per_element("bit_correction", lambda: kernels.bit_correction(bit, r, **of))
    per_element("bit_share", lambda: kernels.bit_share(bit, r, True, **of))
    per_element("product_add", lambda: kernels.product_add(x, r, two[0], **of))


def main() -> None:
    figures: Figures = {}
    for path in kernels.paths():
        bench_matmul(figures, path)
    bench_convolve(figures, kernels.paths()[0])
    bench_torch(figures)
    bench_aes(figures)
    bench_points(figures)
    for path in kernels.paths():
        bench_elementwise(figures, path)
    settings = {
        "threads": 1,
        "elements": N,
        "block width": WIDTH,
        "chunks": CHUNKS,
        "fan": FAN,
        "seconds for each figure": BUDGET,
        "figure": "median",
    }
    print(record.write("kernels", settings, dict(figures)))


if __name__ == "__main__":
    main()
