"""`tacita cost`: what it prints, what it draws, and how it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tacita import zoo
from tacita.cli.model import shape
from tacita.compiler.costs import by_place
from tacita.compiler.report import Report
from tacita.errors import ShapeError
from tacita.torch.whole.model import export

MAKE = ("cli_networks:make", "--input", "2x2x6x6")
PNG = b"\x89PNG\r\n\x1a\n"


def as_json(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refusal(result):
    """The one line that a refused command leaves on stderr."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_table_shows_layers_totals_and_assumptions(run):
    result = run("cost", *MAKE)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "cli_networks:make" in lines[0]
    assert "2×2×6×6" in lines[0]
    assert "rounds" in lines[1]
    first = [line.split()[0] for line in lines[2:] if line.strip()]
    for place in ("0", "1", "3", "total"):
        assert place in first
    assert "Predicted:" in result.stdout
    assert "rests on: all roles in one process" in " ".join(result.stdout.split())
    assert "--samples" in result.stdout


def test_long_names_stay_on_one_line_in_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("cost", "resnet20", "--no-time").stdout.splitlines()
    top = next(number for number, line in enumerate(lines) if line.startswith("layer "))
    example = torch.rand(1, *zoo.input_shape("resnet20"))
    layers = by_place(export(zoo.network("resnet20").eval(), example).program)
    shown = [line.split()[0] for line in lines[top + 1 : top + 1 + len(layers)]]
    assert shown == [layer.place for layer in layers]


def test_json_has_the_numbers_of_the_program(run):
    told = as_json(run("cost", *MAKE, "--json", "--parties", "3"))
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 4)
    )
    model = export(module.eval(), torch.rand(2, 2, 6, 6))
    assert told["total"]["rounds"] == model.cost.rounds
    assert told["total"]["online_bytes"] == model.cost.online_bytes(3)
    assert told["total"]["dealt_bytes"] == model.cost.dealt_bytes
    assert told["parties"] == 3
    assert told["inputs"] == {model.program.inputs[0].name: [2, 2, 6, 6]}
    layers = {layer["place"]: layer for layer in told["layers"]}
    assert set(layers) == {layer.place for layer in by_place(model.program)}
    assert layers["0"]["multiply_adds"] == 2 * 3 * 4 * 4 * 2 * 9
    for unit in ("online", "live", "dealing", "preparing"):
        whole = told["prediction"]["fixed_seconds"][unit]
        whole += sum(layer["seconds"][unit] for layer in told["layers"])
        assert told["total"]["seconds"][unit] == pytest.approx(whole)


def test_the_network_is_as_it_was_asked_for(run):
    told = as_json(run("cost", *MAKE, "--json", "--network", "20ms,8Mbit/s", "--ahead"))
    assert told["prediction"]["rtt_seconds"] == pytest.approx(0.02)
    assert told["prediction"]["bandwidth_bytes_per_second"] == pytest.approx(1e6)
    least = told["total"]["rounds"] * 0.01 + told["total"]["online_bytes"] / 1e6
    assert told["total"]["seconds"]["online"] > least


def test_no_time_is_predicted_where_none_is_asked_for(run):
    told = as_json(run("cost", *MAKE, "--json", "--no-time"))
    assert told["prediction"] is None
    assert "seconds" not in told["total"]
    assert "Predicted" not in run("cost", *MAKE, "--no-time").stdout


def test_a_network_of_the_zoo_needs_no_shape(run):
    told = as_json(run("cost", "mlp", "--json", "--no-time"))
    assert told["total"]["multiply_adds"] == 397_000
    batch = as_json(run("cost", "mlp", "--input", "3x784", "--json", "--no-time"))
    assert batch["total"]["multiply_adds"] == 3 * 397_000


