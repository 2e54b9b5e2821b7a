"""Each relation finds the fault it is for, which the values alone would not show, and nothing in a right layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Stack
from conformance.checks.catalogue import CHECKS
from conformance.checks.cell import check_names
from conformance.checks.check import Check
from conformance.checks.enclosures import Rearrangement
from conformance.checks.linearity import AddendProbe, LinearInX, addends
from conformance.checks.memory_layouts import LayoutProbe, MemoryLayouts
from conformance.checks.question import Setup
from conformance.checks.rearrangement import AxesMerged, PositionsPermuted, RearrangedProbe
from conformance.checks.references import question
from conformance.checks.weights import ReadBackProbe, WeightsReadBack
from conformance.reference.draw import Draw
from conformance.sandbox.steps import Answer, Build, Forward
from conformance.table.case import Case, Layer
from tests.power.faults.layouts import (
    ForgetsThatTheFirstWeightsReturned,
    ReadsBiasesInMemoryOrder,
    ReadsGradientsInMemoryOrder,
    ReadsKernelsInMemoryOrder,
    RefusesExpandedGradients,
    SkipsAlongStridedGradients,
)
from tests.support import verdicts
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import output, outputs_of, reference_of, step, subject

CASE = Case(input_shape=(3, 4, 5), layers=(Layer(units=6),), lane="exact")


class NoBiasOnZeros(Honest):
    """Takes a zero input for no input at all."""

    def product(self, x: Array, kernel: Array) -> Array:
        self.zeros = not x.any()
        return x @ kernel

    def biased(self, p: Array, bias: Array) -> Array:
        return p if self.zeros else p + bias


class OffForEvenInputs(Honest):
    """Is right for the inputs it is asked first, and not additive."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = x @ kernel
        return y + 1 if x.size and np.abs(x).max() == 1 and np.abs(x).sum(axis=-1).min() > 1 else y


class CountsAxes(Honest):
    """Treats the second axis as special where it is not the one it was first built with."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = x @ kernel
        return y + 1 if x.ndim > 3 and x.shape[1] == 4 else y


class CountsPositions(Honest):
    """Has room for so many positions on an axis, and begins again at the first where there are more."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = x @ kernel
        return y[:, np.arange(y.shape[1]) % 8] if y.ndim == 3 else y


class SqueezesOnes(Honest):
    """Takes an inner axis of one for no axis."""

    def output(self, y: Array) -> Array:
        return y.squeeze(1) if y.ndim > 2 and y.shape[1] == 1 else y


