"""docs/frames.md against the code that it describes."""

import hashlib
import re
from typing import get_args

import msgspec
import numpy as np

from tacita.network import frames
from tacita.network.frames import SIZES, Assembly, FrameKind, Hello, Limits
from tacita.service import conversations

from .pages import blocks, first_column, page, section

TEXT = page("frames.md")


def examples():
    return [
        bytes.fromhex("".join(block.text.split()))
        for block in blocks(TEXT)
        if block.language == "hex"
    ]


def test_the_header_s_fields():
    table = section(TEXT, "## Frames").split("| kind | name")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+|…) \|", table, re.MULTILINE)
    start = 0
    for offset, size in rows:
        assert int(offset) == start
        start += 0 if size == "…" else int(size)
    assert start == frames.HEADER_BYTES


def test_every_kind_of_frame_is_there_with_its_sizes():
    rows = re.findall(r"^\| (\d+) \| `([A-Z]+)` \| (link|stream) \| (.*) \|$", TEXT, re.MULTILINE)
    assert [(int(number), name) for number, name, *_ in rows] == [
        (kind.value, kind.name) for kind in FrameKind
    ]
    for _, name, where, payload in rows:
        kind = FrameKind[name]
        assert (where == "link") == (kind in frames.OF_LINK)
        between = re.search(r"([0-9,]+)–([0-9,]+)", payload)
        if between:
            assert tuple(int(each.replace(",", "")) for each in between.groups()) == SIZES[kind]


def test_the_limits():
    limits = Limits()
    text = section(TEXT, "## Messages")
    assert f"{limits.header >> 20} MiB of\nheader" in text
    assert f"{limits.arrays:,} arrays of {limits.dimensions} dimensions" in text
    assert f"{limits.message >> 30} GiB in all" in text
    assert f"{limits.streams:,} streams" in text
    assert f"{frames.MESSAGE_COST:,} and {frames.ARRAY_COST} for each array" in text


def test_the_example_of_a_frame():
    data = examples()[0]
    frame = frames.decode_header(data[: frames.HEADER_BYTES])
    assert (frame.kind, frame.stream, frame.sequence) == (FrameKind.HELLO, frames.LINK_STREAM, 0)
    payload = data[frames.HEADER_BYTES :]
    assert len(payload) == frame.size
    assert frames.decode_hello(payload) == Hello("0.1.0", 64 << 20, 1 << 30)


def test_the_example_of_a_message():
    data = examples()[1]
    assembly = Assembly(Limits(), frames.MESSAGE_KINDS)
    done = 0
    while done < len(data):
        room = assembly.room(len(data) - done)
        count = min(len(room), len(data) - done)
        room[:count] = data[done : done + count]
        assembly.took(count)
        done += count
    message = assembly.finish()
    assert (message.kind, message.header, message.arrays) == ("done", b"ok", ())


def test_every_topic_is_there_and_no_other():
    topics = [each.__name__ for each in get_args(conversations.AnyTopic)]
    named = first_column(section(TEXT, "## Conversations"))
    assert sorted(named) == sorted(topics)


def test_topics_are_lists_that_begin_with_their_name():
    encoded = msgspec.msgpack.encode(conversations.Removing(bytes(16)))
    assert msgspec.msgpack.decode(encoded) == ["Removing", bytes(16)]


def test_the_derived_ids():
    model = bytes(range(16))
    derived = hashlib.sha256(b"tacita publication\0" + model).digest()[:16]
    assert conversations.publication_of(model) == derived


def test_kinds_of_messages_in_the_diagrams_exist():
    said = set()
    for block in blocks(TEXT):
        if block.language == "mermaid":
            said |= set(re.findall(r"->>\w: \(?([a-z]+)\)?(?:$|[ ,:])", block.text, re.MULTILINE))
    assert {"begin", "open", "done", "material"} <= said
    # What a client is sent is a share over HTTP.
    assert said <= frames.MESSAGE_KINDS | {"share"}


def test_words_are_little_endian():
    assert np.dtype("<u8") == frames.WORD
