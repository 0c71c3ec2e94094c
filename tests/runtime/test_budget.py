"""What a session may take at a role is counted from shapes, and what views keep counts on."""

import numpy as np
import pytest

from tacita.compiler.validation import DEEPEST_VIEW
from tacita.errors import ProgramError, Refused
from tacita.protocols import (
    Combine,
    Constant,
    Expand,
    Forget,
    Input,
    MaskWires,
    NonNegative,
    Pad,
    Product,
    Reshape,
    Reveal,
    Slice,
    Take,
    sign,
)
from tacita.runtime.budget import (
    BYTES_A_WIRE,
    BYTES_AN_ELEMENT,
    BYTES_OF_A_LOAN,
    DECODED,
    Budget,
)
from tacita.runtime.store import Held, Store


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def budget(wires=100, elements=1000, **options):
    """Room for so many elements in so many wires."""
    size = BYTES_A_WIRE * wires + BYTES_AN_ELEMENT * elements
    options = {"seconds": 10.0, "program_size": 1 << 20, **options}
    return Budget(wires=wires, size=size, **options)


def filled(count, elements=10):
    """With one input of so many elements, wire 0, and no room but for the rest of them."""
    found = budget(wires=count, elements=elements)
    found.admit(Input(0, (elements,)))
    return found


def test_wires_are_counted_and_forgotten():
    session = budget(wires=3)
    for wire in range(3):
        session.admit(Input(wire, (1,)))
    with pytest.raises(Refused, match="may hold 3 wires"):
        session.admit(Constant(3, (1,)))
    session.forget(1)
    session.admit(Input(3, (1,)))
    with pytest.raises(Refused, match="may hold 3 wires"):
        session.admit(Combine(4, ((0, 1), (3, 1)), (1,)))


def test_elements_are_counted_before_anything_is_made_of_them():
    for instruction in (
        Input(1, (11,)),
        Expand(1, 0, (1 << 20, 10)),
        Combine(1, ((0, 1),), (1 << 40, 10)),
        Take(1, 0, 0, (0,) * 11),
        Pad(1, 0, (1 << 50,), (0,), (0,)),
        Reshape(1, 0, (10, 1)),
    ):
        with pytest.raises(Refused, match="delete tensors"):
            filled(2).admit(instruction)


def test_results_of_protocols_count_by_their_shapes():
    session = budget(wires=3, elements=40)
    session.admit(Input(0, (2, 10)))
    session.admit(MaskWires((0,), ((2, 10),)))
    session.admit(NonNegative(1, 0, (2, 10), sign.width(64, 20)))
    with pytest.raises(Refused):
        session.admit(Product(2, 0, 1, False, (2, 10)))


def test_what_could_not_be_carried_out_is_refused():
    session = budget()
    session.admit(Input(0, (2, 3)))
    for instruction in (
        Product(1, 0, 0, True, (2, 2)),
        Reshape(1, 0, (7,)),
        Slice(1, 0, 0, 0, 3, 1),
        Input(1, (-1,)),
        Input(1, (1,) * 33),
        Reshape(1, 0, ((1 << 62) + 1,) * 1_000_000),
    ):
        with pytest.raises(ProgramError):
            session.admit(instruction)


def test_what_a_view_shows_counts_until_its_last_view_is_forgotten():
    session = budget(wires=4, elements=102)
    session.admit(Input(0, (100,)))
    session.admit(Slice(1, 0, 0, 0, 1, 1))
    session.admit(Slice(2, 1, 0, 0, 1, 1))
    session.forget(0)
    session.forget(1)
    with pytest.raises(Refused):
        session.admit(Input(3, (100,)))
    session.forget(2)
    session.admit(Input(3, (100,)))


def test_a_number_that_is_written_again_holds_on_to_what_it_shows_now():
    session = budget(wires=3, elements=120)
    session.admit(Input(0, (100,)))
    session.admit(Input(1, (1,)))
    session.admit(Slice(1, 0, 0, 0, 1, 1))  # the same number, the same shape
    session.forget(0)
    with pytest.raises(Refused):
        session.admit(Input(0, (100,)))
    session.admit(Input(1, (1,)))
    session.admit(Input(0, (100,)))


def test_what_writes_what_it_reads_is_refused():
    session = budget()
    session.admit(Input(0, (2,)))
    for instruction in (
        Reshape(0, 0, (2,)),
        Combine(0, ((0, 1),), (2,)),
        Reshape(5, 5, (2,)),  # of what is not known, as at a dealer
    ):
        with pytest.raises(ProgramError, match="writes a wire that it reads"):
            session.admit(instruction)


def test_numbers_that_go_round_in_circles_show_what_was_there():
    """A dealer learns shapes late. Which wire a view shows is decided when it is made."""
    dealer = budget(wires=4, elements=100)
    dealer.admit(Reshape(1, 0, (2, 5)))
    dealer.admit(Reshape(0, 1, (5, 2)))
    dealer.admit(Reshape(1, 0, (10,)))
    with pytest.raises(Refused, match="may hold 4 wires"):  # what is shown is still there
        dealer.admit(Reshape(2, 1, (10,)))
    dealer.admit(MaskWires((1,), ((10,),)))
    dealer.forget(1)
    dealer.forget(0)
    dealer.admit(Input(0, (100,)))


