"""In-place forms: a tensor object becomes another tensor, for all who hold it."""

from __future__ import annotations

from typing import Any

import torch

from tacita.errors import UsageError
from tacita.torch.aliases import require_unaliased


def replaced_by(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Gives the object `tensor` the identity of `other`; returns it.

    Raises UsageError where something in torch holds on to the tensor: a view, or an autograd graph.
    """
    aliases: Any = getattr(tensor, "_aliases", None)
    if aliases is not None:
        require_unaliased(tensor, "an in-place conversion")
    try:
        torch.utils.swap_tensors(tensor, other)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UsageError(
            f"the tensor cannot be converted in place, since something else holds it ({error}); "
            "use the form without the underscore"
        ) from None
    return tensor
