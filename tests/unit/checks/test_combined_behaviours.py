"""Behaviours that cover one step together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from conformance.ledger.behaviour import Refusal
from conformance.ledger.expectation import (
    Conflict,
    Expectation,
    layer_deviations,
)
from conformance.reference import Deviation
from tests.support.declared_steps import CASE, declared
from tests.support.deviations import deviation
from tests.support.verdicts import behaviour


def together(*deviations: Mapping[str, Any], layers: int = 1) -> tuple[Deviation, ...]:
    every = frozenset(range(layers))
    covering = [(behaviour(str(index), **each), every) for index, each in enumerate(deviations)]
    return layer_deviations(covering, layers, "float16")


def test_the_fields_of_several_behaviours_are_taken_together() -> None:
    assert together() == (Deviation(),)
    (found,) = together(
        {"casts": {"x": "float16"}, "sums_in": {"dW": "float16"}, "rounds_each_product": frozenset({"dW"})},
        {"casts": {"bias": "bfloat16"}, "sums_in": {"dW": "float16"}, "rounds_each_product": frozenset({"db"})},
        {"loses_bias": True, "computes_in": "float16", "rounds_toward_zero": frozenset({"dx"})},
        {"computes_in": "float16", "constants": {"slope": 0.5}, "error": {"absolute": 1.0}},
        {"rounds_toward_zero": frozenset({"output"}), "error": {"relative": 2.0}},
    )
    assert found == deviation(
        casts={"x": "float16", "bias": "bfloat16"},
        sums_in={"dW": "float16"},
        rounds_each_product=frozenset({"dW", "db"}),
        rounds_toward_zero=frozenset({"dx", "output"}),
        loses_bias=True,
        computes_in="float16",
        constants={"slope": 0.5},
        error={"absolute": 1.0, "relative": 2.0},
    )


def test_each_layer_has_what_reaches_it() -> None:
    covering = [
        (behaviour("a", loses_bias=True), frozenset({0})),
        (behaviour("b", computes_in="float16"), frozenset({0, 2})),
    ]
    both = Deviation(loses_bias=True, computes_in="float16")
    assert layer_deviations(covering, 3, "float16") == (both, Deviation(), Deviation(computes_in="float16"))


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        ({"computes_in": "float16"}, {"computes_in": "bfloat16"}, "computes_in"),
        ({"formula": "identity"}, {"formula": "exp_overflows"}, "formula"),
        ({"casts": {"x": "float16"}}, {"casts": {"x": "bfloat16"}}, "casts.x"),
        ({"error": {"absolute": 1.0}}, {"error": {"absolute": 2.0}}, "error.absolute"),
    ],
)
def test_two_behaviours_that_contradict_each_other_are_named(
    one: dict[str, Any], other: dict[str, Any], field: str
) -> None:
    with pytest.raises(Conflict, match=rf"0 and 2 both set {field}, to different values") as conflict:
        together(one, {"loses_bias": True}, other)
    assert conflict.value.names == ("0", "2")
    apart = [(behaviour("0", **one), frozenset({0})), (behaviour("2", **other), frozenset({1}))]
    assert len(layer_deviations(apart, 2, "float16")) == 2


@pytest.mark.parametrize("field", ["crashes", "infers", "accepts"])
def test_a_step_has_one_ending_and_one_way_to_infer_and_accept(field: str) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "crashes": (("SIGABRT",), ("SIGSEGV",)),
        "infers": ("fed", "reversed_positions"),
        "accepts": ("squeeze", "expand"),
    }
    one, other = (behaviour(str(index), **{field: each}) for index, each in enumerate(values[field]))
    contradicting = declared(CASE, one, other)
    assert contradicting.of("parameters").behaviours == (), "the rule has the last word"
    assert str(contradicting.conflict).startswith(f"0 and 1 both set {field}")
    same = declared(CASE, one, replace(one, id="2")).of("parameters")
    assert getattr(same, field) == values[field][0]


@pytest.mark.parametrize("raised", ["A", "B"])
def test_of_two_refusals_of_one_step_the_one_that_explains_the_answer_applies(raised: str) -> None:
    both = [behaviour(name, refuses=Refusal(type=name, message=(name,))) for name in ("A", "B")]

    def satisfies(label: str, expectation: Expectation) -> bool:
        return expectation.refuses is not None and expectation.refuses.type == raised

    found = declared(CASE, *both, satisfies=satisfies)
    assert found.of("parameters").behaviours == (raised,)
    assert found.conflict is None


def test_without_an_answer_all_possible_behaviours_apply() -> None:
    both = behaviour("a", loses_bias=True), behaviour("b", sometimes="chance", dtypes={"output": "float64"})
    assert declared(CASE, *both).of("output").behaviours == ("a", "b")


@pytest.mark.parametrize(
    ("explaining", "found"),
    [
        ([()], ()),
        ([(), ("a",)], ()),
        ([("a",), ("b",)], ("a",)),
        ([("b",)], ("b",)),
        ([("a", "b"), ("b",)], ("b",)),
        ([("a", "b")], ("a", "b")),
        ([], ()),
    ],
)
def test_the_fewest_behaviours_that_explain_an_answer_apply(
    explaining: list[tuple[str, ...]], found: tuple[str, ...]
) -> None:
    def satisfies(label: str, expectation: Expectation) -> bool:
        return label == "output" and expectation.behaviours in explaining

    maybe = [behaviour(name, sometimes="chance", casts={operand: "float16"}) for name, operand in ("ax", ("b", "bias"))]
    assert declared(CASE, *maybe, satisfies=satisfies).of("output").behaviours == found
    always = behaviour("c", loses_bias=True)

    def with_another(label: str, expectation: Expectation) -> bool:
        return satisfies(label, replace(expectation, behaviours=expectation.behaviours[1:]))

    assert declared(CASE, always, *maybe, satisfies=with_another).of("output").behaviours == ("c", *found)


def test_behaviours_that_contradict_each_other_never_apply_together() -> None:
    maybe = [behaviour(name, sometimes="chance", computes_in=name) for name in ("float16", "bfloat16")]
    found = declared(CASE, *maybe, satisfies=lambda *_: False).of("output")
    assert found.behaviours == ()
