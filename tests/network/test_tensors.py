"""Binary tensors in HTTP bodies: both ends agree, and whatever is not exactly right is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tacita.errors import ShapeError, TacitaError, UsageError
from tacita.network.tensors import (
    HEAD_LENGTH,
    JOINED_BELOW,
    Tensor,
    TensorLimits,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

QUERY = bytes(range(16))
LIMITS = TensorLimits(tensors=5, dimensions=4, elements=1 << 16, head_bytes=4096, name_length=20)


def tensor(name="x", shape=(2, 3), share=1, parties=3, scale=65536):
    values = np.frombuffer(np.random.default_rng(3).bytes(8 * int(np.prod(shape))), np.uint64)
    return Tensor(name, shape, values.reshape(shape), scale, share, parties)


def joined(encoded):
    headers, buffers = encoded
    body = b"".join(buffers)
    assert headers["Content-Length"] == str(len(body))
    return headers, body


def same(a, b):
    assert (a.name, a.shape, a.scale, a.share, a.parties) == (
        b.name, b.shape, b.scale, b.share, b.parties,
    )  # fmt: skip
    assert a.values.dtype == b.values.dtype == np.uint64
    np.testing.assert_array_equal(a.values, b.values)


def body_of(head, binary=b"", padding=0):
    text = json.dumps(head).encode() + b" " * padding
    return {HEAD_LENGTH: str(len(text))}, text + binary


def entry(name="x", shape=(2,), datatype="UINT64", **parameters):
    size = 8 * int(np.prod(shape))
    own = {"share": 0, "parties": 2, "scale": 1, "binary_data_size": size, **parameters}
    own = {key: value for key, value in own.items() if value is not None}
    return {"name": name, "shape": list(shape), "datatype": datatype, "parameters": own}


def request(*entries, **more):
    return {"id": QUERY.hex(), "inputs": list(entries), **more}


# ---- what both ends agree on -------------------------------------------------------------------


@given(
    st.lists(
        arrays.arrays(np.uint64, arrays.array_shapes(min_dims=0, max_dims=4, max_side=6)),
        max_size=5,
    ),
    st.integers(1, 2**63 - 1),
)
def test_round_trip(values, scale):
    sent = [Tensor(f"t{i}", v.shape, v, scale, 1, 2) for i, v in enumerate(values)]
    got = decode_request(*joined(encode_request(QUERY, sent, {"n": 3})), LIMITS)
    assert got.query == QUERY
    assert got.parameters == {"n": 3, "binary_data_output": True}
    for a, b in zip(got.tensors, sent, strict=True):
        same(a, b)
    back = decode_response(*joined(encode_response("m", "v", QUERY, sent)), LIMITS)
    assert (back.model, back.query) == ("m", QUERY)
    for a, b in zip(back.tensors, sent, strict=True):
        same(a, b)


def test_the_head_is_what_the_standard_says():
    headers, body = joined(encode_request(QUERY, [tensor()]))
    length = int(headers[HEAD_LENGTH])
    assert json.loads(body[:length]) == {
        "id": QUERY.hex(),
        "parameters": {"binary_data_output": True},
        "inputs": [
            {
                "name": "x",
                "shape": [2, 3],
                "datatype": "UINT64",
                "parameters": {
                    "share": 1, "parties": 3, "scale": 65536, "binary_data_size": 48,
                },
            }
        ],
    }  # fmt: skip
    assert body[length:] == tensor().values.astype("<u8").tobytes()


def test_bulk_is_copied_neither_when_encoded_nor_when_decoded():
    large = tensor(shape=(256, 256))
    assert large.values.nbytes > JOINED_BELOW
    headers, buffers = encode_request(QUERY, [large])
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), large.values)
    body = np.frombuffer(b"".join(buffers), np.uint8)
    (got,) = decode_request(headers, body.data, LIMITS).tensors
    assert np.shares_memory(got.values, body)


@pytest.mark.parametrize("padding", range(1, 8))
def test_words_that_are_not_aligned_are_copied(padding):
    sent = np.arange(2, dtype=np.uint64)
    head = request(entry())
    padding += -len(json.dumps(head)) % 8
    (got,) = decode_request(*body_of(head, sent.tobytes(), padding), LIMITS).tensors
    assert got.values.flags.aligned
    np.testing.assert_array_equal(got.values, sent)


def test_strided_values_are_sent_row_major():
    base = tensor(shape=(4, 6))
    turned = Tensor("x", (6, 4), base.values.T, 1, 0, 2)
    (got,) = decode_request(*joined(encode_request(QUERY, [turned])), LIMITS).tensors
    np.testing.assert_array_equal(got.values, base.values.T)


@pytest.mark.parametrize("content", [b"", b"abc", bytes(300_000)])
def test_attachments(content):
    encoded = encode_request(QUERY, [tensor()], None, {"program": content})
    got = decode_request(*joined(encoded), LIMITS, attachments=("program",))
    assert got.attachments == {"program": content}
    same(got.tensors[0], tensor())


def test_reprs_have_no_values():
    secret = Tensor("x", (1,), np.array([1234567890123], np.uint64), 1, 0, 2)
    got = decode_request(*joined(encode_request(QUERY, [secret])), LIMITS)
    assert "1234567890123" not in repr(secret) + repr(got)


def test_what_the_standard_has_besides_is_tolerated():
    head = request(
        entry(unknown="of another extension"),
        parameters={"priority": 3},
        outputs=[{"name": "y", "parameters": {"binary_data": True}}],
    )
    got = decode_request(*body_of(head, bytes(16)), LIMITS)
    assert got.parameters == {"priority": 3}


# ---- what is refused ---------------------------------------------------------------------------

BINARY = bytes(16)
REFUSED = {
    "two of a name": (request(entry(), entry()), bytes(32), UsageError, "'x' is there twice"),
    "no name": (request(entry("")), BINARY, UsageError, "1 to 20 characters"),
    "a long name": (request(entry("x" * 21)), BINARY, UsageError, "1 to 20 characters"),
    "another datatype": (request(entry(datatype="INT64")), BINARY, UsageError, "'x'.*UINT64"),
    "bytes": (request(entry(datatype="BYTES")), BINARY, UsageError, "'x'.*UINT64"),
    "too few words": (request(entry()), bytes(15), ShapeError, "'x' declares 16 bytes; .* 15"),
    "too many words": (request(entry()), bytes(17), ShapeError, "1 bytes behind the last"),
    "size and shape": (request(entry(shape=(3,), binary_data_size=16)), BINARY, ShapeError, "'x'"),
    "no size": (request(entry(binary_data_size=None)), BINARY, UsageError, "binary_data_size"),
    "size a float": (request(entry(binary_data_size=16.0)), BINARY, UsageError, "'x'"),
    "size true": (request(entry(binary_data_size=True)), BINARY, UsageError, "'x'"),
    "size below 0": (request(entry(binary_data_size=-16)), BINARY, UsageError, "'x'"),
    "size of 2^60": (request(entry(binary_data_size=2**60)), BINARY, ShapeError, "'x'"),
    "size of 2^70": (request(entry(binary_data_size=2**70)), BINARY, UsageError, "x|head"),
    "dimensions": (request(entry(shape=(2, 1, 1, 1, 1))), BINARY, ShapeError, "5 dimensions"),
    "a dimension of 0": (request(entry(shape=(2, 0))), b"", ShapeError, "'x' has a dimension"),
    "a negative one": (request(entry(shape=(-1, -2))), BINARY, ShapeError, "'x' has a dimension"),
    "too many elements": (
        request(entry(shape=(1 << 15, 4), binary_data_size=16)), BINARY, ShapeError, "elements",
    ),
    "an overflow of them": (
        request(entry(shape=(1 << 16,) * 4, binary_data_size=0)), b"", ShapeError, "elements",
    ),
    "tensors": (request(*[entry(f"t{i}") for i in range(6)]), b"", UsageError, "6 tensors"),
    "no share": (request(entry(share=None)), BINARY, UsageError, "'share'.*0 to 1"),
    "a share too many": (request(entry(share=2)), BINARY, UsageError, "'share'.*0 to 1"),
    "one party": (request(entry(parties=1)), BINARY, UsageError, "'parties'"),
    "no scale": (request(entry(scale=None)), BINARY, UsageError, "'scale'"),
    "a scale of 0": (request(entry(scale=0)), BINARY, UsageError, "'scale'"),
    "shares of two parties": (
        request(entry("a"), entry("b", share=1)), bytes(32), UsageError, "'b' is share 1 of 2",
    ),
    "data in JSON": (
        request({**entry(), "data": [1, 2]}), BINARY, UsageError, "'x' has its data in JSON",
    ),
    "an unknown field": (request({**entry(), "extra": 1}), BINARY, UsageError, "extra"),
    "one of the request": (request(entry(), extra=1), BINARY, UsageError, "extra"),
    "outputs as JSON": (
        request(entry(), outputs=[{"name": "y", "parameters": {"binary_data": False}}]),
        BINARY, UsageError, "'y'",
    ),
    "all outputs as JSON": (
        request(entry(), parameters={"binary_data_output": False}), BINARY, UsageError, "binary",
    ),
    "no inputs": ({"id": QUERY.hex()}, b"", UsageError, "inputs"),
    "not an object": ([], b"", UsageError, "JSON head"),
    "no id": ({"inputs": []}, b"", UsageError, "32 lower-case"),
    "a short id": ({"inputs": [], "id": "ab"}, b"", UsageError, "32 lower-case"),
    "an id in capitals": ({"inputs": [], "id": "AB" * 16}, b"", UsageError, "32 lower-case"),
}  # fmt: skip


@pytest.mark.parametrize(("head", "binary", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(head, binary, kind, message):
    with pytest.raises(kind, match=message):
        decode_request(*body_of(head, binary), LIMITS)


HEADERS = {
    "none": ({}, "missing"),
    "not a number": ({HEAD_LENGTH: "many"}, "not a number"),
    "negative": ({HEAD_LENGTH: "-1"}, "not a number"),
    "digits of other scripts": ({HEAD_LENGTH: "٣"}, "not a number"),
    "over the limit": ({HEAD_LENGTH: "5000"}, "at most 4096"),
    "more than there is": ({HEAD_LENGTH: "30"}, "of 30 bytes in a body of 10"),
    "endless": ({HEAD_LENGTH: "9" * 5000}, "not a number"),
}


@pytest.mark.parametrize(("headers", "message"), HEADERS.values(), ids=HEADERS)
def test_header_lengths_that_are_refused(headers, message):
    with pytest.raises(UsageError, match=message):
        decode_request(headers, bytes(10), LIMITS)


@pytest.mark.parametrize(
    "text", [b"[" * 4000, b'{"inputs":' * 300, b"\xff\xfe", b"", b'{"id":"\\ud800"}']
)
def test_heads_that_are_no_json(text):
    with pytest.raises(UsageError, match="JSON head"):
        decode_request({HEAD_LENGTH: str(len(text))}, text, LIMITS)


@pytest.mark.parametrize(
    "piece", [b"", b"\1\0\0", b"\2\0\0\0a", b"\0\0\0\0a", b"\xff\xff\xff\xffa"]
)
def test_attachments_of_another_size(piece):
    head = request(entry("program", (1,), "BYTES", binary_data_size=len(piece)))
    with pytest.raises(ShapeError, match="'program'"):
        decode_request(*body_of(head, piece), LIMITS, attachments=("program",))


def test_an_attachment_is_bytes_of_one_element():
    two = request(entry("program", (2,), "BYTES", binary_data_size=4))
    with pytest.raises(ShapeError, match=r"'program'.*\[1\]"):
        decode_request(*body_of(two, bytes(4)), LIMITS, attachments=("program",))
    words = request(entry("program", (1,), "INT8", binary_data_size=4))
    with pytest.raises(UsageError, match=r"'program'.*BYTES"):
        decode_request(*body_of(words, bytes(4)), LIMITS, attachments=("program",))


@given(st.data())
def test_any_cut_or_flipped_byte_is_an_error_of_ours_or_still_well_formed(data):
    headers, body = joined(encode_request(QUERY, [tensor("a"), tensor("b")]))
    changed = bytearray(body)
    at = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        with pytest.raises(TacitaError):
            decode_request(headers, changed[:at], LIMITS)
        return
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        got = decode_request(headers, changed, LIMITS)
    except TacitaError:
        return
    assert sum(each.values.size for each in got.tensors) == 12


WRONG_VALUES = {
    "of another type": np.zeros(2, np.int64),
    "of another shape": np.zeros((1, 2), np.uint64),
}


@pytest.mark.parametrize("values", WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_values_that_are_not_what_is_declared_are_not_sent(values):
    with pytest.raises(ShapeError, match="'x'"):
        encode_request(QUERY, [Tensor("x", (2,), values, 1, 0, 2)])


def test_an_id_of_another_length_is_not_sent():
    with pytest.raises(UsageError, match="16 bytes"):
        encode_request(b"short", [])
