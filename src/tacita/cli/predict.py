"""`tacita predict`: a client's query."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import complaining
from tacita.cli.inputs import arrays_from
from tacita.client.client import Client
from tacita.errors import DataError, ShapeError
from tacita.torch.whole.progress import shown


def predict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model, as `tacita models`.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="INPUT…", help="The inputs: .npy, .npz or images.")
    ],
    to: To = HERE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npy", help="Keep the result; .npz for several outputs."),
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Print the number of the largest score of each row.")
    ] = False,
) -> None:
    """Run a published model on inputs that nobody else sees.

    A .npy file holds one input, the rows in its first dimension; any number of rows. A .npz file
    holds all inputs of a model by name. Images are rows of one input: grey or RGB as the model
    takes them, values from 0 to 1, and never resized. What else a model expects of its inputs, such
    as a mean to be subtracted, is to be done beforehand.

    Inputs are split here, and each party gets a share that says nothing by itself. The parties see
    who asks for which model, when, and how many queries.
    """
    with complaining():
        with Client(to) as client:
            inputs = arrays_from(files, client.model(name).inputs)
            with shown() as progress:
                found = client.predict(name, *inputs, progress=progress)
        results = (found,) if isinstance(found, torch.Tensor) else found
        arrays = [each.numpy() for each in results]
        if out is not None:
            _write(out, arrays)
        text = [_classes(each) for each in arrays] if classes else [str(each) for each in arrays]
    for each in text if out is None or classes else [f"written to {out}"]:
        typer.echo(each)


def _classes(scores: np.ndarray) -> str:
    if scores.ndim != 2:
        raise ShapeError(f"--classes takes scores in rows, and the result has shape {scores.shape}")
    return "\n".join(str(each) for each in scores.argmax(1))


def _write(path: Path, arrays: list[np.ndarray]) -> None:
    try:
        with path.open("wb") as file:
            if len(arrays) == 1:
                np.save(file, arrays[0])
            else:
                np.savez(file, *arrays)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from None