def test_a_module_costs_the_same_however_it_is_named(run, here):
    made = as_json(run("cost", *MAKE, "--json", "--no-time"))
    ready = as_json(run("cost", "cli_networks:ready", *MAKE[1:], "--json", "--no-time"))
    sys.path.insert(0, str(here))
    try:
        import cli_networks
    finally:
        sys.path.remove(str(here))
    exported = torch.export.export(cli_networks.make(), (torch.rand(2, 2, 6, 6),))
    torch.export.save(exported, here / "net.pt2")
    archived = as_json(run("cost", "net.pt2", *MAKE[1:], "--json", "--no-time"))
    assert made["layers"] == ready["layers"]
    for each in ("rounds", "online_bytes", "dealt_bytes", "multiply_adds", "comparisons"):
        assert archived["total"][each] == made["total"][each]


def test_an_archive_has_its_shapes(run, here):
    module = torch.nn.Linear(3, 2).eval()
    torch.export.save(torch.export.export(module, (torch.rand(4, 3),)), here / "fixed.pt2")
    rows = ({0: torch.export.Dim("rows", min=1, max=64)},)
    exported = torch.export.export(module, (torch.rand(4, 3),), dynamic_shapes=rows)
    torch.export.save(exported, here / "open.pt2")

    def multiply_adds(*arguments):
        return as_json(run("cost", *arguments, "--json", "--no-time"))["total"]["multiply_adds"]

    assert multiply_adds("fixed.pt2") == multiply_adds("open.pt2") == 4 * 6
    assert multiply_adds("open.pt2", "--input", "5x3") == 5 * 6
    other = refusal(run("cost", "fixed.pt2", "--input", "5x3"))
    assert "exported for 4 rows, not 5x3: --input 4x3, or export it with a dynamic batch" in other
    assert "an input of Nx3, not 4x7" in refusal(run("cost", "open.pt2", "--input", "4x7"))
    assert "takes 1 inputs" in refusal(run("cost", "fixed.pt2", "--input", "4x3", "--input", "4x3"))


def test_samples_make_comparisons_cheaper(run, here):
    np.save(here / "samples.npy", np.random.default_rng(0).random((5, 2, 6, 6), np.float32))
    whole = as_json(run("cost", *MAKE, "--json", "--no-time"))
    bounded = as_json(run("cost", *MAKE, "--json", "--no-time", "--samples", "samples.npy"))
    assert bounded["total"]["dealt_bytes"] < whole["total"]["dealt_bytes"]
    assert bounded["total"]["comparisons"] == whole["total"]["comparisons"]


def test_inputs_are_given_one_by_one(run):
    shapes = ("--input", "2x3", "--input", "2x3")
    told = as_json(run("cost", "cli_networks:two", *shapes, "--json", "--no-time"))
    assert list(told["inputs"].values()) == [[2, 3], [2, 3]]


def test_the_precision_is_as_it_was_asked_for(run):
    told = as_json(run("cost", *MAKE, "--json", "--no-time", "--precision", "10^3"))
    assert told["precision"] == "10^3"


# ---- ways to compare ---------------------------------------------------------------------------

WIDE = ("--network", "wan")


def test_each_way_to_compare_can_be_asked_for(run):
    told = {
        way: as_json(run("cost", *MAKE, "--json", "--no-time", "--protocol", way))
        for way in ("tables", "fss", "snn")
    }
    plain = as_json(run("cost", *MAKE, "--json", "--no-time"))
    assert told["tables"] == plain
    totals = {way: each["total"] for way, each in told.items()}
    assert totals["fss"]["rounds"] < totals["tables"]["rounds"]
    assert totals["fss"]["published_bytes"] > 0 == totals["tables"]["published_bytes"]
    assert totals["snn"]["consultations"] == 1
    assert totals["snn"]["consulted_bytes"] > 0 < totals["snn"]["answered_bytes"]
    assert totals["snn"]["online_bytes"] > totals["snn"]["opened_bytes"]


