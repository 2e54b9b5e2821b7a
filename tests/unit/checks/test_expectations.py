"""What each step should answer: under the rule, and under the behaviours that cover it, together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.checks.enclosures import flattened, position_enclosure
from conformance.checks.expectations import Expected
from conformance.checks.positions import ReplacedProbe
from conformance.checks.question import Question
from conformance.checks.references import question
from conformance.ledger.behaviour import Exactly, Refusal
from conformance.ledger.expectation import (
    dtypes_of_rule,
    inferred_shapes,
    width,
)
from conformance.ledger.predicate import Predicate
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Forward
from conformance.table.case import Case, Data, Expect, Layer
from tests.support.declared_steps import CASE, declared
from tests.support.verdicts import around, behaviour

FLAT = replace(CASE, input_shape=(4,), batch=3)
ONE = replace(CASE, layers=(Layer(units=3),))


#: Labels of the steps whose output follows from that of the main one.
DERIVED = ("output, axes permuted", "output, axes split", "positions as samples", "output, x and its signs")


def forward_labels(of_case: Question) -> list[str]:
    return [each.label for each in of_case.steps if isinstance(each, Forward)]


def at(call: str, **layers: Any) -> Predicate:
    return Predicate(step={"call": call}, layers=layers)


@pytest.mark.parametrize(
    ("case", "label"), [(case, label) for case in (CASE, FLAT) for label in forward_labels(question(case, "cpu"))]
)
def test_the_rule_gives_every_step_that_computes_its_own_output(case: Case, label: str) -> None:
    """Also where it follows from the main output: it is what the step's own numbers give, which are all exact."""
    of_case = question(case, "cpu")
    probe = of_case.by_label[label]
    draw = probe.draw
    assert draw is not None
    y = draw.x.astype(np.float64)
    for kernel, bias in zip(draw.kernels, draw.biases, strict=True):
        assert bias is not None
        y = y @ kernel + bias
    found = Expected(case, of_case).output(label)
    if isinstance(probe, ReplacedProbe):
        assert np.isinf(found.allowed).sum() == y.size - 5, "other positions are not compared"
        found, y = position_enclosure(found, (probe.position,)), y.reshape(-1, 5)[[probe.position]]
    assert np.array_equal(found.exact, y)
    assert (found.allowed == 0.0).all()


def test_the_class_of_a_bound_is_that_of_the_step_or_else_of_the_main_output() -> None:
    of_case = question(replace(CASE, lane="uniform"), "cpu")
    expected = Expected(CASE, of_case)
    assert {expected.line(label) for label in ("output", "gradients", *DERIVED[:3])} == {"proven"}
    assert Expected(CASE, Question()).line("output") == ""


def test_rows_count_over_the_flattened_leading_axes() -> None:
    enclosure = Enclosure(exact=np.arange(12.0).reshape(2, 3, 2), allowed=np.arange(12.0).reshape(2, 3, 2) + 1)
    found = position_enclosure(enclosure, (4, 0))
    assert found.exact.tolist() == [[8.0, 9.0], [0.0, 1.0]]
    assert found.allowed.tolist() == [[9.0, 10.0], [1.0, 2.0]]
    assert flattened(around(np.zeros((2, 0, 3)))).exact.shape == (0, 3)


def test_under_a_deviation_every_step_has_an_output_of_its_own() -> None:
    expected, of_case = declared(CASE, behaviour(loses_bias=True)), question(CASE, "cpu")
    for label in forward_labels(of_case):
        draw = of_case.by_label[label].draw
        assert draw is not None
        y = draw.x.astype(np.float64) @ draw.kernels[0] @ draw.kernels[1]
        assert np.array_equal(expected.output(label).exact, y), label
        assert expected.of(label).behaviours == ("declared",)
    assert expected.of("gradients").reference is not None


def test_a_step_that_no_behaviour_covers_follows_the_rule() -> None:
    rule, of_case = Expected(CASE, question(CASE, "cpu")), question(CASE, "cpu")
    expected = declared(CASE, behaviour(when=at("gradient"), loses_bias=True))
    for label in forward_labels(of_case):
        assert np.array_equal(expected.output(label).exact, rule.output(label).exact)
        assert expected.of(label).behaviours == ()
    assert expected.of("gradients").behaviours == ("declared",)


def test_a_behaviour_of_one_layer_leaves_the_other_alone() -> None:
    draw = question(CASE, "cpu").by_label["output"].draw
    assert draw is not None
    x, (first, second), (bias, other) = draw.x.astype(np.float64), draw.kernels, draw.biases
    assert bias is not None
    assert other is not None
    for units, y in ((3, x @ first @ second + other), (5, (x @ first + bias) @ second)):
        found = declared(CASE, behaviour(when=Predicate(layers={"units": units}), loses_bias=True)).output("output")
        assert np.array_equal(found.exact, y)


