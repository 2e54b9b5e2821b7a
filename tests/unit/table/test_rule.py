"""The last-axis rule against literals worked by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.adapters.protocol import Units
from conformance.table.rule import (
    Axis,
    RuleError,
    Shape,
    output_shape,
    output_shapes,
    parameter_count,
    parameter_counts,
)

#: What `model.summary()` prints for Dense(4) then Dense(10): input shape, output shapes, parameters, total.
MODELS = [
    ((784,), ((None, 4), (None, 10)), (3140, 50), 3190),
    ((784, 1), ((None, 784, 4), (None, 784, 10)), (8, 50), 58),
    ((32, 28), ((None, 32, 4), (None, 32, 10)), (116, 50), 166),
    ((32, 28, 1), ((None, 32, 28, 4), (None, 32, 28, 10)), (8, 50), 58),
]


@pytest.mark.parametrize(("input_shape", "shapes", "counts", "total"), MODELS)
def test_the_four_models_of_the_question(
    input_shape: tuple[Axis, ...], shapes: tuple[Shape, ...], counts: tuple[int, ...], total: int
) -> None:
    assert output_shapes(input_shape, [4, 10], leading_axes=1) == shapes
    assert parameter_counts(input_shape, [4, 10]) == counts
    assert sum(parameter_counts(input_shape, [4, 10])) == total


def test_one_layer() -> None:
    assert output_shape((3, 5), 7) == (3, 7)
    assert output_shape([5], 0) == (0,)
    assert output_shape((0,), 4) == (4,)
    assert output_shape((None, 5), 7) == (None, 7)


def test_leading_axes_are_put_in_front_of_every_shape() -> None:
    assert output_shapes((5,), [3]) == ((3,),)
    assert output_shapes((5,), [3, 2], leading_axes=2) == ((None, None, 3), (None, None, 2))


def test_counts() -> None:
    assert parameter_count(784, 4) == 3140
    assert parameter_count(784, 4, use_bias=False) == 3136
    assert parameter_count(0, 4) == 4
    assert parameter_count(4, 0) == 0
    assert parameter_counts((9, 5), [4, 3], use_bias=[True, False]) == (24, 12)
    assert parameter_counts((9, 5), [4, 3], use_bias=False) == (20, 12)


@pytest.mark.parametrize("units", [-1, 2.5, 4.0, True, False, "4", None])
def test_units_that_are_no_count_are_forbidden(units: Units) -> None:
    with pytest.raises(RuleError, match="units is an integer of 0 or more"):
        output_shape((5,), units)
    with pytest.raises(RuleError):
        parameter_count(5, units)
    with pytest.raises(RuleError):
        parameter_counts((5,), [3, units])


@pytest.mark.parametrize(
    ("input_shape", "message"),
    [
        ((), "rank 0 has no last axis"),
        ((None,), "the last axis is unknown"),
        ((4, None), "the last axis is unknown"),
        ((-1,), "an axis is a length"),
        ((-1, 4), "an axis is a length"),
        ((True, 4), "an axis is a length"),
        ((4, 2.0), "an axis is a length"),
    ],
)
def test_shapes_the_rule_forbids(input_shape: tuple[Axis, ...], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        output_shapes(input_shape, [4])
    with pytest.raises(ValueError, match=message):
        parameter_counts(input_shape, [4])


def test_a_stack_has_a_layer_and_one_bias_for_each() -> None:
    with pytest.raises(RuleError, match="at least one layer"):
        output_shapes((5,), [])
    with pytest.raises(ValueError, match="shorter"):
        parameter_counts((5,), [4, 3], use_bias=[True])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.lists(st.integers(0, 50), min_size=1, max_size=4))
def test_only_the_last_axis_changes_and_only_it_is_counted(input_shape: list[int], units: list[int]) -> None:
    shapes = output_shapes(input_shape, units)
    assert [shape[:-1] for shape in shapes] == [tuple(input_shape[:-1])] * len(units)
    assert [shape[-1] for shape in shapes] == units
    assert parameter_counts(input_shape, units) == parameter_counts(input_shape[-1:], units)


def test_explaining_the_rule_needs_nothing_but_the_standard_library() -> None:
    code = """
import sys
before = set(sys.modules)
import conformance.table.rule
loaded = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
assert loaded == {'conformance'}, loaded
loaded = {name for name in sys.modules if name.startswith('conformance.')}
assert loaded == {'conformance.table', 'conformance.table.rule'}, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)