def test_ways_stand_side_by_side_with_what_is_picked(run):
    result = run("cost", *MAKE, *WIDE, "--protocol", "auto")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    for way in ("tables", "fss", "snn"):
        assert any(line.startswith(f"{way} for all ") for line in lines)
    assert any(line.startswith("planned ") for line in lines)
    (picked,) = [line for line in lines if line.startswith("Picked: ")]
    assert "the fastest live" in " ".join(result.stdout.split())
    assert any(way in picked for way in ("tables", "fss", "snn"))


def test_a_plan_ahead_leaves_out_what_consults_the_dealer(run):
    told = as_json(run("cost", *MAKE, *WIDE, "--protocol", "auto", "--ahead", "--json"))
    plan = told["plan"]
    assert plan["ahead"]
    assert set(plan["singly"]) == {"tables", "fss"}
    assert "dealt ahead" in plan["left_out"]["snn"]
    best = min(each["seconds"]["online"] for each in plan["singly"].values())
    assert plan["planned"]["seconds"]["online"] <= best
    assert told["total"]["rounds"] == plan["planned"]["rounds"]
    (choice,) = plan["choices"]
    assert choice["kind"] == "ReLU"
    assert choice["comparisons"] == told["total"]["comparisons"]


def test_three_parties_compare_by_tables(run):
    told = as_json(run("cost", *MAKE, "--protocol", "auto", "--parties", "3", "--json"))
    assert told["plan"]["planned"]["ways"] == ["tables"]
    assert "two parties, not 3" in told["plan"]["left_out"]["fss"]


# ---- the picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [(), ("--no-time",)], ids=["with times", "without"])
def test_a_chart_is_a_picture(run, here, timed):
    result = run("cost", *MAKE, "--chart", "chart.png", *timed)
    assert result.exit_code == 0, result.stderr
    data = (here / "chart.png").read_bytes()
    assert data.startswith(PNG)
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert width > height > 100


def test_a_chart_may_be_a_drawing(run, here):
    assert run("cost", *MAKE, "--chart", "chart.svg", "--no-time").exit_code == 0
    assert b"<svg" in (here / "chart.svg").read_bytes()[:1000]


def test_a_chart_names_the_model(run, monkeypatch):
    drawn = []
    monkeypatch.setattr(Report, "draw", lambda _, path, title: drawn.append((path.name, title)))
    assert run("cost", *MAKE, "--chart", "chart.svg", "--no-time").exit_code == 0
    assert drawn == [("chart.svg", "cli_networks:make")]


def test_a_chart_of_another_kind_is_refused(run, here):
    line = refusal(run("cost", *MAKE, "--chart", "chart.bmp"))
    assert ".png, .svg, .pdf" in line
    assert not list(here.glob("chart*"))


def test_a_chart_that_cannot_be_written_is_an_error(run):
    assert "nowhere" in refusal(run("cost", *MAKE, "--no-time", "--chart", "nowhere/chart.png"))


def test_a_missing_library_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    line = refusal(run("cost", *MAKE, "--no-time", "--chart", "chart.png"))
    assert "tacita[charts]" in line


# ---- refusals ----------------------------------------------------------------------------------

