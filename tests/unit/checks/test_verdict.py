"""What answers amount to under declared behaviours: conforms, diverges as declared, or violates; and what is gone.

Beside each behaviour that explains an answer a fault is planted that it does not explain, which stays red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Stack
from conformance.checks.outcome import Verdict
from conformance.checks.references import question
from conformance.ledger.behaviour import Refusal
from conformance.ledger.predicate import Predicate
from conformance.run.cell_runner import steps_with_last
from conformance.run.runner import explanation
from conformance.sandbox.steps import Build, Forward
from conformance.table.case import Expect, Layer
from tests.support.declared_cells import CASE, UNIFORM, OffByOne, at, labels, outcomes
from tests.support.faulty_adapters import _DropsBias, _Float64Output
from tests.support.numpy_adapter import Honest, NumPyAdapter, times
from tests.support.records import cell_record
from tests.support.verdicts import behaviour, tried

FLOAT64 = replace(UNIFORM, dtype="float64")


def explained_by(verdict: Verdict) -> dict[str, str]:
    checks: Sequence[Mapping[str, Any]] = verdict.checks
    return {each["check"]: each["divergence"]["id"] for each in checks if "divergence" in each}


class _DropsBiasOfGradient(_DropsBias):
    """Loses the bias, and gives a gradient of the kernel that is off."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return times(a.T, dz) + dz.dtype.type(1)


def test_an_answer_by_the_rule_conforms_where_nothing_is_declared() -> None:
    verdict = tried(NumPyAdapter(Honest()), CASE)
    assert (verdict.outcome, verdict.covered, verdict.behaviours, verdict.gone) == ("conforms", (), (), ())
    assert verdict.checks
    assert not outcomes(verdict)


def test_what_is_neither_violates() -> None:
    verdict = tried(NumPyAdapter(_DropsBias()), CASE)
    assert verdict.outcome == "violates"
    assert all("near" not in each for each in verdict.checks)


def test_what_is_as_declared_diverges_and_names_the_behaviour_and_its_entry() -> None:
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, behaviour("loses", loses_bias=True))
    assert (verdict.outcome, verdict.behaviours, verdict.covered) == ("diverges", ("loses",), ("loses",))
    assert outcomes(verdict)["output"] == "diverges"
    assert {*explained_by(verdict).values()} == {"loses"}
    found: Mapping[str, Any] = next(each for each in verdict.checks if each["check"] == "output")
    assert found["divergence"] == {
        "id": "loses",
        "where": "x.yaml:1",
        "kind": "bug",
        "why": "why",
        "evidence": "evidence",
    }
    # What is seen is told in terms of the rule.
    assert found["margin"] > 1


@pytest.mark.parametrize("fault", [OffByOne, _DropsBiasOfGradient])
def test_one_more_fault_than_declared_stays_red_and_the_declared_is_reported_as_near(fault: type[Honest]) -> None:
    verdict = tried(NumPyAdapter(fault()), CASE, behaviour("loses", loses_bias=True))
    assert verdict.outcome == "violates"
    assert verdict.behaviours == ()
    red = [each for each in verdict.checks if each["outcome"] == "violates"]
    assert all(each["near"] == [{"id": "loses", "where": "x.yaml:1"}] for each in red)


def test_a_cell_may_have_a_known_check_and_a_new_one() -> None:
    verdict = tried(NumPyAdapter(_DropsBiasOfGradient()), CASE, behaviour("loses", loses_bias=True))
    assert outcomes(verdict)["output"] == "diverges"
    assert outcomes(verdict)["gradients"] == "violates"
    said = explanation(cell_record({"outcome": verdict.outcome, "checks": verdict.checks}))
    assert "declared for this cell, but not what was seen: loses (x.yaml:1)" in said


def test_a_behaviour_excuses_the_steps_it_covers_alone() -> None:
    only_gradients = behaviour("loses", at("gradient"), loses_bias=True)
    assert tried(NumPyAdapter(_DropsBias()), CASE, only_gradients).outcome == "violates"
    other_dtype = behaviour("loses", Predicate(step={"dtype": "float64"}), loses_bias=True)
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, other_dtype)
    assert (verdict.outcome, verdict.covered) == ("violates", ())


def test_a_behaviour_excuses_the_layers_it_applies_to_alone() -> None:
    two = replace(CASE, layers=(Layer(units=3), Layer(units=2, activation="relu")))
    of_all, of_one = behaviour(loses_bias=True), behaviour(when=Predicate(layers={"units": 2}), loses_bias=True)
    assert tried(NumPyAdapter(_DropsBias()), two, of_all).outcome == "diverges"
    assert tried(NumPyAdapter(_DropsBias()), two, of_one).outcome == "violates"


def test_an_answer_partly_as_declared_and_partly_by_the_rule_is_red_where_the_declared_fails() -> None:
    class OnesAlone(Honest):
        """Loses the bias where the input is no unit vector and not zero."""

        def product(self, x: Array, kernel: Array) -> Array:
            self.is_plain = np.abs(x).sum() > x.size / x.shape[-1]
            return super().product(x, kernel)

        def biased(self, p: Array, bias: Array) -> Array:
            return p if self.is_plain else p + bias

    verdict = tried(NumPyAdapter(OnesAlone()), CASE, behaviour("loses", loses_bias=True))
    assert verdict.outcome == "violates"
    assert outcomes(verdict)["output"] == "diverges"
    assert outcomes(verdict)["weights_read_back"] == "violates"


def test_behaviours_that_cover_one_step_are_applied_together_and_each_is_named() -> None:
    class Both(_DropsBias, _Float64Output):
        pass

    both = (behaviour("loses", loses_bias=True), behaviour("widens", dtypes={"output": "float64"}))
    verdict = tried(NumPyAdapter(Both()), CASE, *both)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses", "widens"))
    assert explained_by(verdict)["output_dtype"] == "widens"
    for each in both:
        assert tried(NumPyAdapter(Both()), CASE, each).outcome == "violates"


