"""Archives: one form for a program, and nothing else gets in."""

import hashlib
import struct
import tracemalloc
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded import Hand, every_instruction, network
from variants import program_variants

from tacita.compiler import archive
from tacita.compiler.archive import decode, digest, encode, load, save
from tacita.errors import ProgramError
from tacita.program.program import Literal
from tacita.protocols import Reshape, Reveal

HEAD = struct.Struct("<8sIQ")


def sealed(body, magic=archive.MAGIC, version=1, length=None):
    """An archive of any body, with a digest that fits: what an attacker can make."""
    framed = HEAD.pack(magic, version, len(body) if length is None else length) + body
    return framed + hashlib.sha256(framed).digest()


def body_of(data):
    return data[HEAD.size : -32]


@pytest.fixture(scope="module")
def data():
    return encode(every_instruction())


# ---- one form ----------------------------------------------------------------------------------


def test_there_and_back(program):
    data = encode(program)
    again = decode(data)
    assert again == program
    assert encode(again) == data


def test_the_frame_is_as_documented(data):
    assert data == sealed(body_of(data))


def test_the_digest_ends_the_archive(program):
    data = encode(program)
    assert digest(program) == data[-32:] == hashlib.sha256(data[:-32]).digest()


def test_equal_programs_have_equal_digests():
    assert digest(network()) == digest(network())


def test_other_programs_have_other_digests(every):
    changed = [
        replace(every, places=("elsewhere", *every.places[1:])),
        replace(every, outputs=every.outputs[::-1]),
        replace(every, base=10),
        replace(every, wires=(replace(every.wires[0], bound=7), *every.wires[1:])),
        replace(every, wires=(replace(every.wires[0], bit=True), *every.wires[1:])),
        replace(every, constants=(Literal(2, bytes(64)), *every.constants[1:])),
        replace(every, constants=every.constants[::-1]),
    ]
    for variant in program_variants(every):
        try:
            digest(variant)
        except ProgramError:
            continue
        changed.append(variant)
    digests = {digest(each) for each in [every, *changed]}
    assert len(digests) == len(set(map(hash_of, [every, *changed])))


def hash_of(program):
    """Programs themselves, without their archive, as something that can be told apart."""
    return tuple(getattr(program, name) for name in program.__slots__)


def test_places_are_named_once():
    hand = Hand()
    wire = hand.input(2)
    for _ in range(100):
        wire, source = hand.wire(2), wire
        hand.emit(Reshape, wire, source, (2,), place="a.module.with.a.long.name")
    assert encode(hand.program(wire)).count(b"a.module.with.a.long.name") == 1


def test_the_largest_numbers_there_may_be():
    hand = Hand()
    wire = hand.wire(2, scale=(1 << 63) - 1, bound=(1 << 63) - 1)
    hand.emit(Reshape, wire, hand.input(2), (2,))
    program = hand.program(wire)
    assert decode(encode(program)) == program


def test_a_program_of_nothing():
    program = Hand().program()
    assert decode(encode(program)) == program


def test_a_malformed_program_is_not_written(every):
    with pytest.raises(ProgramError, match="wire 0 has the number"):
        encode(replace(every, wires=every.wires[1:]))


# ---- files -------------------------------------------------------------------------------------


def test_files(tmp_path, program):
    path = tmp_path / "model.tacita"
    save(program, path)
    assert path.read_bytes() == encode(program)
    assert load(path) == load(str(path)) == program


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "cut"), (b"PK\x03\x04" + bytes(99), "no archive"), (archive.MAGIC, "is cut")],
)
def test_other_files_are_named(tmp_path, content, said):
    path = tmp_path / "model.tacita"
    path.write_bytes(content)
    with pytest.raises(ProgramError, match=said) as refusal:
        load(path)
    assert str(refusal.value).startswith(f"{path}: ")


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ProgramError, match="cannot be read") as refusal:
            load(path)
        assert str(path) in str(refusal.value)


def test_files_that_are_too_large_are_not_read(tmp_path):
    path = tmp_path / "model.tacita"
    with path.open("wb") as file:
        file.truncate(archive.LARGEST + 1)  # a hole: it takes no room
    tracemalloc.start()
    try:
        with pytest.raises(ProgramError, match="the most are"):
            load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


