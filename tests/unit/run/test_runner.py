"""What becomes of findings on their way to the outcome of a cell: the worst draw counts, and nothing is lost."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cachetools
import numpy as np
import pytest

from conformance.adapters.implementation import AxisLimit
from conformance.adapters.protocol import Array
from conformance.adapters.registry import Implementation, select
from conformance.checks import references
from conformance.checks.cell import Cell, has_cell
from conformance.checks.expectations import Expected
from conformance.checks.judgement import findings_of
from conformance.checks.references import forget_questions, question
from conformance.run import runner as module
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Transcript
from conformance.table.case import Case, Expect, Layer
from tests.support.faulty_adapters import Exact
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.records import cell_record

CASE = Case(input_shape=(3,), layers=(Layer(units=2),), lane="exact")
EXACT = select(["tests.support.faulty_adapters:Exact"])[0]
CELL = Cell(case=CASE, implementation=EXACT, device="cpu")


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_the_worst_of_several_draws_is_the_outcome(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter(["violates" if each == bad else "conforms" for each in range(3)])
    monkeypatch.setattr(Runner, "_judged_record", lambda *_: cell_record({"outcome": next(outcomes)}))
    runner = Runner(draws=3, processes=ProcessOptions(in_process=True))
    assert runner.run(CELL).outcome == "violates"
    runner.close()


class _Signalling(Honest):
    """Outputs in which each NaN is a signalling one, as kernels of MLX return them in float16."""

    def output(self, y: Array) -> Array:
        y = np.array(y)
        bits = y.view(f"uint{8 * y.dtype.itemsize}")
        bits[np.isnan(y)] = np.array(np.inf, y.dtype).view(bits.dtype) + 1
        return y


def signalling_nan() -> NumPyAdapter:
    return NumPyAdapter(_Signalling())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_signalling_nan_is_a_nan_and_no_error_of_the_suite(dtype: str) -> None:
    case = Case(input_shape=(16,), layers=(Layer(units=8),), batch=8, dtype=dtype, lane="special")
    case = replace(case, expect=Expect(nonfinite=True))
    (implementation,) = select([f"{__name__}:signalling_nan"])
    runner = Runner(processes=ProcessOptions(in_process=True))
    assert runner.run(Cell(case=case, implementation=implementation, device="cpu")).outcome == "conforms"
    runner.close()


@pytest.mark.parametrize("caches", [True, False])
def test_a_question_is_cached_for_the_next_implementation_where_there_is_one(caches: bool) -> None:
    forget_questions()
    runner = Runner(caches_questions=caches, processes=ProcessOptions(in_process=True))
    assert runner.run(CELL).outcome == "conforms"
    runner.close()
    assert len(question.cache) == caches


def test_steps_that_a_row_does_not_need_are_not_computed() -> None:
    wide = replace(CASE, input_shape=(4, 3))
    everything = {each.label for each in question(wide, "cpu").steps}
    apart = {each for each in everything if "position" in each or "alone" in each}
    related = {"output, zero input", "output, signs of x", "build split", "output, axes split", "output, strided"}
    assert apart
    assert related < everything
    few = {each.label for each in question(replace(wide, checks=("output", "axes_merged")), "cpu").steps}
    assert few.isdisjoint(apart)
    assert related & few == {"build split", "output, axes split"}
    assert {each.label for each in question(replace(wide, checks=("positions_independent",)), "cpu").steps} > apart


def test_questions_are_cached_for_the_next_implementation_as_long_as_there_is_room() -> None:
    kept = cachetools.LRUCache[Any, Any](30_000, getsizeof=references._CACHE.getsizeof)
    asked = cachetools.cached(kept)(question.__wrapped__)
    cases = [replace(CASE, batch=batch) for batch in (2, 3, 4)]
    first, *_ = (asked(each, "cpu") for each in cases)
    assert asked(cases[2], "cpu") is asked(cases[2], "cpu")
    assert asked(cases[0], "cpu") is not first
    many = replace(CASE, batch=4096)
    assert asked(many, "cpu") is not asked(many, "cpu"), "it is larger than all the room there is"
    assert 20_000 < kept.currsize <= 30_000


def test_the_output_of_a_row_is_checked_against_the_reference() -> None:
    asked = question(CASE, "cpu")
    replies = {each.label: each for each in perform(Exact(), asked.steps)}
    assert asked.main is not None
    right = asked.main.y.exact
    for expected, outcome in ((right, "conforms"), (np.asarray(right + 1.0), "violates")):
        own = replace(asked, row_output=expected)
        findings = findings_of(CELL, own, Transcript(replies=replies), Expected(CASE, own))
        assert next(each.outcome for each in findings if each.check == "output") == outcome


def test_one_name_of_a_row_is_enough_and_shapes_only_runs_shape_rows() -> None:
    row = replace(CASE, implementations=("keras-*", "tests.*"))
    assert has_cell(row, EXACT)
    assert not has_cell(replace(CASE, implementations=("keras-*",)), EXACT)
    shapes = replace(EXACT, shapes_only=True)
    assert not has_cell(row, shapes)
    assert has_cell(replace(row, lane="shapes"), shapes)


def test_a_case_beyond_a_limit_of_the_registry_is_unsupported_and_no_process_is_started() -> None:
    limit = AxisLimit(longest=3, reason="it unrolls its time steps")
    unknown = Implementation(name="x", adapter="no.such.module:Adapter", packages=(), second_axis=limit)
    runner = Runner()
    record = runner.run(Cell(case=replace(CASE, input_shape=(4, 3)), implementation=unknown, device="cpu"))
    runner.close()
    assert (record.outcome, record.checks) == ("unsupported", [])
    assert record.reason == "axis 1 of the input has length 4, the longest that is run has 3: it unrolls its time steps"
    assert runner.hellos == {}


@pytest.mark.parametrize(
    ("case", "beyond"),
    [
        (replace(CASE, input_shape=(4, 3)), True),
        (replace(CASE, input_shape=(3, 4)), False),
        (replace(CASE, input_shape=(4,)), True),
        (replace(CASE, input_shape=(4,), batch=None), False),
        (replace(CASE, input_shape=(3, 3), batch=(2, 4)), True),
        (replace(CASE, input_shape=(4, 3), lane="shapes"), False),
    ],
)
def test_a_limit_applies_to_the_second_axis_of_the_input(case: Case, beyond: bool) -> None:
    limited = replace(EXACT, second_axis=AxisLimit(longest=3, reason="why"))
    assert (Cell(case=case, implementation=limited, device="cpu").unsupported is not None) is beyond
    assert Cell(case=case, implementation=EXACT, device="cpu").unsupported is None


@pytest.mark.parametrize(
    ("outcome", "raised"),
    [
        ("conforms", None),
        ("violates", pytest.fail.Exception),
        ("crashed", pytest.fail.Exception),
        ("timed_out", pytest.fail.Exception),
        ("diverges", pytest.xfail.Exception),
        ("unsupported", pytest.skip.Exception),
        ("not_run", pytest.skip.Exception),
    ],
)
def test_only_a_conforming_cell_passes(outcome: str, raised: type[BaseException] | None) -> None:
    record = cell_record({"outcome": outcome})
    runner: Any = SimpleNamespace(run=lambda cell: record)
    request: Any = SimpleNamespace(node=SimpleNamespace(stash={}))
    with nullcontext() if raised is None else pytest.raises(raised):
        module.test_dense(CELL, runner, request)