def test_the_output_has_the_dtype_of_its_last_layer_and_dx_that_of_the_first() -> None:
    first, last = CASE.layers[0].units, CASE.layers[-1].units
    assert first != last
    for units, name, other in ((first, "dx", "output"), (last, "output", "dx")):
        one_layer = behaviour(when=Predicate(layers={"units": units}), dtypes={"output": "float64", "dx": "float64"})
        found = declared(CASE, one_layer).of("output").dtypes
        assert (found[name], found[other]) == ("float64", "float32")


def test_dtypes_are_of_the_results_that_are_named() -> None:
    rule = dtypes_of_rule("float32", None)
    assert rule == dict.fromkeys(("parameters", "output", "dx", "weights"), "float32")
    assert dtypes_of_rule("float32", "float16")["dx"] == "float16"
    for name in ("parameters", "output", "dx", "weights"):
        found = declared(CASE, behaviour(dtypes={name: "float64"})).of("output")
        assert found.dtypes == {**rule, name: "float64"}
        assert found.reference is Expected(CASE, question(CASE, "cpu")).of("output").reference


def test_what_behaviours_leave_undefined_is_all_of_what_each_does() -> None:
    both = behaviour("a", undefined=frozenset({"output"})), behaviour("b", undefined=frozenset({"db"}))
    assert declared(CASE, *both).of("output").undefined == {"output", "db"}


def test_an_output_of_the_fed_shape_may_have_any_numbers() -> None:
    expected = declared(ONE, behaviour(shape="fed"))
    for label, shape in (("output", (2, 2, 3, 4)), ("positions as samples", (12, 4))):
        found = expected.output(label)
        assert found.exact.shape == shape
        assert np.isinf(found.allowed).all()


def test_elements_that_are_given_are_exact_and_all_others_as_they_were() -> None:
    case = replace(ONE, lane="uniform")
    rule = Expected(case, question(case, "cpu")).output("output")
    exactly = Exactly(case=case.id, step="output", elements={(0, 1, 2, 0): 7.5})
    expected = declared(case, behaviour(exactly=exactly))
    found = expected.output("output")
    assert (found.exact[0, 1, 2, 0], found.allowed[0, 1, 2, 0]) == (7.5, 0.0)
    others = np.ones(rule.exact.shape, np.bool_)
    others[0, 1, 2, 0] = False
    assert np.array_equal(found.exact[others], rule.exact[others])
    assert np.array_equal(found.allowed[others], rule.allowed[others])
    again = question(case, "cpu").by_label["output again"].reference
    assert again is not None
    assert expected.output("output again") is again.y


def test_a_step_without_an_answer_has_no_other_bounds() -> None:
    refuses = behaviour(refuses=Refusal(type="ValueError", message=("no",)), loses_bias=True)
    found = declared(CASE, refuses).of("output")
    assert found.ends
    assert found.reference is Expected(CASE, question(CASE, "cpu")).of("output").reference
    assert declared(CASE, behaviour(crashes=("SIGABRT",))).of("output").ends
    assert not declared(CASE, behaviour(loses_bias=True)).of("output").ends


def test_an_element_that_may_overflow_or_not_has_no_bound() -> None:
    case = replace(ONE, lane="uniform", layers=(Layer(units=3),))
    of_case = question(case, "cpu")
    found = declared(case, behaviour(error={"absolute": 2.0**152})).of("output").reference
    assert found is not None
    assert np.isinf(found.y.allowed).all()
    within = declared(case, behaviour(error={"absolute": 2.0**100})).of("output").reference
    assert within is not None
    assert np.isfinite(within.y.allowed).all()
    assert of_case.main is not None
    assert of_case.main.y.joint is None or found.y.joint is None


def test_what_is_accepted_has_the_answer_of_the_input_it_is_taken_for() -> None:
    wrong = replace(ONE, input_shape=(4,), feed_shape=(2, 1), expect=Expect(error=True))
    accepts = declared(wrong, behaviour(when=at("forward"), accepts="broadcast"))
    found = accepts.of("output")
    assert (found.accepts, found.behaviours) == ("broadcast", ("declared",))
    assert found.reference is not None
    assert found.reference.y.exact.shape == (2, 3)
    # What the layer was built for is no input to accept, and one that cannot be taken so is left to the rule.
    assert accepts.of("sibling output").reference is None
    assert declared(wrong, behaviour(when=at("forward"), accepts="flatten")).of("output").behaviours == ()


