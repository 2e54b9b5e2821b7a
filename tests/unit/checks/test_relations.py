"""Checks that compare two answers, or that look at every position, refusal, shape and parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from conformance.adapters.protocol import Parameter
from conformance.checks.enclosures import Rearrangement
from conformance.checks.finding import Finding
from conformance.checks.linearity import AddendProbe, LinearInX
from conformance.checks.memory_layouts import LayoutProbe, MemoryLayouts
from conformance.checks.positions import PositionsIndependent, ReplacedProbe, SeparateProbe
from conformance.checks.question import Probe
from conformance.checks.rearrangement import AxesMerged, PositionsPermuted, RearrangedProbe
from conformance.checks.refusal import Refused
from conformance.checks.shapes import OutputShape, ParameterCounts
from conformance.checks.weights import ReadBackProbe, WeightsLive, WeightsReadBack
from conformance.reference import Reference
from conformance.sandbox.steps import (
    Answer,
    Declined,
    Inferred,
    InferShapes,
    Malformed,
    Parameters,
    Unreached,
)
from conformance.table.case import Case, Layer
from tests.support.check_answers import DB, DW, REFUSED, RIGHT
from tests.support.verdicts import around, gradients_of, output, outputs_of, reference_of, step, subject


@pytest.mark.parametrize("spoilt", ["y", "dW"])
def test_outputs_and_gradients_both_follow_new_weights(spoilt: str) -> None:
    off = around(np.full((1, 1), 9.0))
    reference = Reference(y=around([1.0]), dx=around([1.0]), layers=((DW, DB), (DW, DB)), line="proven")
    wrong = replace(reference, **{"y": around([2.0])} if spoilt == "y" else {"layers": ((DW, DB), (off, DB))})
    for each, outcome in ((reference, "conforms"), (wrong, "violates")):
        finding = followed(output([1.0]), RIGHT, each)
        assert (finding.check, finding.outcome) == ("weights_live", outcome)
        assert each is reference or str(finding.message).startswith("after weights were replaced: ")


def followed(output_is: Answer, gradients_are: Answer, reference: Reference) -> Finding:
    """Judge what was computed after new weights, and what is wrong before them, which is another check's business."""
    before: dict[str, Answer] = {"output": output([7.0]), "gradients": RIGHT}
    own = subject(
        {**before, "new output": output_is, "new gradients": gradients_are},
        [
            *outputs_of({"output": reference}),
            *gradients_of({"gradients": reference}),
            *outputs_of({"new output": reference}, after_new_weights=True),
            *gradients_of({"new gradients": reference}, after_new_weights=True),
        ],
    )
    return WeightsLive().judge(own)


@pytest.mark.parametrize(
    ("output_is", "gradients_are", "outcome", "declined"),
    [
        (output([1.0]), Declined(reason="cannot"), "violates", "cannot"),  # for the registry to excuse
        (output([2.0]), Declined(reason="cannot"), "violates", None),
        (Declined(reason="cannot"), RIGHT, "violates", "cannot"),
        (Declined(reason="cannot"), replace(RIGHT, dx=np.zeros(1, np.float32)), "violates", None),
        (output([1.0]), REFUSED, "violates", None),
    ],
)
def test_declining_to_differentiate_excuses_no_wrong_output(
    output_is: Answer, gradients_are: Answer, outcome: str, declined: str | None
) -> None:
    reference = Reference(y=around([1.0]), dx=around([1.0]), layers=((DW, DB), (DW, DB)), line="proven")
    found = followed(output_is, gradients_are, reference)
    assert (found.outcome, found.declined) == (outcome, declined)


def independent(alone: Mapping[str, Any], replaced: Mapping[str, Any], main: Any = ((0.0,), (0.0,))) -> Finding:
    """Hold two positions of one unit, each exactly 0 give or take a quarter, to what they were alone and kept."""
    answers = {"output": output(main)} | {label: output(y) for label, y in {**alone, **replaced}.items()}
    probes: list[Probe] = [
        *outputs_of({"output": reference_of(np.zeros((2, 1)), 0.25)}),
        *(SeparateProbe(step=step(label), positions=(number,)) for number, label in enumerate(alone)),
        *(ReplacedProbe(step=step(label), position=1) for label in replaced),
    ]
    return PositionsIndependent().judge(subject(answers, probes))


RIGHT_ALONE = {"first": [[0.0]], "second": [[0.0]]}


@pytest.mark.parametrize(
    ("alone", "replaced", "message"),
    [
        (RIGHT_ALONE, {"kept": [[9.0], [0.0]]}, None),
        (RIGHT_ALONE | {"second": [[1.0]]}, {}, "second: position alone"),
        (RIGHT_ALONE, {"kept": [[9.0], [1.0]]}, "kept: all positions but 1"),
        (RIGHT_ALONE, {"kept": [[9.0], [0.0]], "more": [[9.0], [1.0]]}, "more: all positions but 1"),
        (RIGHT_ALONE, {"kept": [[9.0, 0.0]]}, "kept has shape (1, 2), expected (2, 1)"),
        (RIGHT_ALONE, {"kept": [[0.0]]}, "kept has shape (1, 1), expected (2, 1)"),
    ],
)
def test_every_position_is_looked_at(
    alone: Mapping[str, Any], replaced: Mapping[str, Any], message: str | None
) -> None:
    finding = independent(alone, replaced)
    assert finding.outcome == ("conforms" if message is None else "violates")
    assert message is None or message in str(finding.message)


