"""What a stream begins with, where it is not what it should be."""

import msgspec
import pytest

from tacita.errors import FrameError
from tacita.runtime.transport import Message
from tacita.service.conversations import Query, query_of

QUERY = Query(
    session=b"s" * 16, model=b"m" * 16, digest=b"d" * 32, fingerprint="ab", batch=b"b" * 16
)


def test_a_query_is_read_as_it_was_written():
    assert query_of(Message("begin", msgspec.msgpack.encode(QUERY))) == QUERY


@pytest.mark.parametrize("change", [(b"ab", b"\x80\x80"), (b"s" * 16, b"s" * 15 + b"\xc1")])
def test_bytes_that_are_no_text_or_no_query_are_a_frame_error(change):
    encoded = msgspec.msgpack.encode(QUERY).replace(*change)
    if change[0] == b"ab":
        with pytest.raises(FrameError, match="cannot be read"):
            query_of(Message("begin", encoded))
    with pytest.raises(FrameError, match="cannot be read"):
        query_of(Message("begin", encoded[:-1]))
