"""A little of the fuzzing of programs and publications, with the smallest counterexample."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import fuzz_programs
from bench.fuzz_programs import KINDS, Run, subjects
from tacita.compiler import archive
from tacita.errors import ProgramError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 1 << 20), st.integers(0, 1 << 40))
def test_whatever_is_changed_is_refused_as_documented_or_right(folder, seed, number):
    Run(seed, folder).case(number)


def run_some(folder):
    run = Run(5, folder)
    for number in range(40):
        run.case(number)
    return run


def test_a_case_can_be_repeated(folder):
    first, second = run_some(folder), run_some(folder)
    assert first.outcomes == second.outcomes
    assert first.summary(1.0)["cases"] == 40


def test_every_kind_comes_up(folder):
    run = Run(6, folder)
    for number in range(300):
        run.case(number)
    assert {name for name, _ in run.outcomes} == {name for name, *_ in KINDS}


def test_what_it_begins_with_is_accepted():
    for subject in subjects():
        program = archive.decode(subject.program)
        fuzz_programs.run_plain(program)
        if not any(each.discloses for each in program.instructions):
            fuzz_programs.take_program(subject.program, None)


def test_what_is_not_as_documented_is_seen(folder, monkeypatch):
    """Validation that lets a wrong shape through, and one that fails in another way."""
    (subject, *_) = subjects()
    program = archive.decode(subject.program)
    wires = list(program.wires)
    wires[-1] = replace(wires[-1], shape=(7, 7))
    with monkeypatch.context() as patch:
        patch.setattr("tacita.compiler.validation.validate", lambda _: None)
        with pytest.raises((AssertionError, ValueError, KeyError)):
            fuzz_programs.run_plain(replace(program, wires=tuple(wires)))
    with pytest.raises(ProgramError):
        archive.encode(replace(program, wires=tuple(wires)))

    def broken(_):
        raise IndexError("list index out of range")

    monkeypatch.setattr("tacita.compiler.validation.validate", broken)
    with pytest.raises(IndexError, match="out of range"):
        run_some(folder)
