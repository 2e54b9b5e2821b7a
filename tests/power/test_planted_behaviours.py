"""
For each kind of `instead`: a layer that does what is declared diverges, one that is also wrong stays red.

The layers are in NumPy. Each does the declared thing; the faults planted beside it are 4 % off, off in one element,
keep old weights, or compute with operands of TF32. A layer that does as the rule says shows a behaviour to be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.checks.outcome import Verdict
from conformance.checks.references import question
from conformance.checks.verdict import Trial
from conformance.ledger.behaviour import Behaviour, Exactly, Instead, Refusal
from conformance.ledger.expectation import Conflict, check_agreement
from conformance.ledger.predicate import Predicate
from conformance.ledger.step import Surroundings
from conformance.reference.deviation import Deviation
from conformance.reference.formats import FORMATS
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Crash, Transcript
from conformance.table.case import Case, Data, Expect, Layer
from tests.support.faulty import Honest, NumPyAdapter, times

BFLOAT16 = FORMATS["bfloat16"].dtype
NAME = "tests.support.faulty"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A behaviour, a layer that shows it, and a case on which it is seen."""

    instead: Instead
    layer: type[Honest]
    case: Case
    when: Predicate = field(default_factory=Predicate)
    #: Whether no answer is as the rule and the behaviour both say.
    can_be_gone: bool = True
    #: Faults that are beyond what the behaviour leaves to be judged.
    unseen: tuple[str, ...] = ()


def case(dtype: str = "float32", lane: str = "uniform", activation: str = "linear", **fields: Any) -> Case:
    layers = (Layer(units=16, activation=activation),)
    return Case(**{"input_shape": (64,), "layers": layers, "dtype": dtype, "lane": lane, "batch": 8, **fields})


def of_deviation(**fields: Any) -> Instead:
    return Instead(deviation=Deviation(**fields))


class CastsInput(Honest):
    def entered(self, x: Array) -> Array:
        return x.astype(np.float32).astype(x.dtype)


class ComputesInFloat32(Honest):
    def entered(self, x: Array) -> Array:
        return x

    def product(self, x: Array, kernel: Array) -> Array:
        return self.operand(x.astype(np.float32)) @ self.operand(kernel.astype(np.float32))

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias.astype(np.float32)

    def upstream(self, dy: Array) -> Array:
        return dy.astype(np.float32)

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return self.operand(a.astype(np.float32).T) @ self.operand(dz)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return self.operand(dz) @ self.operand(kernel.astype(np.float32).T)

    def bias_gradient(self, dz: Array) -> Array:
        return dz.sum(axis=0)

    def differentiated(self, gradients: Gradients) -> Gradients:
        dx = None if gradients.dx is None else gradients.dx.astype(np.float32)
        return Gradients(dx=dx, layers=gradients.layers)


class ProductsInFloat32(Honest):
    def _times(self, left: Array, right: Array) -> Array:
        short = self.operand(left.astype(np.float32)), self.operand(right.astype(np.float32))
        return (short[0] @ short[1]).astype(np.float64)

    def product(self, x: Array, kernel: Array) -> Array:
        return self._times(x, kernel)

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return self._times(a.T, dz)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return self._times(dz, kernel.T)


class SumsBiasGradientInBfloat16(Honest):
    def bias_gradient(self, dz: Array) -> Array:
        total = np.zeros(dz.shape[1], BFLOAT16)
        for row in dz:
            total = (total.astype(np.float32) + row.astype(np.float32)).astype(BFLOAT16)
        return total


