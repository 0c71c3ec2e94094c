"""The pictures of the declared costs show these costs, and so do the pages that they stand in."""

import re
from itertools import zip_longest

import pytest

from bench import protocol_costs, protocol_pages
from bench.draw import FIGURES
from bench.protocol_costs import ELEMENTS, KINDS, delays, from_dealer, online, pictures
from bench.protocol_pages import PAGES, comparison
from bench.record import ROOT
from tacita.protocols import Ramps, ReLU, fss, sign, tables
from tacita.protocols.ways import WAYS, compared_by

TEXT = (ROOT / "docs" / "protocols.md").read_text()
N = 1000  # elements of the tables
MOST_BYTES = 60_000  # of a picture
ROW = re.compile(r"\| (?:.*, )?(tables|fss|snn)\b(.*) \|")
COLUMNS = ("rounds", "dealt_bytes", "published_bytes", "opened_bytes", "consulted_bytes")


@pytest.fixture(scope="module")
def figures():
    drawn = {name: draw() for name, draw in pictures().items()}
    yield drawn
    for figure in drawn.values():
        protocol_costs.plt.close(figure)


def line_of(axes, label):
    (line,) = (line for line in axes.get_lines() if line.get_label() == label)
    return dict(zip(line.get_xdata(), line.get_ydata(), strict=True))


# ---- the ways to compare, beside each other ----


@pytest.mark.parametrize("name", ["width", "batch"])
def test_each_picture_of_comparisons_has_the_three_ways_in_every_panel(figures, name):
    for axes in figures[f"protocol-costs-{name}"].axes:
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
    shown = line_of(figures["protocol-costs-width"].axes[0], "tables")
    assert shown[64] == from_dealer(comparison("tables", 64, ELEMENTS), ELEMENTS)


# ---- the pages ----


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_every_kind_of_byte_and_the_rounds_of_each_way(figures, name):
    page, figure = PAGES[name], figures[f"protocol-costs-{name}"]
    above, below = figure.axes[: len(page.sweeps)], figure.axes[len(page.sweeps) :]
    for axes, rounds, sweep in zip(above, below, page.sweeps, strict=True):
        for way in page.ways:
            costs = dict(zip(sweep.places, sweep.costs(way), strict=True))
            for kind in KINDS:
                sent = {
                    place: getattr(cost, f"{kind}_bytes") / elements
                    for place, (cost, elements) in costs.items()
                }
                label = f"{way or page.title}: {kind}"
                if any(sent.values()):
                    assert line_of(axes, label) == sent
                else:
                    assert label not in [line.get_label() for line in axes.get_lines()]
            shown = line_of(rounds, f"{way or page.title}: rounds")
            assert shown == {place: cost.rounds for place, (cost, _) in costs.items()}


def test_a_mask_goes_to_each_other_party(figures):
    axes = figures["protocol-costs-masking"].axes[0]
    assert line_of(axes, "Masking: opened") == {n: 8 * (n - 1) for n in range(2, 9)}


def test_a_longer_sum_deals_less_for_each_of_its_products(figures):
    axes = figures["protocol-costs-products"].axes[0]
    shown = line_of(axes, f"{PAGES['products'].title}: dealt")
    assert shown == {inner: 8 / inner for inner in protocol_pages.INNER}


# ---- the text ----


@pytest.mark.parametrize("name", pictures())
def test_each_picture_is_small_and_stands_in_its_page_with_words_for_who_cannot_see_it(name):
    assert (FIGURES / f"{name}.png").stat().st_size < MOST_BYTES
    assert len(re.findall(rf"!\[[^]]{{20,}}\]\(figures/{name}\.png\)", TEXT)) == 1


def sections():
    """The text under each heading."""
    parts = re.split(r"^#{2,3} (.*)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def ramps(bits):
    width = sign.Width(bits, 0, tables.shared_plan(bits - 1, N, 2))
    return Ramps(1, 0, (0, 1), (N,), width)


# Under a heading, the tables of costs: an instruction from bits, and the widths that are told.
COMPARED = {
    "Equality": [(lambda bits: protocol_pages.zero(bits, N), (32, 64))],
    "ReLU": [
        (lambda bits: protocol_pages.relu(bits, N), (32, 64)),
        (lambda bits: ReLU(1, 0, 1 << 16, (N,), sign.width(bits, N, drop=16)), (32, 62)),
    ],
    "Thresholds: staircases and ramps": [
        (lambda bits: protocol_pages.stairs(bits, N), (32, 64)),
        (ramps, (32, 64)),
    ],
    "Extremum and argmax": [(lambda bits: protocol_pages.extremum(bits, N), (32, 64))],
    "Ranks": [(lambda bits: protocol_pages.places_of(bits, 100), (32, 64))],
    "Checked mode": [(lambda _: protocol_pages.check(N), (64,))],
}


def numbers(cell):
    """Of a cell, without what is said of them: "5, of them 2 by the dealer" is 5. None is 0."""
    figures = cell.partition(", ")[0].strip()
    return [int(each.replace(",", "")) for each in figures.split(" · ")] if figures else [0]


@pytest.mark.parametrize("heading", COMPARED)
def test_the_tables_of_a_page_are_the_costs(heading):
    """A row for each way, with a number for each of the widths, or one for all of them."""
    rows = [found for line in sections()[heading].splitlines() if (found := ROW.fullmatch(line))]
    told = [(way, *each) for each in COMPARED[heading] for way in WAYS]
    for row, (way, instruction, widths) in zip(rows, told, strict=True):
        assert row[1] == way
        cells = row[2].split("|")[1:]
        costs = [compared_by(instruction(bits), way).cost() for bits in widths]
        for name, cell in zip_longest(COLUMNS, cells, fillvalue=""):
            said = numbers(cell)
            declared = [getattr(cost, name) for cost in costs]
            assert said == declared or said * len(widths) == declared, (way, name)


PARTS = (
    r"\*Computes\*",
    r"\*Messages\*|^\| from \| to \||^sequenceDiagram",
    r"\*Why it is safe",
    r"\*Cost\*",
    r"\*Error\*",
    r"\*Source\*",
)


@pytest.mark.parametrize("heading", [each for each in sections() if "Before" not in each])
def test_every_page_has_all_its_parts(heading):
    text = sections()[heading]
    missing = [part for part in PARTS if not re.search(part, text, re.MULTILINE)]
    assert missing == []