# ---- cut, altered, of another version ----------------------------------------------------------


def test_an_archive_that_is_cut_anywhere(data):
    for length in range(len(data)):
        with pytest.raises(ProgramError, match="cut"):
            decode(data[:length])


def test_an_archive_that_goes_on(data):
    with pytest.raises(ProgramError, match="longer than it says"):
        decode(data + b"\0")


def test_any_altered_byte_is_found(data):
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 0x40
        with pytest.raises(ProgramError):
            decode(bytes(altered))


def test_an_altered_body_is_told_from_a_malformed_one(data):
    altered = bytearray(data)
    altered[len(data) // 2] ^= 1
    with pytest.raises(ProgramError, match="has been altered"):
        decode(bytes(altered))


@pytest.mark.parametrize("version", [0, 2, 1 << 31])
def test_other_versions(data, version):
    with pytest.raises(ProgramError, match=f"version {version}, and this release reads version 1"):
        decode(sealed(body_of(data), version=version))


def test_something_else(data):
    with pytest.raises(ProgramError, match="no archive of a program"):
        decode(sealed(body_of(data), magic=b"\x89PNG\r\n\x1a\n"))


@pytest.mark.parametrize("length", [0, 1, (1 << 64) - 1])
def test_a_length_that_is_not_true(data, length):
    with pytest.raises(ProgramError, match="the archive is"):
        decode(sealed(body_of(data), length=length))


def test_an_archive_that_is_too_large(data, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", len(data))
    decode(data)
    monkeypatch.setattr(archive, "LARGEST", len(data) - 1)
    with pytest.raises(ProgramError, match="the most are"):
        decode(data)
    with pytest.raises(ProgramError, match="the most are"):
        encode(every_instruction())


# ---- bodies that an attacker has sealed --------------------------------------------------------


def plain_body(data):
    """The body as msgpack has it: lists, maps, numbers and bytes."""
    return msgspec.msgpack.decode(body_of(data))


def refused(body, said):
    with pytest.raises(ProgramError, match=said):
        decode(sealed(body))


def test_the_same_in_another_way_is_refused(data):
    parts = plain_body(data)
    again = msgspec.msgpack.encode(parts)
    assert again == body_of(data)
    instructions = parts[-1]
    instructions[0] = dict(reversed(instructions[0].items()))
    refused(msgspec.msgpack.encode(parts), "the one form")


def test_a_number_in_more_bytes_than_it_takes_is_refused(data):
    body = body_of(data)
    assert body[1:2] == b"\x02"  # the base
    refused(body[:1] + b"\xcc\x02" + body[2:], "the one form")


def test_more_than_there_is_to_say_is_refused(data):
    parts = plain_body(data)
    parts[-1][0]["comment"] = "unknown to all"
    refused(msgspec.msgpack.encode(parts), "the one form")
    refused(msgspec.msgpack.encode([*plain_body(data), 1]), "the one form")


def test_places_in_another_order_or_for_nothing_are_refused(data):
    parts = plain_body(data)
    parts[7] = parts[7][::-1]
    parts[8] = [len(parts[7]) - 1 - number for number in parts[8]]
    refused(msgspec.msgpack.encode(parts), "the one form")
    parts = plain_body(data)
    parts[7].append("nowhere")
    refused(msgspec.msgpack.encode(parts), "the one form")


@pytest.mark.parametrize("number", [-1, 99])
def test_an_unknown_place_is_refused(data, number):
    parts = plain_body(data)
    parts[8][0] = number
    refused(msgspec.msgpack.encode(parts), "comes from no known place")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, "2"),
        (0, True),
        (0, 2.0),
        (2, {}),
        (2, [[[2, 3], 1, None]]),
        (2, [[[1] * 9, 1, None, False]]),
        (3, [["x"]]),
        (5, [[2, "text"]]),
        (9, [{"type": "os.system"}]),
        (9, [{"type": "Reshape"}]),
        (9, [{"out": 1, "x": 0, "shape": [2, 3]}]),
        (9, [{"type": "Reshape", "out": 1, "x": 0, "shape": [2, 3.5]}]),
        (9, [[1, 2, 3]]),
    ],
)
def test_other_types_are_refused(data, field, value):
    parts = plain_body(data)
    parts[field] = value
    refused(msgspec.msgpack.encode(parts), "malformed")