class RoundsEachProduct(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        products = x.astype(np.float32)[..., :, None] * kernel.astype(np.float32)
        return products.astype(BFLOAT16).astype(np.float32).sum(axis=-2).astype(BFLOAT16)


class RoundsTowardZero(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        exact = x.astype(np.float32) @ kernel.astype(np.float32)
        cut = (exact.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return cut.astype(BFLOAT16)


class LosesBias(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        return p


class ClipsInfinities(Honest):
    def used(self, stack: Stack) -> Stack:
        largest = np.finfo(np.float32).max

        def clipped(weight: Array | None) -> Array | None:
            return None if weight is None else np.where(np.isinf(weight), np.copysign(largest, weight), weight)

        layers = tuple(replace(each, kernel=clipped(each.kernel), bias=clipped(each.bias)) for each in stack.layers)
        return replace(stack, layers=layers)


class ReadsBitsAsIntegers(Honest):
    def entered(self, x: Array) -> Array:
        return np.ascontiguousarray(x).view(np.int16).astype(np.float16)


class MultipliesPadding(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        p = times(x, kernel)
        if x.shape[-1] % 2:
            p[~np.isfinite(x[..., -1].astype(np.float32))] = np.nan
        return p

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        gradient = super().kernel_gradient(a, dz)
        if len(a) % 2:
            gradient[~np.isfinite(a[-1].astype(np.float32))] = np.nan
        return gradient


class MultipliesPaddingOfPositions(Honest):
    """Of samples of 2 positions: the gradient of the kernel is a sum over samples for each of them."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        gradient = super().kernel_gradient(a, dz)
        gradient[~np.isfinite(a[-2:].astype(np.float32)).all(axis=0)] = np.nan
        return gradient


class LeakySlopeOfFloat32(Honest):
    slope = float(np.float32(0.01))

    def activated(self, activation: str, z: Array) -> Array:
        return np.where(z > 0, z, self.slope * z)

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * np.where(z > 0, 1.0, self.slope)


class SoftplusLinearFrom20(Honest):
    def activated(self, activation: str, z: Array) -> Array:
        return np.where(z > 20.0, z, np.log1p(np.exp(np.minimum(z, 20.0))))

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * np.where(z > 20.0, 1.0, 1.0 / (1.0 + np.exp(-np.minimum(z, 20.0))))


class TanhOfFewDigits(Honest):
    def activated(self, activation: str, z: Array) -> Array:
        return np.tanh(z) * np.float32(1 + 40 * 2.0**-24)


class OutputOfFloat64(Honest):
    def output(self, y: Array) -> Array:
        return y.astype(np.float64)


class ShapeOfInput(Honest):
    def output(self, y: Array) -> Array:
        return np.zeros((*y.shape[:-1], 0), y.dtype)


class InfersReversed(Honest):
    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], *reversed(shape[1:-1]), shape[-1]) for shape in shapes]


class ParametersOfFloat32(Honest):
    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, dtype="float32") for each in parameters]


class UndefinedOutput(Honest):
    def output(self, y: Array) -> Array:
        return np.full_like(y, 12345)


class Refuses(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        raise ValueError("got 8 samples where at most 7 are taken")


class OneElement(Honest):
    """One element of the first step that computes."""

    def __init__(self) -> None:
        self.calls = 0

    def output(self, y: Array) -> Array:
        self.calls += 1
        if self.calls > 1:
            return y
        y = y.copy()
        y[0, 3] = 2.0
        return y


SPECIAL = case("float32", "special", batch=4, expect=Expect(nonfinite=True))
PLANTED: dict[str, Planted] = {
    "casts": Planted(instead=of_deviation(casts={"x": "float32"}), layer=CastsInput, case=case("float64")),
    "computes_in": Planted(
        instead=Instead(
            deviation=Deviation(computes_in="float32"),
            dtypes={"output": "float32", "dx": "float32", "weights": "float32"},
        ),
        layer=ComputesInFloat32,
        case=case("float64"),
    ),
    "products_in": Planted(
        # The bound of a sum in float32 has room for what float64 gives.
        instead=of_deviation(products_in="float32"),
        layer=ProductsInFloat32,
        case=case("float64"),
        can_be_gone=False,
    ),
    "sums_in": Planted(
        instead=of_deviation(sums_in={"db": "bfloat16"}),
        layer=SumsBiasGradientInBfloat16,
        case=case("bfloat16", batch=256),
        can_be_gone=False,
    ),
    "rounds_each_product": Planted(
        instead=of_deviation(rounds_each_product=frozenset({"output"})),
        layer=RoundsEachProduct,
        case=case("bfloat16", input_shape=(256,), batch=64),
        can_be_gone=False,
    ),
    "rounds_toward_zero": Planted(
        instead=of_deviation(rounds_toward_zero=frozenset({"output"})),
        layer=RoundsTowardZero,
        case=case("bfloat16", batch=64),
        can_be_gone=False,
    ),
    "loses_bias": Planted(instead=of_deviation(loses_bias=True), layer=LosesBias, case=case(lane="exact")),
    "clips_infinities": Planted(instead=of_deviation(clips_infinities=True), layer=ClipsInfinities, case=SPECIAL),
    "reads_bits_as_integers": Planted(
        instead=of_deviation(reads_bits_as_integers=True),
        layer=ReadsBitsAsIntegers,
        case=case("float16", input_shape=(3,), checks=("output",)),
    ),
    "multiplies_padding": Planted(
        instead=of_deviation(multiplies_padding="last_term"),
        layer=MultipliesPadding,
        case=case("bfloat16", "special", input_shape=(1,), batch=4, expect=SPECIAL.expect),
    ),
    "multiplies_padding, gradients": Planted(
        instead=of_deviation(multiplies_padding="last_term"),
        layer=MultipliesPadding,
        case=case("bfloat16", "special", input_shape=(2,), batch=3, expect=SPECIAL.expect),
    ),
    "multiplies_padding, each position": Planted(
        instead=of_deviation(multiplies_padding="last_sample"),
        layer=MultipliesPaddingOfPositions,
        case=case("bfloat16", "special", input_shape=(2, 2), batch=1, expect=SPECIAL.expect),
    ),
    "constants": Planted(
        instead=of_deviation(constants={"slope": float(np.float32(0.01))}),
        layer=LeakySlopeOfFloat32,
        case=case("float64", activation="leaky_relu"),
    ),
    "formula": Planted(
        instead=of_deviation(formula="linear_from_20"),
        layer=SoftplusLinearFrom20,
        case=case("float64", "wide", activation="softplus"),
        # Of numbers so far apart one small one of many may be lost within the bound.
    ),
    "error": Planted(
        instead=of_deviation(error={"relative": 64.0}),
        layer=TanhOfFewDigits,
        case=case(activation="tanh", checks=("output",)),
        can_be_gone=False,
    ),
    "dtypes": Planted(instead=Instead(dtypes={"output": "float64"}), layer=OutputOfFloat64, case=case()),
    "dtypes of parameters": Planted(
        instead=Instead(dtypes={"parameters": "float32"}), layer=ParametersOfFloat32, case=case("float64")
    ),
    "infers": Planted(
        instead=Instead(infers="reversed_positions"), layer=InfersReversed, case=case(input_shape=(2, 3, 64))
    ),
    "undefined": Planted(
        instead=Instead(undefined=frozenset({"output"})),
        layer=UndefinedOutput,
        case=case(checks=("output", "gradients", "weights_live")),
        can_be_gone=False,
        unseen=("one element",),
    ),
    "refuses": Planted(
        instead=Instead(refuses=Refusal(type="ValueError", message=("got", "samples where"))),
        layer=Refuses,
        case=case(),
        when=Predicate(step={"call": ["forward", "gradient"]}),
        unseen=("4 % off", "one element", "old weights"),
    ),
    "exactly": Planted(
        instead=Instead(exactly=Exactly(case="64-16-batch8-uniform", step="output", elements={(0, 3): 2.0})),
        layer=OneElement,
        case=case(),
    ),
}
FAULTS = ("4 % off", "one element", "old weights")


def faulty(layer: type[Honest], fault: str) -> type[Honest]:
    """Return a layer that does what another does and is also wrong."""

    class Wrong(layer):  # type: ignore[misc, valid-type]
        def output(self, y: Array) -> Array:
            y = super().output(y)
            if fault == "4 % off":
                return (y.astype(np.float64) * 1.04).astype(y.dtype)
            if fault == "one element" and y.size:
                y = y.copy()
                y.flat[y.size // 2] += np.asarray(3.0 + abs(float(y.flat[y.size // 2])), y.dtype)
            return y

        def differentiated(self, gradients: Gradients) -> Gradients:
            gradients = super().differentiated(gradients)
            if fault != "4 % off":
                return gradients
            layers = tuple((dkernel * dkernel.dtype.type(1.04), dbias) for dkernel, dbias in gradients.layers)
            return Gradients(dx=gradients.dx, layers=layers)

        def replaced(self, old: Stack, new: Stack) -> Stack:
            return old if fault == "old weights" else new

        def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
            return super().shapes(shapes, stack)

    return Wrong


def tried(
    planted: Planted,
    layer: type[Honest],
    behaviours: Sequence[Behaviour],
    sees: Callable[[Transcript], Transcript] = lambda each: each,
) -> Verdict:
    """Return what becomes of a layer's answers under behaviours; `sees` changes what came of the question."""
    cell = Cell(
        case=planted.case,
        implementation=Implementation(name=NAME, adapter="tests.support.faulty:Exact", packages=("tests",)),
        device="cpu",
    )
    asked = question(planted.case, "cpu")
    replies = {reply.label: reply for reply in perform(NumPyAdapter(layer()), asked.steps)}
    transcript = sees(Transcript(replies=replies))
    return Trial(cell, asked, transcript, behaviours, Surroundings(device="cpu")).verdict()


def behaviour(planted: Planted, **fields: Any) -> Behaviour:
    return Behaviour(
        id="declared",
        implementations=(NAME,),
        when=planted.when,
        instead=planted.instead,
        kind="bug",
        why="A fact.",
        evidence="A reproducer.",
        file="cases/divergences/x.yaml",
        line=3,
        **fields,
    )


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_declared_diverges_and_is_red_without_the_ledger(name: str) -> None:
    planted = PLANTED[name]
    declared = tried(planted, planted.layer, [behaviour(planted)])
    assert (declared.outcome, declared.behaviours) == ("diverges", ("declared",)), declared.checks
    assert tried(planted, planted.layer, []).outcome == "violates"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_declared_and_also_wrong_is_red(name: str, fault: str) -> None:
    planted = PLANTED[name]
    if fault in planted.unseen:
        return
    wrong = tried(planted, faulty(planted.layer, fault), [behaviour(planted)])
    assert wrong.outcome == "violates", wrong.checks


@pytest.mark.parametrize("name", PLANTED)
def test_what_does_as_the_rule_says_shows_a_behaviour_to_be_gone(name: str) -> None:
    planted = PLANTED[name]
    honest = tried(planted, Honest, [behaviour(planted)])
    assert honest.outcome == "conforms", honest.checks
    assert [each["id"] for each in honest.gone] == (["declared"] if planted.can_be_gone else [])


@pytest.mark.parametrize("name", PLANTED)
def test_what_holds_sometimes_is_never_gone_and_never_excuses_what_is_wrong(name: str) -> None:
    planted = PLANTED[name]
    sometimes = [behaviour(planted, sometimes="kernel choice")]
    assert tried(planted, Honest, sometimes).gone == ()
    assert tried(planted, planted.layer, sometimes).outcome == "diverges"
    for fault in (each for each in FAULTS if each not in planted.unseen):
        assert tried(planted, faulty(planted.layer, fault), sometimes).outcome == "violates", fault


class OfTf32:
    """Operands with 10 bits after the first."""

    def operand(self, x: Array) -> Array:
        return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) if x.dtype == np.float32 else x


@pytest.mark.parametrize("name", ["computes_in", "products_in"])
def test_tf32_in_place_of_the_float32_that_is_declared_is_red(name: str) -> None:
    planted = PLANTED[name]
    wrong = type("Tf32", (OfTf32, planted.layer), {})
    assert tried(planted, wrong, [behaviour(planted)]).outcome == "violates"


WIDENING = [name for name, each in PLANTED.items() if each.instead.widens_only and name != "undefined"]


@pytest.mark.parametrize("name", [each for each in WIDENING if each != "error"])
def test_a_behaviour_that_only_widens_leaves_the_exact_lane_exact(name: str) -> None:
    planted = PLANTED[name]
    exact = replace(planted, case=replace(planted.case, lane="exact", batch=8, input_shape=(8,)))
    assert tried(exact, planted.layer, [behaviour(exact)]).outcome == "conforms"

    class LastBit(planted.layer):  # type: ignore[misc, name-defined]
        def output(self, y: Array) -> Array:
            y = super().output(y).copy()
            y.flat[0] += np.asarray(2.0**-6, y.dtype)
            return y

    assert tried(exact, LastBit, [behaviour(exact)]).outcome == "violates"


SHAPED = Planted(
    instead=Instead(shape="fed"),
    layer=ShapeOfInput,
    case=case(
        lane="exact",
        input_shape=(0,),
        layers=(Layer(units=3),),
        batch=2,
        checks=("output_shape", "output", "gradients"),
    ),
    when=Predicate(step={"call": "forward"}),
)


def test_a_declared_shape_is_that_of_the_input() -> None:
    assert tried(SHAPED, ShapeOfInput, [behaviour(SHAPED)]).outcome == "diverges"
    assert [each["id"] for each in tried(SHAPED, Honest, [behaviour(SHAPED)]).gone] == ["declared"]

    class OtherShape(Honest):
        def output(self, y: Array) -> Array:
            return np.zeros((*y.shape[:-1], 1), y.dtype)

    assert tried(SHAPED, OtherShape, [behaviour(SHAPED)]).outcome == "violates"


def ended(label: str, signal: str) -> Callable[[Transcript], Transcript]:
    """Return what came of a question whose process ended at a step."""

    def sees(transcript: Transcript) -> Transcript:
        labels = list(transcript.replies)
        kept = {each: transcript.replies[each] for each in labels[: labels.index(label)]}
        crash = Crash(label=label, reason=f"ended by signal {signal}", stderr="")
        return Transcript(replies=kept, crash=crash)

    return sees


CRASHING = Planted(
    instead=Instead(crashes=("SIGABRT",)), layer=Honest, case=case(), when=Predicate(step={"call": "forward"})
)


def test_a_crash_diverges_at_a_step_and_by_a_signal_that_are_declared() -> None:
    declared = [behaviour(CRASHING)]
    assert tried(CRASHING, Honest, declared, ended("output", "SIGABRT")).outcome == "diverges"
    assert tried(CRASHING, Honest, declared, ended("output", "SIGSEGV")).outcome == "crashed"
    assert tried(CRASHING, Honest, declared, ended("build", "SIGABRT")).outcome == "crashed"
    assert tried(CRASHING, Honest, [], ended("output", "SIGABRT")).outcome == "crashed"
    assert [each["id"] for each in tried(CRASHING, Honest, declared).gone] == ["declared"]


def test_a_crash_that_is_declared_hides_no_answer_that_came_before_it() -> None:
    later = replace(CRASHING, when=Predicate(step={"call": "gradient"}))

    class Wrong(Honest):
        def output(self, y: Array) -> Array:
            return np.full_like(y, 12345)

    assert tried(later, Honest, [behaviour(later)], ended("gradients", "SIGABRT")).outcome == "diverges"
    assert tried(later, Wrong, [behaviour(later)], ended("gradients", "SIGABRT")).outcome == "violates"


def test_a_refusal_at_another_step_or_in_other_words_is_red() -> None:
    planted = PLANTED["refuses"]
    other = replace(planted, instead=Instead(refuses=Refusal(type="ValueError", message=("samples where", "got"))))
    assert tried(planted, Refuses, [behaviour(other)]).outcome == "violates"
    build = replace(planted, when=Predicate(step={"call": "build"}))
    assert tried(planted, Refuses, [behaviour(build)]).outcome == "violates"


class Broadcasts(Honest):
    def entered(self, x: Array) -> Array:
        return np.broadcast_to(x, (*x.shape[:-1], 5))


class DropsLastAxis(Honest):
    def entered(self, x: Array) -> Array:
        return x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x


class AddsLastAxis(Honest):
    def entered(self, x: Array) -> Array:
        return x[..., None] if x.ndim == 2 else x


class TruncatesUnits(Honest):
    def built(self, stack: Stack) -> Stack:
        layers = tuple(
            replace(
                each,
                units=int(each.units),
                kernel=np.zeros((4, int(each.units)), np.float32),
                bias=np.zeros(int(each.units), np.float32),
            )
            if isinstance(each.units, float)
            else each
            for each in stack.layers
        )
        return replace(stack, layers=layers)


def _misfed(input_shape: tuple[int, ...], fed: tuple[int, ...]) -> Case:
    layers = (Layer(units=3),)
    return Case(input_shape=input_shape, layers=layers, feed_shape=fed, lane="uniform", expect=Expect(error=True))


ACCEPTED: dict[str, Planted] = {
    "squeeze": Planted(
        instead=Instead(accepts="squeeze"),
        layer=DropsLastAxis,
        case=_misfed((5,), (2, 5, 1)),
        when=Predicate(step={"call": "forward"}, fed={"extra_axes": 1}),
    ),
    "expand": Planted(
        instead=Instead(accepts="expand"),
        layer=AddsLastAxis,
        case=_misfed((5, 1), (2, 5)),
        when=Predicate(step={"call": "forward"}, fed={"extra_axes": -1}),
    ),
    "broadcast": Planted(
        instead=Instead(accepts="broadcast"),
        layer=Broadcasts,
        case=_misfed((5,), (2, 1)),
        when=Predicate(step={"call": "forward"}, fed={"features": 1}),
    ),
    "int_units": Planted(
        instead=Instead(accepts="int_units"),
        layer=TruncatesUnits,
        case=Case(input_shape=(4,), layers=(Layer(units=2.5),), lane="uniform", expect=Expect(error=True)),
        when=Predicate(step={"call": "forward"}, layers={"units": 2.5}),
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_as_declared_diverges(name: str) -> None:
    planted = ACCEPTED[name]
    assert tried(planted, planted.layer, [behaviour(planted)]).outcome == "diverges"
    assert tried(planted, planted.layer, []).outcome == "violates"

    class OfAnotherDtype(planted.layer):  # type: ignore[misc, name-defined]
        def output(self, y: Array) -> Array:
            return super().output(y).astype(np.float64)

    assert tried(planted, OfAnotherDtype, [behaviour(planted)]).outcome == "violates"


@pytest.mark.parametrize("name", ["broadcast", "squeeze", "expand"])
def test_values_of_what_is_accepted_are_judged_where_the_model_has_weights(name: str) -> None:
    planted = ACCEPTED[name]
    assert tried(planted, faulty(planted.layer, "4 % off"), [behaviour(planted)]).outcome == "violates"


def test_the_layers_own_dtype_is_a_dtype_of_sums() -> None:
    planted = replace(PLANTED["sums_in"], instead=of_deviation(sums_in={"db": "own"}))
    for deviates in (True, False):
        layer = planted.layer if deviates else faulty(planted.layer, "4 % off")
        assert (tried(planted, layer, [behaviour(planted)]).outcome == "diverges") is deviates


def test_two_behaviours_of_one_step_are_applied_together() -> None:
    planted = PLANTED["products_in"]
    bias = replace(PLANTED["loses_bias"], case=planted.case)

    class Both(ProductsInFloat32, LosesBias):
        pass

    both = [behaviour(planted), replace(behaviour(bias), id="other")]
    found = tried(planted, Both, both)
    assert (found.outcome, set(found.behaviours)) == ("diverges", {"declared", "other"})
    assert tried(planted, Both, both[:1]).outcome == tried(planted, Both, both[1:]).outcome == "violates"


def test_an_element_that_may_overflow_is_not_judged_and_is_counted() -> None:
    planted = PLANTED["reads_bits_as_integers"]
    data = Data(x=-1.0, kernels=(64.0,), biases=(0.0,))
    overflowing = replace(planted, case=replace(planted.case, lane="literal", data=data))
    found = tried(overflowing, ReadsBitsAsIntegers, [behaviour(overflowing)])
    assert found.outcome == "diverges"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (of_deviation(products_in="float32"), of_deviation(products_in="float16"), "products_in"),
        (of_deviation(sums_in={"db": "float32"}), of_deviation(sums_in={"db": "float16"}), "sums_in.db"),
        (Instead(dtypes={"dx": "float32"}), Instead(dtypes={"dx": "float16"}), "dtypes.dx"),
        (Instead(infers="fed"), Instead(infers="reversed_positions"), "infers"),
        (Instead(accepts="flatten"), Instead(accepts="squeeze"), "accepts"),
        (Instead(crashes=("SIGABRT",)), Instead(crashes=("SIGSEGV",)), "crashes"),
    ],
)
def test_two_behaviours_that_contradict_each_other_cannot_be_applied_together(
    one: Instead, other: Instead, said: str
) -> None:
    planted = PLANTED["products_in"]
    layer = frozenset({0})
    pair = [(replace(behaviour(planted), id=name, instead=each), layer) for name, each in (("a", one), ("b", other))]
    with pytest.raises(Conflict, match=f"^a and b both set {said}, to different values$"):
        check_agreement(pair, 1, "float16")
    check_agreement([pair[0], pair[0]], 1, "float16")
