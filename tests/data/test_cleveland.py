"""The heart-disease table: what is read, and what is refused."""

import os
from pathlib import Path

import pytest
import torch

from tacita.data import heart
from tacita.data.cleveland import COLUMNS, FILE, parse_table, prepared
from tacita.errors import DataError

REAL = os.environ.get("TACITA_DATA")
needs_table = pytest.mark.skipif(
    not (REAL and (Path(REAL) / "heart" / FILE.name).is_file()),
    reason="TACITA_DATA names no folder with the heart-disease table",
)
LINE = "63,1,4,145,233,1,2,150,0,2.3,3,0,6,2"
OTHER = "41,0,2,130,204,0,2,172,0,1.4,1,1,3,0"


@needs_table
def test_the_published_table():
    data = heart()
    assert data.features.shape == (297, 18)
    assert data.ill.sum() == 137
    assert len(data.names) == 18
    quantities = data.features[:, :6]
    assert torch.allclose(quantities.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(quantities.std(0), torch.ones(6), atol=1e-5)
    assert set(data.features[:, 6:].unique().tolist()) == {0.0, 1.0}


def test_lines_with_a_missing_finding_are_left_out():
    table = parse_table(f"{LINE}\n{OTHER.replace('172', '?')}\n{OTHER}\n", "t")
    assert table.shape == (2, len(COLUMNS))


def test_kinds_become_columns():
    data = prepared(parse_table(f"{LINE}\n{OTHER}\n", "t"))
    column = dict(zip(data.names, data.features.T.tolist(), strict=True))
    assert column["cp=4"] == [1, 0]
    assert column["cp=2"] == [0, 1]
    assert column["thal=6"] == [1, 0]
    assert column["sex"] == [1, 0]
    assert data.ill.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LINE + ",1", "line 1 has 15 columns instead of 14"),
        (f"{LINE}\n1,2,3", "line 2 has 3 columns"),
        (LINE.replace("145", "high"), "line 1 has a cell that is no number"),
    ],
)
def test_a_broken_table_is_refused_by_line(text, why):
    with pytest.raises(DataError, match=why):
        parse_table(text, "table")


def test_a_folder_without_the_table_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TACITA_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"heart/processed\.cleveland\.data"):
        heart()