REFUSED = {
    "unknown model": (["vgg"], "no model 'vgg'"),
    "no such file": (["net.pt2", "--input", "1x2"], "no file net.pt2"),
    "no such package": (["no_such_package:net", "--input", "1x2"], "cannot import"),
    "no such attribute": (["cli_networks:net", "--input", "1x2"], "no attribute 'net'"),
    "no module": (["cli_networks:number", "--input", "1x2"], "is no torch.nn.Module"),
    "a maker that fails": (["cli_networks:failing", "--input", "1x2"], "no such luck"),
    "training": (["cli_networks:training", *MAKE[1:]], "call module.eval()"),
    "no shape": (["cli_networks:make"], "--input 1x3x32x32"),
    "a shape that does not fit": (["cli_networks:make", "--input", "2x3x6x6"], "have 2 channels"),
    "a malformed shape": (["mlp", "--input", "2xx784"], "no shape"),
    "a shape of nothing": (["mlp", "--input", "0x784"], "1 or more"),
    "a huge shape": (["mlp", "--input", "9999999999x784"], "not huge"),
    "a branch on values": (["cli_networks:branching", "--input", "2x3"], "Control flow"),
    "an unknown operation": (["cli_networks:unsupported", "--input", "2x3"], "without a protocol"),
    "an unknown network": ([*MAKE, "--network", "moon"], "no network 'moon'"),
    "a precision that is none": ([*MAKE, "--precision", "16"], "no precision"),
    "a precision that is too fine": ([*MAKE, "--precision", "2^99"], "digits"),
    "an unknown protocol": ([*MAKE, "--protocol", "mpc"], "no protocol 'mpc'"),
    "fss for three": ([*MAKE, "--protocol", "fss", "--parties", "3"], "two parties, not 3"),
    "ahead of nothing": ([*MAKE, "--ahead", "--no-time"], "--no-time"),
    "a plan without times": ([*MAKE, "--protocol", "auto", "--no-time"], "--no-time"),
    "one party": ([*MAKE, "--parties", "1", "--no-time"], "2 parties or more"),
    "no samples": ([*MAKE, "--samples", "no.npy"], "no file no.npy"),
    "samples for other inputs": ([*MAKE, "--samples", "a.npy", "--samples", "b.npy"], "2 times"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_take_is_refused_in_plain_words(run, arguments, said):
    line = refusal(run("cost", *arguments))
    assert line.startswith("tacita: ")
    assert said in line


def test_pickles_are_not_read(run, here):
    np.save(here / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "allow_pickle" in refusal(run("cost", *MAKE, "--samples", "objects.npy"))
    torch.save(torch.nn.Linear(2, 2), here / "net.pt2")
    assert "no archive" in refusal(run("cost", "net.pt2", "--input", "1x2"))


def test_samples_of_another_shape_are_refused(run, here):
    np.save(here / "samples.npy", np.zeros((5, 3, 6, 6), np.float32))
    assert "(5, 3, 6, 6)" in refusal(run("cost", *MAKE, "--samples", "samples.npy"))


def test_what_typer_refuses_has_the_same_exit_code(run):
    assert run("cost", "--no-such-option").exit_code == 2
    assert run("cost").exit_code == 2


def test_the_path_of_imports_is_left_as_it_was(run):
    before = list(sys.path)
    run("cost", *MAKE, "--no-time")
    run("cost", "cli_networks:net", "--input", "1")
    assert sys.path == before


@pytest.mark.parametrize("text", ["1x3x32x32", "1×3×32×32", "1,3,32,32"])
def test_shapes_may_be_written_in_several_ways(text):
    assert shape(text) == (1, 3, 32, 32)


@pytest.mark.parametrize("text", ["", "x", "1x", "1.5x2", "-1x2", "1x٣"])
def test_other_shapes_are_refused(text):
    with pytest.raises(ShapeError, match="no shape"):
        shape(text)


# ---- the other command -------------------------------------------------------------------------


def test_networks_lists_the_zoo(run):
    result = run("networks")
    assert result.exit_code == 0
    for name in ("mlp", "lenet", "resnet20", "resnet50"):
        assert name in result.stdout
    assert "397,510" in result.stdout


def test_help_warns_of_what_is_loaded(run):
    text = " ".join(run("cost", "--help").stdout.split())
    assert "only name what you trust" in text
    assert "Pickled modules are not taken" in text


def test_help_says_what_bounds_rest_on(run):
    text = " ".join(run("cost", "--help").stdout.split())
    assert "weights of the zoo's networks are random" in text
    assert "|none" not in text


def test_the_package_can_be_run(here):
    """`python -m tacita` is the command, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tacita", "networks"], capture_output=True, text=True, check=True
    )
    assert "resnet20" in done.stdout
