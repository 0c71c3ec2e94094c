"""What a malformed instruction is put into, and how it has to be refused."""

import numpy as np
import pytest
from recorded import Hand

from tacita.compiler.validation import validate
from tacita.errors import ProgramError


class Setting(Hand):
    """x, y, flat and image are inputs, y and image masked; w and filters weights; c a constant."""

    def __init__(self):
        super().__init__()
        self.x, self.y, self.flat = self.input(2, 3), self.input(2, 3), self.input(6)
        self.image, self.empty = self.input(2, 4, 5, 5), self.input(0, 3)
        self.w, self.filters = self.weight(4, 3), self.weight(6, 2, 3, 3)
        self.c = self.constant(np.ones((2, 3)))
        self.mask(self.y, self.image)

    def result(self, kind, x, *fields, shape=(2, 3)):
        """Emits an instruction whose fields are `out, x, …`, with a wire for its result."""
        out = self.wire(*shape)
        self.emit(kind, out, x, *fields, place="layer.0")
        return out


def refused(attack, said):
    hand = Setting()
    attack(hand)
    with pytest.raises(ProgramError, match=said) as refusal:
        validate(hand.program(hand.x))
    if "printed" not in said:
        number = len(hand.recorder._instructions) - 1
        name = type(hand.recorder._instructions[number]).__name__
        assert str(refusal.value).startswith(f"instruction {number} ({name}, layer.0): ")
