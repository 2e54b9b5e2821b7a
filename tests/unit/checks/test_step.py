"""Whether an answer to one step is as expected, and whether one answer could be as two expectations say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack
from conformance.checks.references import question
from conformance.checks.step import are_disjoint, satisfies
from conformance.ledger.behaviour import Refusal
from conformance.ledger.expectation import Expectation, dtypes_of_rule
from conformance.ledger.predicate import Predicate
from conformance.ledger.step import model_steps
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Answer, Declined, Inferred, Parameters, Raised, Unreached
from conformance.table.case import Case, Expect, Layer
from tests.support.faulty_adapters import Exact, _Float64Output, _Raises
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import answers_of, around, behaviour, output, replied, tried

CASE = Case(input_shape=(2, 3, 4), layers=(Layer(units=3),), lane="exact")
QUESTION = question(CASE, "cpu")
GRADIENT = QUESTION.by_label["gradients"].reference
STEPS = {each.label: each for each in model_steps(QUESTION.steps)}
RIGHT = answers_of(Exact(), QUESTION)
DTYPES = dtypes_of_rule("float32", None)
RULE = Expectation(dtypes=DTYPES)
REFUSAL = Refusal(type="ValueError", message=("no",))
RAISED = Raised(type="ValueError", message="no", modules=("tests.x",), traceback="")


def fits(label: str, answer: Answer, expectation: Expectation, enclosure: Enclosure | None = None) -> bool:
    reply = replied({label: answer})[label]
    return satisfies(CASE, STEPS[label], reply, expectation, enclosure, ["tests"])


def expected(**fields: Any) -> Expectation:
    return replace(RULE, **fields)


def test_a_step_that_was_not_reached_is_as_anything() -> None:
    assert satisfies(CASE, STEPS["output"], None, expected(crashes=("SIGABRT",)), None)


def test_an_output_is_checked_against_its_enclosure_and_dtype() -> None:
    one = around([[1.0]], 0.25)
    assert fits("output", output([[1.25]]), RULE, one)
    assert not fits("output", output([[1.5]]), RULE, one)
    assert not fits("output", output([[1.0]]), RULE)
    assert not fits("output", output([[1.0]]), expected(dtypes={**DTYPES, "output": "float64"}), one)


def test_an_undefined_output_is_checked_against_its_shape() -> None:
    undefined = expected(undefined=frozenset({"output"}))
    assert fits("output", output([[7.0]]), undefined, around([[1.0]]))
    assert not fits("output", output([7.0]), undefined, around([[1.0]]))
    assert not fits("output", output([[7.0]]), expected(undefined=frozenset({"dx"})), around([[1.0]]))


def test_what_should_not_answer_is_refused_as_declared_or_not_as_expected() -> None:
    refuses = expected(refuses=REFUSAL)
    assert fits("output", RAISED, refuses)
    assert not fits("output", RAISED, RULE)
    assert not fits("output", replace(RAISED, type="TypeError"), refuses)
    assert not fits("output", replace(RAISED, modules=("numpy.x",)), refuses)
    for ends in (refuses, expected(crashes=("SIGABRT",))):
        assert not fits("output", output([[1.0]]), ends, around([[1.0]]))
        assert not fits("gradients", RIGHT["gradients"], replace(ends, reference=GRADIENT))
        assert not fits("parameters", RIGHT["parameters"], ends)


@pytest.mark.parametrize("answer", [Declined(reason="no"), Unreached(because="build")])
def test_what_was_not_answered_is_as_nothing(answer: Answer) -> None:
    assert not fits("output", answer, RULE, around([[1.0]]))


@pytest.mark.parametrize(
    ("shapes", "how", "is_fit"),
    [
        (((None, 2, 3, 3),), None, True),
        (((7, 2, 3, 3),), None, True),
        (((None, 3, 2, 3),), None, False),
        (((None, 3, 2, 3),), "reversed_positions", True),
        (((None, 2, 3, 3),), "reversed_positions", False),
        (((None, 2, 3, 4),), "fed", True),
        (((None, 2, 3, 3),), "fed", False),
        ((), None, False),
    ],
)
def test_inferred_shapes_are_checked_against_the_rule_or_the_behaviour(
    shapes: tuple[Shape, ...], how: str | None, is_fit: bool
) -> None:
    assert fits("infer", Inferred(shapes=shapes), expected(infers=how)) is is_fit


def test_of_what_must_be_refused_no_shape_is_known() -> None:
    case = replace(CASE, layers=(Layer(units=-1),), expect=Expect(error=True))
    reply = replied({"infer": Inferred(shapes=((None, 2, 3, 1),))})["infer"]
    stack = replace(STEPS["infer"].stack, layers=(replace(STEPS["infer"].stack.layers[0], units=-1),))
    step = replace(STEPS["infer"], stack=stack)
    assert satisfies(case, step, reply, RULE, None)
    assert not satisfies(case, step, reply, expected(infers="fed"), None)


def test_parameters_are_of_the_dtype() -> None:
    first = RIGHT["parameters"]
    assert isinstance(first, Parameters)
    assert fits("parameters", first, RULE)
    wrong: list[Parameter] = [*first.parameters[:-1], replace(first.parameters[-1], dtype="float64")]
    assert not fits("parameters", replace(first, parameters=tuple(wrong)), RULE)


def test_gradients_are_checked_against_their_enclosures() -> None:
    right, rule = RIGHT["gradients"], expected(reference=GRADIENT)
    assert isinstance(right, Gradients)
    assert fits("gradients", right, rule)
    ((kernel, bias),) = right.layers
    assert bias is not None
    for wrong in (replace(right, layers=((kernel + 1, bias),)), replace(right, layers=((kernel, bias + 1),))):
        assert not fits("gradients", wrong, rule)
    spoilt = replace(right, layers=((kernel, bias + 1),))
    assert fits("gradients", spoilt, replace(rule, undefined=frozenset({"db"})))
    assert not fits("gradients", right, RULE)


# What holds sometimes, through verdicts


class _InfersFed(Honest):
    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shapes[0][0], *stack.input_shape)] * len(shapes)


class _InfersReversed(Honest):
    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(first, *reversed(inner), last) for first, *inner, last in shapes]


class _Garbage(Honest):
    def output(self, y: Array) -> Array:
        return y * y.dtype.type(7)


class _GarbageGradient(Honest):
    def bias_gradient(self, dz: Array) -> Array:
        return super().bias_gradient(dz) + dz.dtype.type(1)


@pytest.mark.parametrize(
    ("fault", "call", "instead"),
    [
        (_Raises, "forward", {"refuses": Refusal(type="RuntimeError", message=("gave up",))}),
        (_InfersFed, "infer", {"infers": "fed"}),
        (_InfersReversed, "infer", {"infers": "reversed_positions"}),
        (_Garbage, "forward", {"undefined": frozenset({"output"})}),
        (_GarbageGradient, "gradient", {"undefined": frozenset({"db"})}),
        (_Float64Output, "forward", {"dtypes": {"output": "float64"}}),
    ],
)
def test_whatever_a_step_may_do_instead_it_may_do_sometimes(
    fault: type[Honest], call: str, instead: dict[str, Any]
) -> None:
    declared = behaviour(when=Predicate(step={"call": call}), sometimes="chance", **instead)
    assert tried(NumPyAdapter(fault()), CASE).outcome == "violates"
    assert tried(NumPyAdapter(fault()), CASE, declared).outcome == "diverges"
    assert tried(Exact(), CASE, declared).outcome == "conforms"


def test_what_must_be_refused_may_be_accepted_sometimes() -> None:
    wrong = replace(CASE, input_shape=(4,), feed_shape=(2, 1), expect=Expect(error=True))

    class Broadcasts(Honest):
        def product(self, x: Array, kernel: Array) -> Array:
            return super().product(np.broadcast_to(x, (*x.shape[:-1], len(kernel))), kernel)

    class BroadcastsAndDoubles(Broadcasts):
        def output(self, y: Array) -> Array:
            return y * y.dtype.type(2)

    declared = behaviour(when=Predicate(step={"call": "forward"}), accepts="broadcast", sometimes="chance")
    assert tried(NumPyAdapter(Broadcasts()), wrong).outcome == "violates"
    assert tried(NumPyAdapter(Broadcasts()), wrong, declared).outcome == "diverges"
    assert tried(NumPyAdapter(Broadcasts()), wrong, replace(declared, sometimes=None)).outcome == "diverges"
    assert tried(NumPyAdapter(BroadcastsAndDoubles()), wrong, declared).outcome == "violates"


# Whether any answer could be as both say


def reference(
    *, y: Any = (0.0, 1.0), dx: Any = (0.0,), dkernel: Any = (0.0,), dbias: Any = (0.0,), allowed: float = 0.25
) -> Reference:
    bias = None if dbias is None else around(dbias, allowed)
    return Reference(y=around(y, allowed), dx=around(dx, allowed), layers=((around(dkernel, allowed), bias),), line="")


def disjoint(label: str, one: Expectation, other: Expectation) -> bool:
    found = {are_disjoint(STEPS[label], *pair) for pair in ((one, other), (other, one))}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("label", "one", "other", "is_disjoint"),
    [
        ("output", RULE, RULE, False),
        ("output", RULE, expected(refuses=REFUSAL), True),
        ("output", RULE, expected(crashes=("SIGABRT",)), True),
        ("output", RULE, expected(accepts="squeeze"), True),
        ("output", RULE, expected(dtypes={**DTYPES, "output": "float64"}), True),
        ("output", RULE, expected(dtypes={**DTYPES, "dx": "float64", "parameters": "float64"}), False),
        ("gradients", RULE, expected(dtypes={**DTYPES, "dx": "float64"}), True),
        ("gradients", RULE, expected(dtypes={**DTYPES, "weights": "float64"}), True),
        ("gradients", RULE, expected(dtypes={**DTYPES, "output": "float64"}), False),
        ("parameters", RULE, expected(dtypes={**DTYPES, "parameters": "float64"}), True),
        ("infer", RULE, expected(infers="fed"), True),
        ("infer", RULE, expected(infers="reversed_positions"), True),
        ("output", RULE, expected(infers="fed"), False),
    ],
)
def test_answers_of_another_kind_dtype_or_shape_are_disjoint(
    label: str, one: Expectation, other: Expectation, is_disjoint: bool
) -> None:
    assert disjoint(label, one, other) is is_disjoint


def test_shapes_that_are_declared_otherwise_may_be_the_same() -> None:
    asked = question(replace(CASE, input_shape=(2, 2, 4)), "cpu")
    step = next(each for each in model_steps(asked.steps) if each.label == "infer")
    assert not are_disjoint(step, RULE, expected(infers="reversed_positions"))


@pytest.mark.parametrize(
    ("label", "other", "is_disjoint"),
    [
        ("output", reference(y=(0.5, 1.0)), False),  # the sum of both radii
        ("output", reference(y=(0.0, 1.5 + 2.0**-40)), True),
        ("output", reference(y=(0.0, np.nan)), True),
        ("output", reference(y=(0.0, np.inf)), True),
        ("output", reference(y=(0.0,)), True),
        ("output", reference(y=(9.0, 9.0), allowed=np.inf), False),
        ("output", reference(y=(9.0, np.nan), allowed=np.inf), False),
        ("output", reference(dx=(9.0,), dkernel=(9.0,), dbias=(9.0,)), False),
        ("gradients", reference(y=(9.0, 9.0)), False),
        ("gradients", reference(dx=(9.0,)), True),
        ("gradients", reference(dkernel=(9.0,)), True),
        ("gradients", reference(dbias=(9.0,)), True),
        ("gradients", reference(dbias=None), True),
        ("infer", reference(y=(9.0, 9.0)), False),
    ],
)
def test_values_are_disjoint_where_no_number_is_within_both_bounds(
    label: str, other: Reference, is_disjoint: bool
) -> None:
    assert disjoint(label, expected(reference=reference()), expected(reference=other)) is is_disjoint


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_the_same_infinity_is_not_disjoint_from_itself(number: float) -> None:
    one = expected(reference=reference(y=(0.0, number)))
    assert not disjoint("output", one, one)


def test_undefined_values_are_disjoint_from_none() -> None:
    far = expected(reference=reference(y=(9.0, 9.0)), undefined=frozenset({"output"}))
    assert not disjoint("output", expected(reference=reference()), far)
    assert not disjoint("output", RULE, expected(reference=reference()))


def test_an_output_of_the_shape_that_was_fed_is_as_declared_at_every_step() -> None:
    class FedShape(Honest):
        def output(self, y: Array) -> Array:
            return np.zeros((*y.shape[:-1], 4), y.dtype)

    declared = behaviour(when=Predicate(step={"call": "forward"}), shape="fed")
    assert tried(NumPyAdapter(FedShape()), CASE).outcome == "violates"
    assert tried(NumPyAdapter(FedShape()), CASE, declared).outcome == "diverges"
