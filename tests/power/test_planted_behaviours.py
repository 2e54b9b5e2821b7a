"""
For each kind of `instead`, a layer that does what is declared diverges, and a layer that is also wrong is red.

The layers of `planted_behaviours` are in NumPy. A layer that is also wrong is 4 % off, off in one element, ignores new
weights, or computes with operands of TF32. A layer that follows the rule shows a behaviour to be gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Stack
from conformance.ledger.behaviour import Instead, Refusal
from conformance.ledger.expectation import Conflict, check_agreement
from conformance.ledger.predicate import Predicate
from conformance.sandbox.steps import Crash, Transcript
from conformance.table.case import Case, Data, Expect, Layer
from tests.power.behaviour_layers import LosesBias, ProductsInFloat32, ReadsBitsAsIntegers, Refuses, ShapeOfInput
from tests.power.planted_behaviours import FAULTS, PLANTED, Planted, behaviour, case, faulty, of_deviation, tried
from tests.support.numpy_adapter import Honest


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
def test_a_layer_that_follows_the_rule_shows_a_behaviour_to_be_gone(name: str) -> None:
    planted = PLANTED[name]
    honest = tried(planted, Honest, [behaviour(planted)])
    assert honest.outcome == "conforms", honest.checks
    assert [each["id"] for each in honest.gone] == (["declared"] if planted.can_be_gone else [])


@pytest.mark.parametrize("name", PLANTED)
def test_a_behaviour_that_occurs_sometimes_is_never_gone_and_excuses_no_fault(name: str) -> None:
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


@pytest.mark.parametrize("name", [each for each in WIDENING if each not in ("error", "functions_in")])
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
        replies = {each: transcript.replies[each] for each in labels[: labels.index(label)]}
        crash = Crash(label=label, reason=f"ended by signal {signal}", stderr="")
        return Transcript(replies=replies, crash=crash)

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
        when=Predicate(step={"call": "forward"}, input={"extra_axes": 1}),
    ),
    "expand": Planted(
        instead=Instead(accepts="expand"),
        layer=AddsLastAxis,
        case=_misfed((5, 1), (2, 5)),
        when=Predicate(step={"call": "forward"}, input={"extra_axes": -1}),
    ),
    "broadcast": Planted(
        instead=Instead(accepts="broadcast"),
        layer=Broadcasts,
        case=_misfed((5,), (2, 1)),
        when=Predicate(step={"call": "forward"}, input={"features": 1}),
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
    ("one", "other", "field_name"),
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
    one: Instead, other: Instead, field_name: str
) -> None:
    planted = PLANTED["products_in"]
    layer = frozenset({0})
    pair = [(replace(behaviour(planted), id=name, instead=each), layer) for name, each in (("a", one), ("b", other))]
    with pytest.raises(Conflict, match=f"^a and b both set {field_name}, to different values$"):
        check_agreement(pair, 1, "float16")
    check_agreement([pair[0], pair[0]], 1, "float16")
