"""Public masks of minus infinity: scores that a softmax is to leave out.

Fixed point has no infinity. A position that a public mask hides gets HIDDEN, far below any score
that precision is for, and the wire remembers which positions are shown, so that a softmax that
meets it leaves the others out exactly.
"""

from __future__ import annotations

import torch

from tacita.program.builder import Handle
from tacita.torch.lowering.lowering import Lowering

HIDDEN = -8192.0
SHOWN = "shown"  # in `derived`: public flags of the positions that are not hidden


def finite(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The mask with HIDDEN for minus infinity, and the flags of the others where there are any."""
    if not mask.is_floating_point():
        return mask, None
    hides = mask == -torch.inf
    if not bool(hides.any()):
        return mask, None
    return mask.masked_fill(hides, HIDDEN), ~hides


def hide(low: Lowering, x: Handle, shown: torch.Tensor | None) -> Handle:
    """The wire, which remembers what is shown of it: flags to be broadcast to it."""
    if shown is not None:
        low.derived(x)[SHOWN] = shown.expand(x.wire.shape)
    return x


def shown_of(low: Lowering, x: Handle) -> torch.Tensor | None:
    """What `hide` was given for this very wire."""
    flags: torch.Tensor | None = low.derived(x).get(SHOWN)
    return flags
