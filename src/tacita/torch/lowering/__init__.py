"""Lowering: what a tensor operation becomes in instructions.

Functions take a `Lowering` (where instructions go, and the precision), handles of private wires,
and public tensors or numbers; they return handles. Nothing here knows a tensor class: eager
tensors and exported programs use the same functions.
"""

from tacita.torch.lowering.lowering import Lowering

__all__ = ["Lowering"]
