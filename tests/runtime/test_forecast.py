"""Forecasts: that everything can be rehearsed, that what was timed is kept, and is not trusted.

No test here looks at how long anything takes, but for that it takes some time.
"""

import json
from dataclasses import astuple
from itertools import count
from math import isfinite

import pytest

from tacita.compiler.prediction import LOCAL, WAN, Overheads, Work
from tacita.compiler.recorder import Recorder
from tacita.errors import UsageError
from tacita.program.schedule import cost_of
from tacita.protocols import Convolution, Product, ReLU
from tacita.protocols.relu import relu_width
from tacita.ring.fixed_point import Precision
from tacita.runtime import forecast as forecast_module
from tacita.runtime.calibration import measured_overheads
from tacita.runtime.forecast import forecast
from tacita.runtime.rehearsal import fingerprints, rehearsed
from tacita.runtime.timings import Timings
from tacita.torch.lowering import extrema, matrices, selection
from tacita.torch.lowering.lowering import Lowering

OVERHEADS = Overheads(*(1e-4 * count for count in range(1, 12)))


def network(batch=4, checked=False):
    """Two equal layers and one of another shape, a class, and what checked mode adds."""
    recorder, precision = Recorder(checked=checked), Precision(2, 16)
    low, one = Lowering(recorder, precision), precision.scale
    x = recorder.input("x", (batch, 6), one, 16 * one)
    weights = [recorder.weight(str(i), (6, 6), one, one) for i in range(2)]
    last = recorder.weight("last", (3, 6), one, one)
    for weight in weights:
        x = selection.relu(low, matrices.linear(low, x, weight))
    scores = matrices.linear(low, x, last)
    return recorder.program([("output", extrema.argmax(low, scores, 1))], precision)


@pytest.fixture(scope="module", params=[False, True], ids=["", "checked"])
def program(request):
    return network(checked=request.param)


@pytest.fixture
def quick(monkeypatch):
    """Overheads that are given, not measured."""
    monkeypatch.setattr(forecast_module, "measured_overheads", lambda _: OVERHEADS)


@pytest.mark.parametrize("parties", [2, 3])
def test_every_instruction_gets_a_time(program, parties):
    works = rehearsed(program, parties)
    assert len(works) == len(program.instructions)
    for work in works:
        assert all(isfinite(time) and time >= 0 for time in astuple(work))
    dealt = [each.cost().dealt_bytes > 0 for each in program.instructions]
    assert all(work.deal > 0 for work, some in zip(works, dealt, strict=True) if some)
    assert all(work.online > 0 and work.online_beside > 0 for work in works)


def test_equal_layers_have_equal_fingerprints():
    program = network()
    marks = fingerprints(program, 2)
    by_kind = {
        kind: [m for m, i in zip(marks, program.instructions, strict=True) if isinstance(i, kind)]
        for kind in (Product, ReLU)
    }
    first, second, last = by_kind[Product]
    assert first == second != last
    assert len(set(by_kind[ReLU])) == 2  # the second layer's values may be larger
    assert set(marks).isdisjoint(fingerprints(program, 3))
    other = fingerprints(network(batch=5), 2)
    assert len(other) == len(marks)
    assert not set(by_kind[Product]) & set(other)


def convolution(**changes):
    recorder = Recorder()
    x = recorder.input("x", (1, 2, 6, 6), 1, None)
    w = recorder.weight("w", (4, 2, 3, 3), 1, None)
    fields = {
        "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "shape": (1, 4, 6, 6),
        **changes,
    }  # fmt: skip
    out = recorder.new_wire(fields["shape"])
    recorder.emit(Convolution(out=out.id, x=x.wire.id, w=w.wire.id, **fields))
    return recorder.program([], Precision(2, 0))


def test_public_fields_tell_fingerprints_apart():
    variants = [
        {},
        {"stride": (2, 1)},
        {"stride": (1, 2)},
        {"padding": (2, 0)},
        {"dilation": (2, 1)},
        {"groups": 2},
    ]
    marks = [fingerprints(convolution(**each), 2)[0] for each in variants]
    assert len(set(marks)) == len(variants)


def test_a_comparison_s_width_tells_fingerprints_apart():
    def compared(bound):
        recorder = Recorder()
        x = recorder.input("x", (9,), 1, bound)
        out = recorder.new_wire((9,))
        width = relu_width(bound, 9, 1)
        recorder.emit(ReLU(out=out.id, x=x.wire.id, divisor=1, shape=(9,), width=width))
        return fingerprints(recorder.program([], Precision(2, 0)), 2)

    assert compared(7) != compared(2**40)


