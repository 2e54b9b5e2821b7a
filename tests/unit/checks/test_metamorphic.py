"""Each relation finds the fault it is for, which the values alone would not show, and nothing in a right layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Stack
from conformance.checks.catalogue import CHECKS
from conformance.checks.cell import check_names
from conformance.checks.check import Check
from conformance.checks.linearity import AddendProbe, LinearInX, addends
from conformance.checks.memory_layouts import LayoutProbe
from conformance.checks.question import Setup
from conformance.checks.references import question
from conformance.checks.weights import ReadBackProbe
from conformance.reference.draw import Draw
from conformance.sandbox.steps import Build, Forward
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
from tests.support.verdicts import subject

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
    assert with_steps == {*FAULTS, "positions_independent", "state_independent", *LAYOUT_FAULTS}


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


def test_a_case_has_the_relations_that_apply_to_it() -> None:
    def requested(**fields: object) -> set[str]:
        return relations_of(replace(CASE, **fields))  # type: ignore[arg-type]

    assert requested() == set(RELATIONS)
    assert requested(lane="uniform") == set(RELATIONS) - {"linear_in_x"}
    assert requested(input_shape=(4, 5)) == set(RELATIONS) - {"positions_permuted"}
    assert requested(batch=(2, 3)) == requested(batch=None) == set(RELATIONS) - {"positions_permuted"}
    assert requested(input_shape=(0, 5)) == set()
    assert requested(feed_shape=(2, 3, 4, 5)) == set(RELATIONS) - {"positions_permuted", "axes_merged"}
    assert requested(layers=(Layer(units=6), Layer(units=2))) == set(RELATIONS) - {"weights_read_back"}
    assert requested(layers=(Layer(units=6, activation="relu"),)) == {
        "positions_permuted",
        "axes_merged",
        "memory_layouts",
    }
    assert requested(batch=0) == {"positions_permuted", "axes_merged"}
    assert requested(layout="strided") == set(RELATIONS) - {"memory_layouts"}
    assert requested(input_shape=(5,), batch=None) == {"weights_read_back", "linear_in_x"}
    assert set(check_names(CASE)) >= set(RELATIONS)


def test_a_layer_that_is_not_linear_spoils_a_stack_for_relations_of_linear_ones() -> None:
    stack = (Layer(units=6), Layer(units=2, activation="relu"))
    assert relations_of(replace(CASE, layers=stack)) == {"positions_permuted", "axes_merged", "memory_layouts"}


def test_every_unit_vector_zero_and_every_layout_have_a_step() -> None:
    requested = question(CASE, "cpu")
    assert [each.label for each in requested.of(ReadBackProbe)] == ["output, zero input", "output, one-hot input"]
    layouts = [each.label for each in requested.of(LayoutProbe)]
    assert layouts == [
        "output, transposed",
        "output, strided",
        "output, column_major",
        "output, padded",
        "output, unaligned",
        "output, broadcast",
    ]
    hot = next(each.x for each in requested.steps if isinstance(each, Forward) and "one-hot" in each.label).reshape(
        -1, 5
    )
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


def test_a_linear_layer_has_steps_for_x_its_signs_their_sum_and_zero() -> None:
    requested = question(CASE, "cpu")
    fed = {each.label: each.x for each in requested.steps if isinstance(each, Forward)}
    x, signs, together, nothing = (fed[label] for label in addends(requested.of(AddendProbe)))
    assert np.array_equal(signs, np.sign(x))
    assert np.array_equal(together, x + signs)
    assert not nothing.any()


def test_sums_that_would_be_rounded_are_not_checked_for_additivity() -> None:
    one = np.ones((1, 1), np.float32)
    case = Case(input_shape=(1,), layers=(Layer(units=1),), lane="exact", batch=1)
    stack = Stack(input_shape=(1,), leading_axes=1, dtype="float32", layers=())
    draw = Draw(name="", x=one, kernels=(one,), biases=(one[0],), dy=one, exact=True)
    for x, requested in ((one * 2.0**20, True), (one * (2.0**24 - 1), False)):
        setup = Setup(case=case, device="cpu", stack=stack, first=replace(draw, x=x), others=())
        assert bool([*LinearInX().steps(setup)]) is requested
    assert LinearInX().judge(subject({})).facts == {"asked": False}
