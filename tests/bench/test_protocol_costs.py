"""The pictures of the declared costs show these costs."""

import pytest

from bench import protocol_costs
from bench.protocol_costs import ELEMENTS, PICTURES, comparison, delays, from_dealer, online
from tacita.protocols import fss


@pytest.fixture
def figures():
    drawn = {name: draw() for name, draw in PICTURES.items()}
    yield drawn
    for figure in drawn.values():
        protocol_costs.plt.close(figure)


def test_each_picture_has_the_three_ways_in_every_panel(figures):
    for figure in figures.values():
        for axes in figure.axes:
            assert [line.get_label() for line in axes.get_lines()] == ["tables", "fss", "snn"]


def test_a_point_function_publishes_a_correction_a_level_and_opens_a_bit():
    cost = comparison("fss", 32, ELEMENTS)
    levels = 31 - 7
    # And a key of the permutation for every piece.
    assert from_dealer(cost, ELEMENTS) == 16 * (levels + 1) + 16 / fss.PIECE
    assert online(cost, ELEMENTS) == 1 / 8
    assert delays(cost, ELEMENTS) == 1


def test_private_compare_sends_the_dealer_a_digit_more_than_it_deals_for():
    for bits, dealt, sent in ((32, 32, 32), (33, 32, 40)):
        cost = comparison("snn", bits, ELEMENTS)
        assert (from_dealer(cost, ELEMENTS), online(cost, ELEMENTS)) == (dealt, sent)
        assert delays(cost, ELEMENTS) == 2


def test_tables_take_fewer_rounds_for_few_elements_and_fewer_bytes_for_many():
    few, many = comparison("tables", 32, 256), comparison("tables", 32, ELEMENTS)
    assert (delays(few, 256), delays(many, ELEMENTS)) == (2, 3)
    assert from_dealer(few, 256) > from_dealer(many, ELEMENTS)


def test_the_lines_are_the_costs(figures):
    axes = figures["protocol-costs-width"].axes[0]
    (line,) = (line for line in axes.get_lines() if line.get_label() == "tables")
    shown = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert shown[64] == from_dealer(comparison("tables", 64, ELEMENTS), ELEMENTS)


def test_the_command_writes_both_pictures(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["protocol_costs", "--into", str(tmp_path)])
    protocol_costs.main()
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(PICTURES)