def test_a_report_adds_up(quick, tmp_path):
    program = network()
    report = forecast(program, WAN, cache=tmp_path)
    assert report.cost == cost_of(program.instructions)
    assert report.prediction is not None
    assert report.prediction.link is WAN
    assert report.prediction.machine.overheads == OVERHEADS
    total = report.as_dict()["total"]
    assert total["seconds"]["online"] == pytest.approx(report.prediction.total.online)
    assert total["rounds"] == sum(layer["rounds"] for layer in report.as_dict()["layers"])
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()


def test_without_times_nothing_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(forecast_module, "measured", None)
    report = forecast(network(), timed=False, cache=tmp_path)
    assert report.prediction is None
    assert "seconds" not in report.as_dict()["total"]
    assert report.assumptions() == ""


def test_one_party_is_refused(quick, tmp_path):
    for timed in (True, False):
        with pytest.raises(UsageError, match="2 parties or more"):
            forecast(network(), parties=1, timed=timed, cache=tmp_path)


def test_progress_reaches_its_end(quick, tmp_path):
    seen = {}
    forecast(
        network(), cache=tmp_path, progress=lambda what, done, of: seen.update({what: (done, of)})
    )
    assert len(seen) == 2
    assert all(done == of for done, of in seen.values())


# ---- what is kept ------------------------------------------------------------------------------


def cache_of(folder):
    (path,) = folder.glob("*.json")
    return path


def test_what_was_timed_is_kept(quick, tmp_path, monkeypatch):
    program = network()
    first = forecast(program, cache=tmp_path)

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("tacita.runtime.rehearsal.Rehearsal.timed", refuse)
    monkeypatch.setattr(forecast_module, "measured_overheads", refuse)
    assert forecast(program, cache=tmp_path).prediction == first.prediction
    with pytest.raises(AssertionError, match="again"):
        forecast(program, cache=tmp_path, remeasure=True)
    with pytest.raises(AssertionError, match="again"):
        forecast(network(batch=5), cache=tmp_path)


def test_times_for_another_number_of_parties_are_not_taken(quick, tmp_path):
    forecast(network(), cache=tmp_path)
    before = len(json.loads(cache_of(tmp_path).read_text())["works"])
    forecast(network(), parties=3, cache=tmp_path)
    assert len(json.loads(cache_of(tmp_path).read_text())["works"]) == 2 * before


def damaged_ways():
    def edit(change):
        def damage(path):
            record = json.loads(path.read_text())
            change(record)
            path.write_text(json.dumps(record))

        return damage

    def first_work(record):
        return next(iter(record["works"].values()))

    return {
        "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
        "empty": lambda path: path.write_bytes(b""),
        "not text": lambda path: path.write_bytes(b"\xff\x00" * 40),
        "another build": edit(lambda record: record.update(build="another")),
        "a negative time": edit(lambda record: first_work(record).update(deal=-1.0)),
        "an endless time": edit(lambda record: first_work(record).update(online=1e300)),
        "a text for a time": edit(lambda record: first_work(record).update(prepare="0")),
        "an unknown field": edit(lambda record: record.update(more=1)),
        "no overheads": edit(lambda record: record.pop("overheads")),
    }


@pytest.mark.parametrize("damage", damaged_ways().values(), ids=damaged_ways())
def test_a_damaged_file_is_measured_anew(quick, tmp_path, damage):
    timings = Timings(tmp_path)
    timings.overheads, timings.works["mark"] = OVERHEADS, Work(1.0, 2.0, 3.0, 4.0, 5.0)
    timings.save()
    again = Timings(tmp_path)
    again.load()
    assert (again.overheads, again.works) == (OVERHEADS, {"mark": Work(1.0, 2.0, 3.0, 4.0, 5.0)})
    damage(cache_of(tmp_path))
    anew = Timings(tmp_path)
    anew.load()
    assert anew.overheads is None
    assert anew.works == {}


def test_a_folder_that_cannot_be_written_is_no_error(quick, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    report = forecast(network(), LOCAL, cache=blocked)
    assert report.prediction is not None
    assert list(tmp_path.iterdir()) == [blocked]


def test_overheads_are_measured():
    overheads = measured_overheads(2)
    assert all(isfinite(time) and time >= 0 for time in astuple(overheads))
    assert overheads.live_run + overheads.live_round > 0
    assert overheads.online_run + overheads.online_round > 0
    assert overheads.deal_run + overheads.deal_step > 0
    assert overheads.live_stretch >= 1
    assert overheads.online_stretch >= 1


def test_an_error_in_a_rehearsal_keeps_nobody_waiting(monkeypatch):
    """All parties of a rehearsal wait for each other; the one that fails says so."""

    failed = count()

    def fail(self, instruction, number, prepared):
        if next(failed) == 0:
            raise MemoryError("none left")

    monkeypatch.setattr("tacita.runtime.understudy.Understudy._evaluate", fail)
    monkeypatch.setattr("tacita.runtime.rehearsal.Rehearsal._alone", lambda *_: None)
    with pytest.raises(MemoryError, match="none left"):
        rehearsed(network(), 2)