def test_a_width_that_contradicts_itself_is_refused(data):
    parts = plain_body(data)
    (check,) = (each for each in parts[-1] if each["type"] == "WithinBound")
    check["width"]["bits"] = 60
    refused(msgspec.msgpack.encode(parts), "malformed")


def test_what_only_sessions_send_is_refused(data):
    parts = plain_body(data)
    parts[8].append(0)
    parts[-1].append(msgspec.to_builtins(Reveal(0)))
    refused(msgspec.msgpack.encode(parts), "a Reveal cannot stand in a program")


def test_numbers_beyond_64_bits_signed_are_refused(data):
    parts = plain_body(data)
    parts[2][0][1] = (1 << 64) - 1
    refused(msgspec.msgpack.encode(parts), "cannot have the scale")


BODIES = {
    "nothing": (b"", "ends early"),
    "a list that ends early": (b"\x9a\x01", "ends early"),
    "a text that ends early": (b"\x91\xda\xff\xffx", "ends early|too many or too few"),
    "two bodies": (b"\x01\x01", "too many"),
    "a tag of no meaning": (b"\x91\xc1", "nothing known"),
    "an extension": (b"\x91\xd4\x01\x01", "nothing known"),
    "a text that is none": (b"\x9a" + b"\xa1\xff" * 10, "malformed"),
    "an endless list": (b"\xdd\xff\xff\xff\xff" + b"\x01" * 9, "ends early"),
    "an endless map": (b"\xdf\xff\xff\xff\xff" + b"\x01" * 9, "ends early"),
    "endless bytes": (b"\x91\xc6\xff\xff\xff\xff", "too many or too few"),
    "lists without end": (b"\x91" * 100_000, "nested deeper"),
    "maps without end": (b"\x81\x01" * 100_000, "nested deeper"),
}


@pytest.mark.parametrize("name", BODIES, ids=BODIES)
def test_bodies_of_anything(name):
    body, said = BODIES[name]
    archived = sealed(body)
    tracemalloc.start()
    try:
        with pytest.raises(ProgramError, match=said):
            decode(archived)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The frame and the body are copied once each.
    assert peak < 4 * len(archived) + (1 << 16)


def test_more_items_than_there_may_be(data, monkeypatch):
    monkeypatch.setattr(archive, "MOST_ITEMS", 100)
    refused(body_of(data), "more than 100 items")


def test_nesting_that_instructions_take_is_let_through(data, monkeypatch):
    def depth(value):
        parts = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, parts), default=0) if isinstance(value, list | dict) else 0

    monkeypatch.setattr(archive, "DEEPEST", 1 + depth(plain_body(data)))
    decode(data)
    monkeypatch.setattr(archive, "DEEPEST", depth(plain_body(data)))
    refused(body_of(data), "nested deeper")


# ---- at random ---------------------------------------------------------------------------------

ARCHIVES = (encode(every_instruction()), encode(network()))
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 255), st.sampled_from(["set", "insert", "delete"])),
    min_size=1,
    max_size=4,
)
unhurried = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def edited(data, changes):
    edited = bytearray(data)
    for where, byte, how in changes:
        at = min(int(where * len(edited)), len(edited) - 1)
        if how == "set":
            edited[at] = byte
        elif how == "insert":
            edited.insert(at, byte)
        else:
            del edited[at]
    return bytes(edited)


@unhurried
@given(st.sampled_from(ARCHIVES), edits)
def test_a_changed_archive_is_refused_or_the_same(original, changes):
    changed = edited(original, changes)
    try:
        decode(changed)
    except ProgramError:
        assert changed != original
    else:
        assert changed == original


@unhurried
@given(st.sampled_from(ARCHIVES), edits)
def test_a_changed_body_is_refused_or_a_program_with_that_very_form(original, changes):
    changed = sealed(edited(body_of(original), changes))
    try:
        program = decode(changed)
    except ProgramError:
        assert changed != original
    else:
        assert encode(program) == changed


@unhurried
@given(st.binary(max_size=300))
def test_bodies_at_random_are_refused(body):
    with pytest.raises(ProgramError):
        decode(sealed(body))
