"""The Cleveland heart-disease data: 303 patients, 13 findings each, and whether they are ill.

A table of numbers with commas between them; `?` stands where a finding is missing. The last column
is 0 for a healthy heart and 1 to 4 for a narrowed artery.

Source: Detrano et al., "International application of a new probability algorithm for the diagnosis
of coronary artery disease" (1989); Janosi, Steinbrunn, Pfisterer, Detrano, UCI Machine Learning
Repository (1988), CC BY 4.0, doi 10.24432/C52P4X.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tacita.data.download import Downloader
from tacita.data.files import PublicFile, read_verified
from tacita.data.lookup import lookup
from tacita.errors import DataError

FOLDER = "heart"
FILE = PublicFile(
    "processed.cleveland.data",
    18_461,
    "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
)
MIRRORS = ("https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/",)

NUMBERS = ("age", "trestbps", "chol", "thalach", "oldpeak", "ca")
"""Findings that are quantities."""
KINDS = {"cp": (1, 2, 3, 4), "restecg": (0, 1, 2), "slope": (1, 2, 3), "thal": (3, 6, 7)}
"""Findings that are one of several kinds: a column for each but the first."""
BITS = ("sex", "fbs", "exang")
"""Findings that are yes or no."""
COLUMNS = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak",
    "slope", "ca", "thal", "num",
)  # fmt: skip


@dataclass(frozen=True)
class HeartData:
    """Patients as a model takes them.

    features: float32 [n, 18]; quantities have mean 0 and standard deviation 1 over all patients.
    names: of the columns, such as "age" or "cp=4".
    ill: float32 [n], 1 for a narrowed artery.
    """

    features: Tensor
    names: tuple[str, ...]
    ill: Tensor


def heart(*, download: bool = True, downloader: Downloader | None = None) -> HeartData:
    """The 297 of the 303 patients of whom every finding is there, in their published order.

    The file is taken from ``heart/`` in the folder that TACITA_DATA names, from the user's cache,
    or from its public home over HTTPS (18 kB). Its SHA-256 is checked every time.

    Raises:
        OfflineError: neither the folder nor the cache has it, and its home is not reached.
        DataError: TACITA_DATA names a folder without it; it is cut or altered.
    """
    path = lookup(FILE, FOLDER, MIRRORS, download=download, downloader=downloader)
    return prepared(parse_table(read_verified(path, FILE).decode("ascii"), str(path)))


def parse_table(text: str, name: str) -> Tensor:
    """The numbers, float32 [n, 14], of the lines in which none is missing.

    Raises:
        DataError: a line has another number of columns, or something that is no number.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split(",")
        if len(cells) != len(COLUMNS):
            raise DataError(
                f"{name}: line {number} has {len(cells)} columns instead of {len(COLUMNS)}"
            )
        if "?" in cells:
            continue
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            raise DataError(f"{name}: line {number} has a cell that is no number") from None
    return torch.tensor(rows)


def prepared(table: Tensor) -> HeartData:
    """Quantities standardised, kinds as columns of 0 and 1."""
    column = {name: table[:, i] for i, name in enumerate(COLUMNS)}
    out: dict[str, Tensor] = {}
    for name in NUMBERS:
        out[name] = (column[name] - column[name].mean()) / column[name].std()
    for name in BITS:
        out[name] = column[name]
    for name, kinds in KINDS.items():
        for kind in kinds[1:]:
            out[f"{name}={kind}"] = (column[name] == kind).float()
    return HeartData(
        torch.stack(list(out.values()), dim=1), tuple(out), (column["num"] > 0).float()
    )
