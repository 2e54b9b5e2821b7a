"""Each relation finds the fault it is for, which the values alone would not show, and nothing in a right layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.protocol import Array
from conformance.adapters.registry import Implementation
from conformance.case import Case, Layer
from conformance.metamorphic import RELATIONS, relations_asked
from conformance.question import question
from conformance.steps import Transcript, perform
from conformance.suite import Cell, checks_asked, judge
from tests.faulty import Honest, NumPyAdapter

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
    "memory_layouts": IgnoresStrides,
}


def red(fault: Honest, case: Case = CASE) -> set[str]:
    asked = question(case, "cpu")
    replies = {each.label: each for each in perform(NumPyAdapter(fault), asked.steps)}
    cell = Cell(case=case, implementation=Implementation(name="x", adapter="x", packages=("tests",)), device="cpu")
    return {each.check for each in judge(cell, asked, Transcript(replies=replies)) if each.outcome != "conforms"}


def test_every_relation_has_its_fault() -> None:
    assert set(FAULTS) == set(RELATIONS)


@pytest.mark.parametrize("lane", ["exact", "uniform"])
def test_a_right_layer_satisfies_every_relation(lane: str) -> None:
    assert red(Honest(), replace(CASE, lane=lane)) == set()


@pytest.mark.parametrize("check", RELATIONS)
def test_a_fault_the_values_do_not_show_is_found_by_its_relation(check: str) -> None:
    assert check in red(FAULTS[check]())
    assert "output" not in red(FAULTS[check]())


def test_a_case_is_asked_the_relations_that_make_sense_for_it() -> None:
    def asked(**fields: object) -> set[str]:
        return set(relations_asked(replace(CASE, **fields)))  # type: ignore[arg-type]

    assert asked() == set(RELATIONS)
    assert asked(lane="uniform") == set(RELATIONS) - {"linear_in_x"}
    assert asked(input_shape=(4, 5)) == set(RELATIONS) - {"positions_permuted"}
    assert asked(layers=(Layer(units=6), Layer(units=2))) == set(RELATIONS) - {"weights_read_back"}
    assert asked(layers=(Layer(units=6, activation="relu"),)) == {"positions_permuted", "memory_layouts"}
    assert asked(batch=0) == {"positions_permuted"}
    assert asked(layout="strided") == set(RELATIONS) - {"memory_layouts"}
    assert asked(input_shape=(5,), batch=None) == {"weights_read_back", "linear_in_x"}
    assert set(checks_asked(CASE)) >= set(RELATIONS)
