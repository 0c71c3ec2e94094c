"""Where in the caller's code an operation runs, for errors that are found later, at the parties.

Read off the stack and off autograd's graph at the time of the operation, and only where somebody
asks, which checked mode does: a module's path, a step of an optimizer and its parameter, or the
backward pass of an operation and the parameter that is nearest to it.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch
from torch import optim

from tacita.torch.unsupported import module_path

MOST_NODES = 256  # of the graph, that are looked at for a parameter


def described(what: str) -> str:
    """`what`, with where it happens."""
    node: Any = torch._C._current_autograd_node()
    if node is not None:
        nearest = nearest_parameter(node)
        near = "" if nearest is None else f", next to parameter {nearest}"
        return f"backward pass ({node.name()}{near}): {what}"
    module = module_path()
    if module is not None:
        return f"module {module}: {what}"
    step = optimizer_step()
    return what if step is None or what.startswith("step of ") else f"{step}: {what}"


def nearest_parameter(node: Any) -> str | None:
    """What a module calls the parameter whose gradient is nearest behind a node of the graph."""
    waiting, seen = [node], {node}
    for each in waiting:
        # The node of a leaf, where its gradient is added up, has the leaf itself.
        called: str | None = getattr(getattr(each, "variable", None), "called", None)
        if called is not None:
            return called
        for after, _ in each.next_functions:
            if after is not None and after not in seen and len(waiting) < MOST_NODES:
                seen.add(after)
                waiting.append(after)
    return None


def optimizer_step() -> str | None:
    """The optimizer whose step is running, with the parameter where torch's code names that."""
    parameter: str | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if parameter is None:
            parameter = getattr(frame.f_locals.get("param"), "called", None)
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name == "step" and isinstance(owner, optim.Optimizer):
            which = "" if parameter is None else f", parameter {parameter}"
            return f"step of {type(owner).__name__}{which}"
        frame = frame.f_back
    return None