def test_positions_of_an_output_of_another_shape_are_not_compared() -> None:
    assert "output has shape (1, 2)" in str(independent(RIGHT_ALONE, {}, main=((0.0, 0.0),)).message)


def test_bits_of_positions_agree_where_those_of_all_do() -> None:
    assert independent(RIGHT_ALONE, {}).facts["bitwise"] is True
    assert independent({"first": [[-0.0]], "second": [[0.0]]}, {}).facts["bitwise"] is False


BUILT: dict[str, Answer] = {"sibling build": output([1.0]), "sibling output": output([1.0])}


@pytest.mark.parametrize("label", ["sibling build", "sibling output"])
@pytest.mark.parametrize("answer", [Unreached(because="x"), Declined(reason="x"), Malformed(message="x"), REFUSED])
def test_a_refusal_needs_a_sibling_that_is_accepted(label: str, answer: Answer) -> None:
    assert Refused().judge(subject({**BUILT, label: answer, "build": REFUSED})).outcome == "violates"


def test_a_refusal_may_come_at_inference_and_is_no_declining() -> None:
    assert Refused().judge(subject({**BUILT, "infer": REFUSED})).outcome == "conforms"
    declined = subject({**BUILT, "infer": Declined(reason="x"), "output": output([1.0])})
    assert Refused().judge(declined).outcome == "violates"


def test_a_call_back_into_the_adapter_is_no_frame_of_the_framework() -> None:
    back = replace(REFUSED, modules=("conformance.sandbox.execution", "keras.x", "conformance.adapters.keras.keras3"))
    assert Refused().judge(subject({**BUILT, "build": back})).outcome == "violates"


STACK = Case(input_shape=(2, 3), layers=(Layer(units=4), Layer(units=5)))


@pytest.mark.parametrize(
    ("shapes", "outcome"),
    [
        (((7, 2, 4), (7, 2, 5)), "conforms"),
        (((None, 2, 4), (None, 2, 5)), "violates"),
        (((7, 2, 3), (7, 2, 5)), "violates"),
    ],
)
def test_shapes_are_inferred_for_the_batch_and_of_every_layer(shapes: Any, outcome: str) -> None:
    probes = [Probe(step=InferShapes(label="infer", batch=7))]
    own = subject({"infer": Inferred(shapes=shapes)}, probes, case=STACK)
    assert OutputShape().judge(own).outcome == outcome


def test_the_shape_of_every_array_is_looked_at_and_not_its_rank() -> None:
    answers = {"first": output(np.zeros((7, 2, 5))), "second": output(np.zeros((7, 5, 2)))}
    right = {"first": (7, 2, 5), "second": (7, 5, 2)}

    def outcome(shapes: Mapping[str, tuple[int, ...]]) -> str:
        probes = outputs_of({label: reference_of(np.zeros(shape)) for label, shape in shapes.items()})
        return OutputShape().judge(subject(answers, probes, case=STACK)).outcome

    assert outcome(right) == "conforms"
    for wrong in ({**right, "first": (7, 5, 2)}, {**right, "second": (7, 2, 5)}):
        assert outcome(wrong) == "violates"


def parameter(layer: int, name: str, shape: tuple[int, ...]) -> Parameter:
    return Parameter(layer=layer, name=name, shape=shape, dtype="float32", trainable=True, reported=name)


WHOLE = (
    parameter(0, "kernel", (3, 4)),
    parameter(0, "bias", (4,)),
    parameter(1, "kernel", (4, 5)),
    parameter(1, "bias", (5,)),
)


@pytest.mark.parametrize(
    ("parameters", "own", "message"),
    [
        (WHOLE, 41, None),
        (WHOLE, 16, "the framework counts 16"),
        (WHOLE, 40, "the framework counts 40"),
        ((*WHOLE[:2], parameter(1, "kernel", (3, 5)), WHOLE[3]), None, "shape (3, 5)"),
        # An axis of 0 leaves the axes other than 1 in order and every parameter missing.
        ((*WHOLE, parameter(2, "bias", (0,))), None, "belongs to no layer"),
    ],
)
def test_every_layer_s_parameters_are_counted(
    parameters: tuple[Parameter, ...], own: int | None, message: str | None
) -> None:
    answers = {"parameters": Parameters(parameters=parameters, own_count=None if own is None else str(own))}
    finding = ParameterCounts().judge(subject(answers, case=STACK))
    assert finding.outcome == ("conforms" if message is None else "violates")
    assert message is None or message in str(finding.message)


