"""Reports as people see them: the table that print shows, and the bars of the chart."""

import pytest
from test_prediction import predict

import tacita
from tacita.compiler.chart import columns_of, draw
from tacita.compiler.costs import by_place
from tacita.compiler.report import Report

mpl = pytest.importorskip("matplotlib")


def report_of(program, *, timed):
    prediction = predict(program, parties=3) if timed else None
    return Report.of(program, by_place(program), 3, prediction)


@pytest.mark.parametrize("timed", [True, False])
def test_a_printed_report_is_a_table(program, timed):
    report = report_of(program, timed=timed)
    lines = str(report).splitlines()
    assert "3 parties and a dealer" in lines[0]
    assert lines[1].split()[0] == "layer"
    for number, layer in enumerate(report.layers, start=2):
        assert lines[number].startswith(layer.place)
    rows = [line for line in lines if line.startswith("total")]
    assert rows[0].split()[1] == str(report.cost.rounds)
    assert any(line.startswith("(no module: start and end)") for line in lines) == timed
    assert ("Predicted" in str(report)) == timed
    assert len(repr(report)) < 150


def test_what_is_printed_is_plain_text(program):
    assert "\x1b" not in str(report_of(program, timed=True))


@pytest.mark.parametrize("timed", [True, False])
def test_every_bar_has_a_label_in_a_unit_of_its_own(program, timed):
    for column in columns_of(report_of(program, timed=timed)):
        for value, label in zip(column.values, column.labels, strict=True):
            assert (label != "") == (value >= (1e-6 if column.title.startswith("Time") else 1))
            assert not label.startswith("0 ")


def test_the_chart_says_what_it_is_of(program, tmp_path):
    report = report_of(program, timed=True)
    path = tmp_path / "chart.svg"
    with mpl.rc_context({"svg.fonttype": "none"}):  # letters as letters, not as outlines
        draw(report, path, title="a network of mine")
    assert "a network of mine: one private run" in path.read_text()


def test_the_types_that_users_meet_are_in_the_root():
    for name in ("Cost", "Explanation", "Program", "Report"):
        assert name in tacita.__all__
        assert isinstance(getattr(tacita, name), type)