class SkipsStrideOfZero(Honest):
    """Goes on to the next sample by the stride, and stops where that leads nowhere."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = x @ kernel
        if x.ndim > 1 and x.strides[0] == 0:
            y[1:] = 0
        return y


class IgnoresStrides(Honest):
    """Reads memory from the first element on, whatever the strides."""

    def product(self, x: Array, kernel: Array) -> Array:
        if not x.flags.c_contiguous and isinstance(x.base, np.ndarray):
            flat = np.asarray(x.base).reshape(-1).view(x.dtype)[: x.size]
            return flat.reshape(x.shape) @ kernel
        return x @ kernel


FAULTS = {
    "weights_read_back": NoBiasOnZeros,
    "linear_in_x": OffForEvenInputs,
    "positions_permuted": CountsAxes,
    "axes_merged": CountsPositions,
    "memory_layouts": IgnoresStrides,
}


RELATIONS = tuple(FAULTS)
#: What only steps whose dy or weights lie elsewhere in memory show, by the check that has these steps.
LAYOUT_FAULTS: dict[str, tuple[type[Honest], ...]] = {
    "gradients": (RefusesExpandedGradients, ReadsGradientsInMemoryOrder, SkipsAlongStridedGradients),
    "weights_live": (ReadsKernelsInMemoryOrder, ReadsBiasesInMemoryOrder, ForgetsThatTheFirstWeightsReturned),
}


def red(fault: Honest, case: Case = CASE) -> set[str]:
    return verdicts.red(case, verdicts.answers_of(NumPyAdapter(fault), question(case, "cpu")))


def relations_of(case: Case) -> set[str]:
    return set(check_names(case)) & set(RELATIONS)


def test_every_check_with_steps_of_its_own_has_its_fault() -> None:
    with_steps = {each.name for each in CHECKS if type(each).steps is not Check.steps}
    assert with_steps == {*FAULTS, "positions_independent", *LAYOUT_FAULTS}


@pytest.mark.parametrize("lane", ["exact", "uniform"])
def test_a_right_layer_satisfies_every_relation(lane: str) -> None:
    assert red(Honest(), replace(CASE, lane=lane)) == set()


@pytest.mark.parametrize("check", RELATIONS)
def test_a_fault_the_values_do_not_show_is_found_by_its_relation(check: str) -> None:
    assert check in red(FAULTS[check]())
    assert "output" not in red(FAULTS[check]())


@pytest.mark.parametrize(
    ("fault", "check"), [(CountsPositions, "axes_merged"), (SqueezesOnes, "axes_merged")], ids=["merged", "split"]
)
def test_a_fault_that_hangs_on_the_number_of_axes_shows_in_other_shapes_alone(fault: type[Honest], check: str) -> None:
    assert red(fault()) == {check}


def test_a_fault_of_a_stride_of_zero_shows_where_one_sample_is_broadcast() -> None:
    assert red(SkipsStrideOfZero()) == {"memory_layouts"}
    assert red(SkipsStrideOfZero(), replace(CASE, batch=1)) == set()


@pytest.mark.parametrize("lane", ["exact", "uniform"])
@pytest.mark.parametrize(("check", "fault"), [(name, each) for name, kinds in LAYOUT_FAULTS.items() for each in kinds])
def test_a_fault_in_reading_gradients_or_weights_shows_in_other_layouts(
    check: str, fault: type[Honest], lane: str
) -> None:
    """Values of the first draw with arrays in row-major order show none of these."""
    found = red(fault(), replace(CASE, lane=lane))
    assert check in found
    assert not {"repeatable", "weights_read_back"} & found


def test_gradients_of_many_positions_are_not_summed_over_ones() -> None:
    def expanded(positions: int, **fields: object) -> bool:
        case = replace(CASE, input_shape=(positions, 5), batch=1, **fields)  # type: ignore[arg-type]
        return "gradients, dy expanded" in [each.label for each in question(case, "cpu").steps]

    assert expanded(4096)
    assert not expanded(4097)
    assert not expanded(4, lane="wide")
    assert not expanded(4, layout="strided")


def test_a_case_is_asked_the_relations_that_make_sense_for_it() -> None:
    def asked(**fields: object) -> set[str]:
        return relations_of(replace(CASE, **fields))  # type: ignore[arg-type]

    assert asked() == set(RELATIONS)
    assert asked(lane="uniform") == set(RELATIONS) - {"linear_in_x"}
    assert asked(input_shape=(4, 5)) == set(RELATIONS) - {"positions_permuted"}
    assert asked(batch=(2, 3)) == asked(batch=None) == set(RELATIONS) - {"positions_permuted"}
    assert asked(input_shape=(0, 5)) == set()
    assert asked(feed_shape=(2, 3, 4, 5)) == set(RELATIONS) - {"positions_permuted", "axes_merged"}
    assert asked(layers=(Layer(units=6), Layer(units=2))) == set(RELATIONS) - {"weights_read_back"}
    assert asked(layers=(Layer(units=6, activation="relu"),)) == {"positions_permuted", "axes_merged", "memory_layouts"}
    assert asked(batch=0) == {"positions_permuted", "axes_merged"}
    assert asked(layout="strided") == set(RELATIONS) - {"memory_layouts"}
    assert asked(input_shape=(5,), batch=None) == {"weights_read_back", "linear_in_x"}
    assert set(check_names(CASE)) >= set(RELATIONS)


def test_a_layer_that_is_not_linear_spoils_a_stack_for_relations_of_linear_ones() -> None:
    stack = (Layer(units=6), Layer(units=2, activation="relu"))
    assert relations_of(replace(CASE, layers=stack)) == {"positions_permuted", "axes_merged", "memory_layouts"}


def test_every_unit_vector_is_asked_beside_zero_and_every_layout() -> None:
    asked = question(CASE, "cpu")
    assert [each.label for each in asked.of(ReadBackProbe)] == ["output, zero input", "output, one-hot input"]
    layouts = [each.label for each in asked.of(LayoutProbe)]
    assert layouts == [
        "output, transposed",
        "output, strided",
        "output, column_major",
        "output, padded",
        "output, unaligned",
        "output, broadcast",
    ]
    hot = next(each.x for each in asked.steps if isinstance(each, Forward) and "one-hot" in each.label).reshape(-1, 5)
    assert np.array_equal(hot[:5], np.eye(5))


def built(**fields: object) -> dict[str, tuple[int | None, ...]]:
    """Return what the models of rearranged axes are built for, by their names."""
    steps = question(replace(CASE, **fields), "cpu").steps  # type: ignore[arg-type]
    models = {each.model: each.stack.input_shape for each in steps if isinstance(each, Build)}
    return {name: shape for name, shape in models.items() if name not in ("main", "alone")}


def test_axes_are_rearranged_where_they_can_be() -> None:
    assert built() == {"permuted": (4, 3, 5), "merged": (12, 5), "split": (1, 3, 4, 5)}
    assert built(input_shape=(5,)) == {}
    for axis, split in {0: None, 1: (1, 1), 2: (1, 2), 4: (2, 2), 7: (1, 7), 9: (3, 3), 15: (3, 5)}.items():
        assert built(input_shape=(axis, 5)) == ({} if split is None else {"split": (*split, 5)})
    assert built(input_shape=(2, 1, 3, 5)) == {"permuted": (3, 1, 2, 5), "merged": (6, 5)}
    assert built(input_shape=(0, 3, 5)) == {"permuted": (3, 0, 5), "merged": (0, 5)}
    assert built(input_shape=(4, 5), batch=None) == built(input_shape=(4, 5), batch=(2, 3)) == {"split": (2, 2, 5)}
    assert built(input_shape=(None, 4, 5)) == {"permuted": (4, None, 5)}
    assert built(feed_shape=(2, 3, 4, 5)) == {}


def test_axes_are_split_as_far_as_anyone_takes_so_many() -> None:
    assert "split" in built(batch=(1,) * 4)
    assert "split" not in built(batch=(1,) * 5)
    softmax = (Layer(units=6, activation="log_softmax"), Layer(units=2))
    assert "split" in built(layers=softmax, lane="uniform")
    assert "split" not in built(layers=softmax, lane="uniform", batch=(1, 2))


def test_one_sample_is_broadcast_where_there_are_others() -> None:
    def fed(**fields: object) -> list[Array]:
        steps = question(replace(CASE, **fields), "cpu").steps  # type: ignore[arg-type]
        return [each.x for each in steps if isinstance(each, Forward) and each.layout == "broadcast"]

    (x,) = fed()
    assert x.shape == (2, 3, 4, 5)
    assert np.array_equal(x[0], x[1])
    assert len(fed(input_shape=(3, 5), batch=None)) == 1
    assert fed(batch=1) == fed(batch=0) == fed(layout="strided") == fed(input_shape=(5,), batch=None) == []


def test_equal_samples_have_no_statistical_bound() -> None:
    asked = question(replace(CASE, input_shape=(32,), layers=(Layer(units=40),), lane="uniform"), "cpu")
    broadcast = asked.by_label["output, broadcast"].reference
    assert asked.main is not None
    assert broadcast is not None
    assert asked.main.y.joint is not None
    assert broadcast.y.joint is None


def test_a_linear_layer_is_asked_for_x_its_signs_their_sum_and_nothing() -> None:
    asked = question(CASE, "cpu")
    fed = {each.label: each.x for each in asked.steps if isinstance(each, Forward)}
    x, signs, together, nothing = (fed[label] for label in addends(asked.of(AddendProbe)))
    assert np.array_equal(signs, np.sign(x))
    assert np.array_equal(together, x + signs)
    assert not nothing.any()


def test_sums_that_would_be_rounded_are_not_asked_to_be_additive() -> None:
    one = np.ones((1, 1), np.float32)
    case = Case(input_shape=(1,), layers=(Layer(units=1),), lane="exact", batch=1)
    stack = Stack(input_shape=(1,), leading_axes=1, dtype="float32", layers=())
    draw = Draw(name="", x=one, kernels=(one,), biases=(one[0],), dy=one, exact=True)
    for x, asked in ((one * 2.0**20, True), (one * (2.0**24 - 1), False)):
        setup = Setup(case=case, device="cpu", stack=stack, first=replace(draw, x=x), others=())
        assert bool([*LinearInX().steps(setup)]) is asked
    assert LinearInX().judge(subject({})).facts == {"asked": False}


def answers_of(outputs: Mapping[str, object]) -> dict[str, Answer]:
    return {label: output(y, strides=(4,)) for label, y in outputs.items()}


@pytest.mark.parametrize("off", ["first", "second"])
def test_every_output_read_back_and_of_every_layout_is_looked_at(off: str) -> None:
    references = dict.fromkeys(("first", "second"), reference_of([1.0], 0.25))
    read_back = [ReadBackProbe(step=step(label), reference=each) for label, each in references.items()]
    other_layouts = [LayoutProbe(step=step(label), reference=each) for label, each in references.items()]
    for spoilt, outcome in (({}, "conforms"), ({off: [2.0]}, "violates")):
        answers = answers_of({"first": [1.0], "second": [1.25]} | spoilt)
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
    assert LinearInX().judge(subject(answers_of(dict(zip(labels, outputs, strict=True))), probes)).outcome == outcome


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
    answers = answers_of({"output": main, "permuted": permuted})
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
    found = AxesMerged().judge(subject(answers_of(outputs), probes))
    assert (found.outcome, found.where) == (("conforms", "merged") if off is None else ("violates", off))
