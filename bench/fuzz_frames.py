"""Random and nearly right bytes for the decoders of the frame format.

    python -m bench.fuzz_frames [cases] [seed]

Whatever comes has to result in a FrameError, or in something that encodes to the same again; any
other exception ends the run. Faster than the tests' own fuzzing, which also looks for the smallest
counterexample.
"""

import random
import sys
import time

import msgspec

from tacita.errors import FrameError
from tacita.network import frames
from tacita.network.frames import Assembly, Limits
from tacita.runtime.transport import Message

LIMITS = Limits(header=1 << 12, arrays=8, dimensions=4, message=1 << 14)
KINDS = sorted(frames.MESSAGE_KINDS)
NUMBERS = (0, 0, 1, 1, 2, 3, 5, -1, 2**32, 2**60, 2**61, 2**62, 2**63, 2**64 - 1)


def spoilt(data, random):
    data = bytearray(data)
    for _ in range(random.choice((0, 0, 0, 1, 1, 2, 5))):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    way = random.randrange(10)
    if way == 0:
        del data[random.randrange(len(data) + 1) :]
    elif way == 1:
        data += random.randbytes(random.randrange(12))
    return bytes(data)


def header(random):
    if random.random() < 0.2:
        return random.randbytes(frames.HEADER_BYTES)
    stream = random.choice((bytes(16), random.randbytes(16)))
    size = random.choice((0, 1, 8, 100, 512, 513, 1 << 18, (1 << 18) + 1))
    kind = random.randrange(10)
    data = frames.header(kind, random.randrange(4), stream, random.randrange(2**32), size)
    return (spoilt(data, random) + bytes(frames.HEADER_BYTES))[: frames.HEADER_BYTES]


def message(random):
    shapes = [
        [random.choice(NUMBERS) for _ in range(random.randrange(5))]
        for _ in range(random.choice((0, 1, 1, 2, 3, 9)))
    ]
    head = msgspec.msgpack.encode(
        [random.choice(KINDS), random.randbytes(random.randrange(6)), shapes]
    )
    words = 0
    for shape in shapes:
        count = 1
        for each in shape:
            count *= each
        words += count
    head = spoilt(head, random)
    data = len(head).to_bytes(4, "little") + head + bytes(8 * max(0, min(words, 600)))
    return spoilt(data, random)


def take_header(data, _random):
    frame = frames.decode_header(data)
    again = frames.header(frame.kind, frame.flags, frame.stream, frame.sequence, frame.size)
    assert again == data


def take_message(data, random):
    assembly, start = Assembly(LIMITS, frames.MESSAGE_KINDS), 0
    most = random.choice((1, 7, 64, 1 << 18))
    while start < len(data):
        room = assembly.room(min(most, len(data) - start))
        room[:] = data[start : start + len(room)]
        start += len(room)
        assembly.took(len(room))
    found = assembly.finish()
    assert isinstance(found, Message)
    content = frames.encode_message(found, LIMITS, frames.MESSAGE_KINDS)
    words = b"".join(content.parts[1:])
    assert data.endswith(words)


def main(cases, seed):
    source = random.Random(seed)
    accepted = refused = 0
    began = time.perf_counter()
    for number in range(cases):
        make, take = ((header, take_header), (message, take_message))[number % 2]
        data = make(source)
        try:
            take(data, source)
            accepted += 1
        except FrameError:
            refused += 1
        except BaseException:
            print(f"case {number} of seed {seed}: {data.hex()}", file=sys.stderr)
            raise
    took = time.perf_counter() - began
    print(f"{cases} cases, seed {seed}: {accepted} accepted, {refused} refused, {took:.1f} s")


if __name__ == "__main__":
    cases, seed, *_ = [*map(int, sys.argv[1:]), *(100_000, 1)[len(sys.argv) - 1 :]]
    main(cases, seed)