def test_a_layer_without_bias_has_none_and_axes_of_one_may_come_and_go() -> None:
    case = Case(input_shape=(1,), layers=(Layer(units=4, use_bias=False),))
    for found, outcome in (
        ((parameter(0, "kernel", (4,)),), "conforms"),
        ((parameter(0, "kernel", (1, 4)),), "conforms"),
        ((parameter(0, "kernel", (1, 4)), parameter(0, "bias", (4,))), "violates"),
    ):
        answers = {"parameters": Parameters(parameters=found, own_count=None)}
        assert ParameterCounts().judge(subject(answers, case=case)).outcome == outcome


def outputs_as_answers(outputs: Mapping[str, object]) -> dict[str, Answer]:
    return {label: output(y, strides=(4,)) for label, y in outputs.items()}


@pytest.mark.parametrize("off", ["first", "second"])
def test_every_output_read_back_and_of_every_layout_is_looked_at(off: str) -> None:
    references = dict.fromkeys(("first", "second"), reference_of([1.0], 0.25))
    read_back = [ReadBackProbe(step=step(label), reference=each) for label, each in references.items()]
    other_layouts = [LayoutProbe(step=step(label), reference=each) for label, each in references.items()]
    for spoilt, outcome in (({}, "conforms"), ({off: [2.0]}, "violates")):
        answers = outputs_as_answers({"first": [1.0], "second": [1.25]} | spoilt)
        assert WeightsReadBack().judge(subject(answers, read_back)).outcome == outcome
        layouts = MemoryLayouts().judge(subject(answers, other_layouts))
        assert (layouts.outcome, layouts.facts["strides"]) == (outcome, {"first": (4,), "second": (4,)})


@pytest.mark.parametrize(
    ("outputs", "outcome"),
    [
        (([1.0], [2.0], [2.5], [0.5]), "conforms"),
        (([1.0], [2.0], [2.5], [0.25]), "violates"),
        (([1.0], [2.0], [2.25], [0.5]), "violates"),
        (([1.5], [2.0], [2.5], [0.5]), "violates"),
        (([1.0], [2.5], [2.5], [0.5]), "violates"),
        (([1.0], [2.0], [[2.5]], [0.5]), "violates"),
        (([1.0], [2.0], [3.0, 3.0], [0.0]), "violates"),
        (([1.0, 1.0], [2.0], [3.0, 3.0], [0.0]), "violates"),
    ],
)
def test_outputs_are_additive_in_all_four_or_not_at_all(outputs: tuple[object, ...], outcome: str) -> None:
    labels = ("output", "b", "c", "d")
    first, *others = map(reference_of, ([1.0], [2.0], [2.5], [0.5]))
    addend_probes = [AddendProbe(step=step(label), reference=each) for label, each in zip("bcd", others, strict=True)]
    probes = [*outputs_of({"output": first}), *addend_probes]
    assert (
        LinearInX().judge(subject(outputs_as_answers(dict(zip(labels, outputs, strict=True))), probes)).outcome
        == outcome
    )


@pytest.mark.parametrize(
    ("main", "permuted", "outcome"),
    [
        ([[[1.0], [2.0]]], [[[1.0]], [[2.0]]], "conforms"),
        ([[[1.0], [2.0]]], [[[1.0]], [[2.5]]], "conforms"),
        ([[[1.0], [2.0]]], [[[1.0]], [[2.75]]], "violates"),
        ([[[1.0], [2.0]]], [[[1.0], [2.0]]], "violates"),
        ([[1.0, 2.0]], [[[1.0]], [[2.0]]], "violates"),
    ],
)
def test_permuted_outputs_differ_by_both_bounds_at_most(main: object, permuted: object, outcome: str) -> None:
    answers = outputs_as_answers({"output": main, "permuted": permuted})
    order: Rearrangement = partial(np.transpose, axes=(1, 0, 2))
    probe = RearrangedProbe(step=step("permuted"), check="positions_permuted", move=order)
    probes = [*outputs_of({"output": reference_of([[[1.0], [2.0]]], 0.25)}), probe]
    assert PositionsPermuted().judge(subject(answers, probes)).outcome == outcome


@pytest.mark.parametrize("off", [None, "merged", "split"])
def test_every_output_of_rearranged_axes_is_looked_at(off: str | None) -> None:
    outputs: dict[str, object] = {"output": [[[1.0], [2.0]]], "merged": [[1.0], [2.0]], "split": [[[1.0]], [[2.0]]]}
    if off is not None:
        outputs[off] = -np.asarray(outputs[off])
    moves: dict[str, Rearrangement] = {
        "merged": partial(np.reshape, shape=(2, 1)),
        "split": partial(np.reshape, shape=(2, 1, 1)),
    }
    merged = [RearrangedProbe(step=step(label), check="axes_merged", move=move) for label, move in moves.items()]
    probes = [*outputs_of({"output": reference_of([[[1.0], [2.0]]], 0.25)}), *merged]
    found = AxesMerged().judge(subject(outputs_as_answers(outputs), probes))
    assert (found.outcome, found.where) == (("conforms", "merged") if off is None else ("violates", off))