def test_a_behaviour_that_nothing_needs_is_not_named() -> None:
    wide = behaviour("wide", error={"absolute": 8})
    verdict = tried(NumPyAdapter(_DropsBias()), UNIFORM, behaviour("loses", loses_bias=True), wide)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))
    assert set(verdict.covered) == {"loses", "wide"}


def test_of_behaviours_that_explain_a_cell_alone_one_is_named_and_none_that_it_does_not_show() -> None:
    gives_up = behaviour("gives up", sometimes="chance", refuses=Refusal(type="E", message=("no",)))
    loses = (behaviour("loses", loses_bias=True), behaviour("loses too", sometimes="chance", loses_bias=True))
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, gives_up, *loses)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))


class _ComputesInFloat32(Honest):
    def operand(self, x: Array) -> Array:
        return x.astype(np.float32)

    def product(self, x: Array, kernel: Array) -> Array:
        return super().product(x, kernel).astype(x.dtype)

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return super().kernel_gradient(a, dz).astype(dz.dtype)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return super().input_gradient(dz, kernel).astype(dz.dtype)


class _ComputesInFloat16(_ComputesInFloat32):
    def operand(self, x: Array) -> Array:
        return x.astype(np.float16)


def test_values_are_checked_against_the_bound_of_the_behaviour() -> None:
    declared = behaviour("float32", computes_in="float32")
    assert tried(NumPyAdapter(_ComputesInFloat32()), FLOAT64, declared).outcome == "diverges"
    assert tried(NumPyAdapter(_ComputesInFloat16()), FLOAT64, declared).outcome == "violates"


def test_a_record_has_the_width_of_the_bounds_and_marks_those_without_power() -> None:
    narrow = tried(NumPyAdapter(_ComputesInFloat32()), FLOAT64, behaviour(computes_in="float32"))
    assert 0 < narrow.widths["output"] < 1e-5
    assert narrow.has_power
    tanh = replace(FLOAT64, layers=(Layer(units=3, activation="tanh"),), checks=("output",))
    wide = tried(NumPyAdapter(_ComputesInFloat32()), tanh, behaviour(error={"absolute": 1e18}))
    assert wide.widths["output"] > 1
    assert (wide.outcome, wide.has_power) == ("diverges", False)


class _TakesTrueForOne(Honest):
    units = 1

    def built(self, stack: Stack) -> Stack:
        layers = (replace(each, units=self.units if each.units is True else each.units) for each in stack.layers)
        return replace(stack, layers=tuple(layers))


def test_what_is_accepted_as_declared_diverges_and_with_another_shape_violates() -> None:
    wrong = replace(CASE, layers=(Layer(units=True),), expect=Expect(error=True))
    accepts = behaviour("accepts", at("forward"), accepts="int_units")

    class Blank(_TakesTrueForOne):
        def used(self, stack: Stack) -> Stack:
            layer = stack.layers[0]
            if layer.kernel is not None:
                return stack
            count = int(self.units)
            kernel, bias = np.ones((4, count), np.float32), np.ones(count, np.float32)
            return replace(stack, layers=(replace(layer, kernel=kernel, bias=bias),))

    assert tried(NumPyAdapter(Blank()), wrong).outcome == "violates"
    assert tried(NumPyAdapter(Blank()), wrong, accepts).outcome == "diverges"

    class Two(Blank):
        units = 2

    assert tried(NumPyAdapter(Two()), wrong, accepts).outcome == "violates"


def test_values_that_mean_nothing_are_not_judged_and_all_else_is() -> None:
    undefined = behaviour(undefined=frozenset({"output"}))

    class Garbage(Honest):
        def output(self, y: Array) -> Array:
            return y * y.dtype.type(7)

    class GarbageOfAnotherShape(Garbage):
        def output(self, y: Array) -> Array:
            return y[..., :1]

    class GarbageWithWrongGradients(Garbage):
        def bias_gradient(self, dz: Array) -> Array:
            return super().bias_gradient(dz) + dz.dtype.type(1)

    assert tried(NumPyAdapter(Garbage()), CASE).outcome == "violates"
    assert tried(NumPyAdapter(Garbage()), CASE, undefined).outcome == "diverges"
    assert tried(NumPyAdapter(GarbageOfAnotherShape()), CASE, undefined).outcome == "violates"
    assert tried(NumPyAdapter(GarbageWithWrongGradients()), CASE, undefined).outcome == "violates"


def test_steps_whose_process_must_answer_no_other_come_last() -> None:
    steps = question(replace(CASE, checks=("output",)), "cpu").steps
    moved = steps_with_last(steps, {"gradients"})
    assert sorted(labels(moved)) == sorted(labels(steps))
    assert labels(moved)[labels(moved).index("gradients") - 1] == "output, other batch"
    # What follows new weights of the same model stays behind them.
    assert [each for each in labels(moved) if each != "output, other batch"] == [
        each for each in labels(steps) if each != "output, other batch"
    ]
    assert steps_with_last(steps, set()) == steps


def test_a_step_of_another_model_comes_before_the_last_steps() -> None:
    built = question(CASE, "cpu").steps[0]
    assert isinstance(built, Build)
    x = np.ones((2, 4), np.float32)
    steps = (
        built,
        Forward(label="bad", x=x),
        Forward(label="after", x=x),
        replace(built, label="build alone", model="alone"),
        Forward(label="alone", model="alone", x=x),
    )
    assert labels(steps_with_last(steps, {"bad"})) == ["build", "after", "build alone", "alone", "bad"]
