"""Which steps and layers an entry of the ledger covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from packaging.specifiers import SpecifierSet

from conformance.adapters.protocol import Dense, Stack
from conformance.ledger.predicate import matches
from conformance.ledger.step import ModelStep, Surroundings, model_steps
from conformance.sandbox.steps import Build, Forward, InferShapes, SetWeights
from tests.support.ledgers import GOOD, behaviours_of

LAYERS = (
    Dense(units=4, use_bias=True, activation="relu", kernel=np.ones((3, 4), np.float32), bias=np.ones(4, np.float32)),
    Dense(units=1, use_bias=False, activation="linear", kernel=np.ones((4, 1), np.float32), bias=None),
)
STACK = Stack(input_shape=(5, 3), leading_axes=1, dtype="float32", layers=LAYERS)
X = np.ones((2, 5, 3), np.float16)
AROUND = Surroundings(
    device="cpu", environment={"SWITCH": "1"}, versions={"keras": "3.15.1", "jax": "0.11.0.dev1"}, machine="x86_64"
)


def steps() -> Sequence[ModelStep]:
    asked = (
        Build(label="build", stack=STACK, device="cpu"),
        InferShapes(label="infer", batch=None),
        Forward(label="output", x=X, layout="strided"),
        SetWeights(label="new weights", stack=STACK),
    )
    return tuple(model_steps(asked))


def covered(when: str) -> dict[str, frozenset[int]]:
    """Return the layers that an entry covers, by the step."""
    (behaviour,) = behaviours_of(GOOD | {"when": when})
    found = {each.label: behaviour.covered_layers(each, AROUND, "case") for each in steps()}
    return {label: layers for label, layers in found.items() if layers}


EVERY = frozenset({0, 1})
ALL = dict.fromkeys(("build", "infer", "output", "new weights"), EVERY)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{}", ALL),
        ("{call: forward}", {"output": EVERY}),
        ("{call: [build, set_weights]}", {"build": EVERY, "new weights": EVERY}),
        ("{dtype: float64}", {}),
        ("{dtype: {not: float64}}", ALL),
        ("{activation: relu}", dict.fromkeys(ALL, frozenset({0}))),
        ("{use_bias: false}", dict.fromkeys(ALL, frozenset({1}))),
        ("{activation: relu, use_bias: false}", {}),
        ("{features: {odd: true}}", dict.fromkeys(ALL, frozenset({0}))),
        ("{kernel_size: {min: 5}}", dict.fromkeys(ALL, frozenset({0}))),
        ("{kernel_size: {max: 4}}", dict.fromkeys(ALL, frozenset({1}))),
        ("{units: 1}", dict.fromkeys(ALL, frozenset({1}))),
        ("{units: true}", {}),
        ("{input_shape: {rank: 2, last: 3, positions: 5}}", ALL),
        ("{input_shape: {rank: 1}}", {}),
        ("{input_shape: {rank: 2, last: 4}}", {}),
        ("{leading_axes: 1}", ALL),
        ("{fed: {dtype: float16, rank: 3, features: 3, samples: 2, positions: 10, elements: 30}}", {"output": EVERY}),
        ("{contiguous: false, fed: {layout: strided, finite: true}}", {"output": EVERY}),
        ("{fed: {samples: 0}}", {}),
        ("{device: gpu}", {}),
        ("{device: cpu, machine: x86_64}", ALL),
        ("{environment: {SWITCH: '1'}}", ALL),
        ("{environment: {SWITCH: {not: '1'}}}", {}),
        ("{environment: {OTHER: null}}", ALL),
        ("{versions: {keras: '<3.16'}}", ALL),
        ("{versions: {keras: '<3.15'}}", {}),
        ("{versions: {jax: '>=0.10'}}", ALL),
        ("{versions: {mlx: '<1'}}", ALL),
    ],
)
def test_what_a_predicate_covers(when: str, expected: dict[str, frozenset[int]]) -> None:
    assert covered(when) == expected


def test_elements_that_are_given_are_those_of_one_step_of_one_case() -> None:
    exactly = "{exactly: {case: a, step: output, elements: {'0': 1}}}"
    (behaviour,) = behaviours_of(GOOD | {"instead": exactly, "when": "{}"})
    named = {
        (case, each.label): bool(behaviour.covered_layers(each, AROUND, case)) for case in "ab" for each in steps()
    }
    assert [each for each, is_covered in named.items() if is_covered] == [("a", "output")]


@pytest.mark.parametrize(
    ("want", "value", "is_matched"),
    [
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ({"min": 1}, True, False),
        ({"min": 1}, None, False),
        ({"min": 1, "max": 3}, 2, True),
        ({"min": 1, "max": 3}, 4, False),
        ({"min": 2}, 2, True),
        ({"max": 2}, 2, True),
        ({"odd": False}, 2, True),
        ({"not": [1, 2]}, 3, True),
        ({"not": {"min": 2}}, 1, True),
        ([None, {"min": 7}], None, True),
    ],
)
def test_what_a_value_of_a_predicate_matches(want: Any, value: Any, is_matched: bool) -> None:
    assert matches(want, value) is is_matched


def test_ranges_of_versions_are_read() -> None:
    (behaviour,) = behaviours_of(GOOD | {"when": "{versions: {clang: '>=15'}}"})
    assert behaviour.when.versions == {"clang": SpecifierSet(">=15")}