@pytest.mark.parametrize("known", [True, False])
def test_views_of_views_have_an_end(known):
    session = budget(wires=DEEPEST_VIEW + 2, elements=1000)
    if known:
        session.admit(Input(0, (1,)))
    for wire in range(1, DEEPEST_VIEW + 1):
        session.admit(Reshape(wire, wire - 1, (1,)))
        session.forget(wire - 1)
    with pytest.raises(ProgramError, match=f"more than {DEEPEST_VIEW} others"):
        session.admit(Reshape(DEEPEST_VIEW + 1, DEEPEST_VIEW, (1,)))
    session.admit(Combine(DEEPEST_VIEW + 1, ((DEEPEST_VIEW, 1),), (1,)))
    session.forget(DEEPEST_VIEW)
    session.forget(DEEPEST_VIEW + 1)
    for wire in range(DEEPEST_VIEW + 2):
        session.admit(Input(wire, (1,)))


def test_the_indices_of_a_view_count_where_it_has_no_elements():
    session = budget(wires=2)
    session.admit(Input(0, (1, 0)))
    with pytest.raises(Refused, match="delete tensors"):
        session.admit(Take(1, 0, 0, (0,) * 1000))


def test_a_mask_is_as_large_as_its_wire():
    session = budget(wires=3, elements=20)
    session.admit(Input(0, (4,)))
    with pytest.raises(ProgramError, match="masked with the shape"):
        session.admit(MaskWires((0,), ((5,),)))
    dealer = budget(wires=3, elements=20)
    dealer.admit(MaskWires((0,), ((4,),)))
    dealer.admit(Reshape(1, 0, (2, 2)))
    dealer.admit(MaskWires((0,), ((4,),)))
    for wires, masks in (
        ((0,), ((4, 1),)),
        ((0,), ((1 << 40,),)),
        ((1,), ((4,),)),
        ((2, 2), ((1,), (1 << 40,))),
        ((0,), ((4,), (1 << 40,))),
        ((0, 2), ((4,),)),
    ):
        with pytest.raises(ProgramError, match="masked with"):
            dealer.admit(MaskWires(wires, masks))


def test_room_is_asked_for_before_wires_come_about():
    session = budget(wires=2, elements=10)
    session.require_room([(10,), (0,)], 0)
    session.require_room([(10,), (0,)], 0)  # it counts nothing
    for tensors, loans in (([(11,), ()], 0), ([(0,)] * 3, 0), ([(10,), (0,)], 1)):
        with pytest.raises(Refused):
            session.require_room(tensors, loans)


def test_the_dealer_counts_what_masks_tell_it_of():
    """It is not told of inputs, nor of what is computed without it."""
    dealer = budget(wires=4, elements=30)
    dealer.admit(Pad(1, 0, (9,), (9,), (0,)))  # of what it does not know
    dealer.admit(Combine(8, ((5, 1),), (1 << 30,)))
    dealer.admit(MaskWires((0,), ((4,),)))
    dealer.admit(NonNegative(2, 0, (4,), sign.width(64, 4)))
    with pytest.raises(Refused, match="delete tensors"):  # 22 elements, once somebody needs them
        dealer.admit(NonNegative(3, 1, (22,), sign.width(64, 22)))


def test_views_of_the_unknown_are_counted_as_well():
    """And what they show, as at the parties."""
    dealer = budget(wires=5)
    for wire in range(1, 5):
        dealer.admit(Reshape(wire, 0, (1,)))
    with pytest.raises(Refused, match="may hold 5 wires"):
        dealer.admit(Reshape(6, 0, (1,)))


def test_reveals_and_forgetting_cost_nothing():
    session = filled(1)
    session.admit(Reveal(0))
    session.admit(Forget())


def test_what_came_about_otherwise_is_counted_by_the_store():
    session = budget(wires=2, elements=20)
    store = Store("alice", first=True, budget=session)
    session.admit(Input(0, (10,)))
    store.hold(0, Held(np.zeros(10, np.uint64)))  # counted already
    store.hold(1, Held(np.zeros(10, np.uint64)))  # lent, or the result of a run
    with pytest.raises(Refused):
        store.hold(2, Held(np.zeros(1, np.uint64)))
    store.forget(1)
    store.hold(2, Held(np.zeros(1, np.uint64)))


def test_loans_that_wires_remember_count():
    session = budget(wires=1, elements=0)
    session.admit(Input(0, (0,)))
    with pytest.raises(Refused):
        session.lent(0, 1)
    roomy = budget(wires=1, elements=BYTES_OF_A_LOAN)  # 24 loans
    roomy.admit(Input(0, (0,)))
    roomy.lent(0, BYTES_AN_ELEMENT)
    with pytest.raises(Refused):
        roomy.lent(0, 1)


def test_programs_count_until_they_are_gone():
    room = (BYTES_A_WIRE + BYTES_AN_ELEMENT * DECODED) // DECODED
    session = budget(wires=1, elements=DECODED, program_size=room)
    with pytest.raises(Refused, match=f"a program may have {room} bytes"):
        session.deploy(1, room + 1)
    session.deploy(1, room)
    with pytest.raises(Refused, match="delete tensors"):
        session.deploy(2, 1)
    session.undeploy(1)
    session.undeploy(1)
    session.deploy(2, 20)


def test_time():
    clock = Clock()
    session = budget(clock=clock, seconds=10.0)
    session.admit(Input(0, (1,)))
    clock.now += 9
    assert session.seconds_left() == 1.0
    clock.now += 1
    with pytest.raises(Refused, match="may last 10 s"):
        session.seconds_left()
    with pytest.raises(Refused, match="may last 10 s"):
        session.admit(Reveal(0))
