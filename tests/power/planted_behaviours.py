"""The planted behaviours: for each kind of `instead` a layer that does it and a case on which it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Shape, Stack
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.checks.outcome import Verdict
from conformance.checks.references import question
from conformance.checks.verdict import Trial
from conformance.ledger.behaviour import Behaviour, Documentation, Exactly, Instead, Refusal
from conformance.ledger.predicate import Predicate
from conformance.ledger.step import Surroundings
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Transcript
from conformance.table.case import Case, Expect, Layer
from tests.power.behaviour_layers import (
    CastsInput,
    ClipsInfinities,
    ComputesInFloat32,
    GeluStepByStep,
    InfersReversed,
    LeakySlopeOfFloat32,
    LosesBias,
    MultipliesPadding,
    MultipliesPaddingOfPositions,
    OneElement,
    OutputOfFloat64,
    ParametersOfFloat32,
    ProductsInFloat32,
    ReadsBitsAsIntegers,
    Refuses,
    RoundsEachProduct,
    RoundsTowardZero,
    SoftplusLinearFrom20,
    SumsBiasGradientInBfloat16,
    TanhOfFewDigits,
    UndefinedOutput,
)
from tests.support.deviations import deviation
from tests.support.numpy_adapter import Honest, NumPyAdapter

NAME = "tests.support.faulty_adapters"


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
    return Instead(deviation=deviation(**fields))


SPECIAL = case("float32", "special", batch=4, expect=Expect(nonfinite=True))
PLANTED: dict[str, Planted] = {
    "casts": Planted(instead=of_deviation(casts={"x": "float32"}), layer=CastsInput, case=case("float64")),
    "computes_in": Planted(
        instead=Instead(
            deviation=deviation(computes_in="float32"),
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
        case=case("float16", input_shape=(3,), checks=("output",), layout="strided"),
    ),
    "reads_bits_as_integers, weights": Planted(
        instead=of_deviation(reads_bits_as_integers=True),
        layer=ReadsBitsAsIntegers,
        case=case("float16", input_shape=(3,), checks=("weights_live",)),
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
    "functions_in": Planted(
        instead=of_deviation(functions_in="own"),
        layer=GeluStepByStep,
        case=case("bfloat16", activation="gelu"),
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
        implementation=Implementation(name=NAME, adapter="tests.support.faulty_adapters:Exact", packages=("tests",)),
        device="cpu",
    )
    cell_question = question(planted.case, "cpu")
    replies = {reply.label: reply for reply in perform(NumPyAdapter(layer()), cell_question.steps)}
    transcript = sees(Transcript(replies=replies))
    return Trial(cell, cell_question, transcript, behaviours, Surroundings(device="cpu")).verdict()


def behaviour(planted: Planted, **fields: Any) -> Behaviour:
    return Behaviour(
        id="declared",
        implementations=(NAME,),
        when=planted.when,
        instead=planted.instead,
        documentation=Documentation(kind="bug", why="A fact.", evidence="A reproducer."),
        file="cases/divergences/x.yaml",
        line=3,
        **fields,
    )