@pytest.mark.parametrize(
    ("how", "input_shape", "feed_shape", "shape"),
    [
        ("squeeze", (5,), (2, 5, 1), (2, 3)),
        ("squeeze", (5,), (2, 4, 1), None),
        ("squeeze", (5,), (2, 1), None),
        ("squeeze", (1,), (2, 3, 1, 1), None),
        ("expand", (5, 1), (2, 5), (2, 5, 3)),
        ("expand", (5, 2), (2, 5), None),
        ("expand", (1,), (4,), (4, 3)),
    ],
)
def test_an_axis_is_dropped_or_added_only_where_the_model_then_fits(
    how: str, input_shape: tuple[int, ...], feed_shape: tuple[int, ...], shape: tuple[int, ...] | None
) -> None:
    wrong = replace(ONE, input_shape=input_shape, feed_shape=feed_shape, expect=Expect(error=True))
    found = declared(wrong, behaviour(when=at("forward"), accepts=how)).of("output")
    assert (None if found.reference is None else found.reference.y.exact.shape) == shape


def test_shapes_are_inferred_as_declared() -> None:
    shapes = ((None, 2, 3, 5), (None, 2, 3, 7))
    assert tuple(inferred_shapes(shapes, None, (2, 3, 4))) == shapes
    assert tuple(inferred_shapes(shapes, "fed", (2, 3, 4))) == ((None, 2, 3, 4),) * 2
    assert tuple(inferred_shapes(shapes, "reversed_positions", (2, 3, 4))) == ((None, 3, 2, 5), (None, 2, 3, 7))


def test_the_width_of_bounds_is_relative_to_the_whole_answer() -> None:
    y = Enclosure(exact=np.array([3.0, 4.0]), allowed=np.array([0.3, 0.4]))
    dx = Enclosure(exact=np.array([1.0]), allowed=np.array([0.5]))
    reference = Reference(y=y, dx=dx, layers=((y, None),), line="proven")
    assert width(reference, "forward") == pytest.approx(0.1)
    assert width(reference, "gradient") == pytest.approx(0.5)
    of_bias = replace(reference, dx=y, layers=((y, dx),))
    assert width(of_bias, "gradient") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("exact", "allowed", "expected"),
    [
        ([2.0, np.nan], [0.5, 0.0], 0.25),  # what is not finite is no part of it
        ([2.0, 9.0], [0.5, np.inf], 0.25),
        ([2.0], [np.inf], np.inf),
        ([0.0], [0.0], 0.0),
        ([0.0], [0.5], np.inf),
        ([], [], 0.0),
        ([1e300, -1e300], [1e299, 1e299], 0.1),  # whose squares overflow
        ([1e-300], [1e-301], 0.1),  # whose squares vanish
    ],
)
def test_the_width_of_bounds_at_their_ends(exact: list[float], allowed: list[float], expected: float) -> None:
    y = Enclosure(exact=np.array(exact), allowed=np.array(allowed))
    assert width(Reference(y=y, dx=y, layers=(), line="proven"), "forward") == pytest.approx(expected)


def test_what_is_computed_in_a_wider_format_is_rounded_to_the_dtype_once() -> None:
    """300 times 300 overflows float16 between two layers, and no longer does in float32."""
    data = Data(x=300.0, kernels=(300.0, 0.25), biases=(None, None))
    layers = tuple(Layer(units=1, use_bias=False) for _ in range(2))
    case = Case(input_shape=(1,), layers=layers, batch=1, dtype="float16", lane="literal", data=data)
    case = replace(case, expect=Expect(nonfinite=True))
    y = declared(case, behaviour(computes_in="float32")).output("output")
    assert y.exact.item() == 22500.0
    # float16 has 11 bits: the spacing of its numbers is 16 there.
    assert 8.0 <= y.allowed.item() < 16.0
    assert np.isinf(Expected(case, question(case, "cpu")).output("output").exact.item())


def test_only_operands_that_are_not_contiguous_are_read_as_integers() -> None:
    case = Case(input_shape=(3,), layers=(Layer(units=4),), batch=2, dtype="float16", lane="uniform")
    under, rule = declared(case, behaviour(reads_bits_as_integers=True)), Expected(case, question(case, "cpu"))
    changed = {
        label
        for label in forward_labels(question(replace(case, checks=("memory_layouts", "weights_live")), "cpu"))
        if not np.array_equal(under.output(label).exact, rule.output(label).exact)
    }
    strided = {f"output, {each}" for each in ("strided", "column_major", "padded", "broadcast")}
    assert changed == strided | {"output, first weights, column_major", "output, first weights, padded"}
    # The bias of the last one is contiguous: the outputs are sums with a right bias.
    label = "output, first weights, column_major"
    (probe,) = (each for each in question(case, "cpu").probes if each.label == label)
    assert probe.draw is not None
    (kernel,), (bias,) = probe.draw.kernels, probe.draw.biases
    assert bias is not None
    read = [each.view(np.int16).astype(np.float16).astype(np.float64) for each in (kernel, bias)]
    expected = probe.draw.x.astype(np.float64) @ read[0] + read[1]
    expected[np.abs(expected) > 65520.0] = np.inf
    assert np.allclose(under.output(label).exact, expected, rtol=1e-12)
