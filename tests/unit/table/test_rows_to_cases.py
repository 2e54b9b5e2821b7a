"""What rows expand to: lanes, twins, families, defaults, and every field in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.table.case import Case, Data, Layer
from tests.support.tables import cases_of, ids


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_row_makes_one_case_for_each_lane() -> None:
    exact, uniform = cases_of("input_shape: [32, 28]\nunits: 4")
    assert exact == Case(input_shape=(32, 28), layers=(Layer(units=4),), lane="exact", row="t.yaml:3")
    assert uniform == Case(input_shape=(32, 28), layers=(Layer(units=4),), lane="uniform", row="t.yaml:3")
    assert ids([exact, uniform]) == ["32x28-4-exact", "32x28-4-uniform"]


def test_every_field_reaches_its_case() -> None:
    row = """input_shape: [3, 5]
units: [4, 2]
activation: [relu, softmax]
use_bias: [true, false]
dtype: bfloat16
batch: [2, 3]
values: uniform
layout: strided
expect:
  output_shapes: [[null, null, 3, 4], [null, null, 3, 2]]
  parameters: [24, 8]
  total_parameters: 32
implementations: ["torch*"]
checks: [output_shape, output]
tier: nightly
id: my.own_id-1
why: >
  A fact
  on two lines.
source: https://example.org/a?b#c
tags: [one, two]"""
    (case,) = cases_of(row)
    assert case.input_shape == (3, 5)
    assert case.layers == (
        Layer(units=4, activation="relu", use_bias=True),
        Layer(units=2, activation="softmax", use_bias=False),
    )
    assert (case.dtype, case.batch, case.lane, case.layout) == ("bfloat16", (2, 3), "uniform", "strided")
    (fed, _) = cases_of("input_shape: [null, 5]\nunits: 3\nfeed_shape: [7, 3, 5]")
    assert fed.feed_shape == (7, 3, 5)
    assert case.expect.output_shapes == ((None, None, 3, 4), (None, None, 3, 2))
    assert case.expect.parameters == (24, 8)
    assert case.expect.total_parameters == 32
    assert case.implementations == ("torch*",)
    assert case.checks == ("output_shape", "output")
    assert (case.tier, case.name, case.id) == ("nightly", "my.own_id-1", "my.own_id-1-uniform")
    assert case.why == "A fact on two lines."
    assert case.source == "https://example.org/a?b#c"
    assert case.tags == ("one", "two")


def test_no_batch_axis_and_output_shape_of_one_layer() -> None:
    case = cases_of("input_shape: [5]\nunits: 3\nbatch: null\nexpect: {output_shape: [3]}")[0]
    assert case.batch is None
    assert case.expect.output_shapes == ((3,),)


def test_values_choose_the_lanes() -> None:
    assert ids(cases_of("input_shape: [3]\nunits: 4\nvalues: exact")) == ["3-4-exact"]
    assert ids(cases_of("input_shape: [3]\nunits: 4\nvalues: [uniform, exact]")) == ["3-4-uniform", "3-4-exact"]


def test_another_activation_gets_an_exact_twin() -> None:
    twin, uniform = cases_of("input_shape: [3]\nunits: [4, 2]\nactivation: [relu, softmax]")
    assert (twin.id, twin.twin) == ("3-4-2-linear-exact", True)
    assert [layer.activation for layer in twin.layers] == ["linear", "linear"]
    assert (uniform.id, uniform.twin) == ("3-4-2-relu-softmax-uniform", False)
    assert [case.twin for case in cases_of("input_shape: [3]\nunits: 4\nactivation: relu")] == [False, False]


def test_a_twin_is_dropped_if_any_row_has_the_same_question() -> None:
    softmax, linear = "input_shape: [3]\nunits: 4\nactivation: softmax", "input_shape: [3]\nunits: 4"
    assert ids(cases_of(softmax, linear)) == ["3-4-softmax-uniform", "3-4-exact", "3-4-uniform"]
    assert ids(cases_of(linear, softmax)) == ["3-4-exact", "3-4-uniform", "3-4-softmax-uniform"]


def test_of_two_twins_the_first_stays() -> None:
    tanh, softmax = ("input_shape: [3]\nunits: 4\nactivation: " + name for name in ("tanh", "softmax"))
    cases = cases_of(tanh, softmax)
    assert ids(cases) == ["3-4-linear-exact", "3-4-tanh-uniform", "3-4-softmax-uniform"]
    assert cases[0].row == "t.yaml:3"


def test_a_row_that_expects_an_error_is_one_case_and_may_have_what_the_rule_forbids() -> None:
    rows = [
        "input_shape: [5]\nunits: -1",
        "input_shape: [5]\nunits: 2.5",
        "input_shape: [5]\nunits: true",
        "input_shape: [5]\nunits: four",
        "input_shape: [5]\nunits: null",
        "input_shape: [5]\nunits: [4, -1]",
        "input_shape: [null]\nunits: 3",
        "input_shape: [null, null]\nunits: 3",
        "input_shape: []\nunits: 3",
        "input_shape: []\nunits: 3\nbatch: null",
        "input_shape: [5]\nunits: 3\nfeed_shape: [2, 4]",
        "input_shape: [5]\nunits: 3\nfeed_shape: []",
        "input_shape: [5]\nunits: 3\nfeed_shape: [2, 6]\nactivation: softmax\nid: named",
    ]
    cases = cases_of(*[row + "\nexpect: {error: true}" for row in rows])
    assert len(cases) == len(rows)
    assert all(case.expect.error for case in cases)
    assert ids(cases) == [
        *("5-minus1-error", "5-2.5-error", "5-true-error", "5-four-error", "5-none-error", "5-4-minus1-error"),
        *("any-3-error", "anyxany-3-error", "scalar-3-error", "scalar-3-nobatch-error", "5-3-fed2x4-error"),
        *("5-3-fedscalar-error", "named"),
    ]
    assert [case.layers[0].units for case in cases[:5]] == [-1, 2.5, True, "four", None]


def test_an_unknown_axis_has_the_length_of_feed_shape() -> None:
    row = "input_shape: [null, 5]\nunits: 3\nfeed_shape: [2, 7, 5]\nexpect: {output_shape: [null, null, 3]}"
    assert cases_of(row)[0].call_shape == (2, 7, 5)


@pytest.mark.parametrize(
    ("fields", "batch", "axes"),
    [
        ("input_shape: [5]\nfeed_shape: [2, 5, 1]", 2, 1),
        ("input_shape: [5, 1]\nfeed_shape: [7, 5]", 7, 1),
        ("input_shape: [5]\nfeed_shape: []", 2, 1),
        ("input_shape: [5]\nbatch: [2, 3]\nfeed_shape: [2, 3]", (2, 3), 2),
        ("input_shape: [5]\nbatch: null\nfeed_shape: [2, 4]", None, 0),
    ],
)
def test_feed_shape_does_not_change_what_is_built(fields: str, batch: object, axes: int) -> None:
    (case,) = cases_of(f"{fields}\nunits: 3\nexpect: {{error: true}}")
    assert (case.batch, case.leading_axes) == (batch, axes)


def test_each_expands_to_the_product_of_its_lists() -> None:
    row = "input_shape: [3]\neach:\n  units: [4, 5]\n  dtype: [float32, float64]\nvalues: exact"
    assert ids(cases_of(row)) == ["3-4-exact", "3-4-float64-exact", "3-5-exact", "3-5-float64-exact"]


def test_each_overrides_defaults_and_may_have_lists() -> None:
    row = "each:\n  input_shape: [[3], [3, 2]]\n  units: [4, [4, 5]]"
    head = "defaults: {units: 9, values: exact, tier: quick}\n"
    cases = cases_of(row, head=head)
    assert ids(cases) == ["3-4-exact", "3-4-5-exact", "3x2-4-exact", "3x2-4-5-exact"]
    assert {case.tier for case in cases} == {"quick"}
    assert {case.row for case in cases} == {"t.yaml:4"}


def test_a_row_overrides_defaults() -> None:
    head = "defaults: {units: 9, values: exact, batch: 1}\n"
    assert ids(cases_of("input_shape: [3]", "input_shape: [3]\nbatch: 2", head=head)) == [
        "3-9-batch1-exact",
        "3-9-exact",
    ]


def test_data_make_a_literal_case_with_arrays_by_layer() -> None:
    (case,) = cases_of(
        "input_shape: [2]\nunits: [3, 1]\nuse_bias: [true, false]\ndata: {x: 1, kernel: [2, 3], bias: [4, null]}"
    )
    assert case.lane == "literal"
    assert case.data == Data(x=1.0, kernels=(2.0, 3.0), biases=(4.0, None))
    other = cases_of("input_shape: [2]\nunits: 3\ndata: {x: 1, kernel: 2, bias: [1, 2, 3]}\nexpect: {output: 1}")[0]
    assert other.data == Data(x=1.0, kernels=(2.0,), biases=((1.0, 2.0, 3.0),))
    assert other.id.startswith("2-3-data")
    assert case.id != other.id


def test_an_input_of_integers_has_the_lane_exact_only() -> None:
    assert ids(cases_of("input_shape: [3]\nunits: 4\ninput_dtype: int8")) == ["3-4-fromint8-exact"]
    assert [each.lane for each in cases_of("input_shape: [3]\nunits: 4\ninput_dtype: float64")] == ["exact", "uniform"]
