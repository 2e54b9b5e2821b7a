"""Rows and entries whose fields contradict each other, or that nobody can be asked: each is a fault with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.commands.lint.inspection import inspect

#: Fields that make a row -> where the fault is, the row's first line being 2, and what is said.
#: Fields of a row whose answer is at the largest number of float16.
MAY_OVERFLOW = "batch: 1, dtype: float16, use_bias: false, values: literal, data: {x: 255.875, kernel: 256}"
ROWS = [
    (
        "input_shape: [7, 5]\nunits: 6\nactivation: softmax\nvalues: exact",
        "5:13",
        "exact exists for linear and relu alone, not for softmax",
    ),
    (
        "input_shape: [7, 5]\nunits: [6, 2]\nactivation: [relu, tanh]\nvalues: [uniform, exact]",
        "5:23",
        "exact exists for linear and relu alone, not for tanh",
    ),
    ("input_shape: [3]\nunits: -1\nexpect: {error: true}\nvalues: exact", "5:13", "values has no effect on a row that"),
    (
        "input_shape: [3]\nunits: -1\nexpect: {error: true}\nlayout: strided",
        "5:13",
        "layout has no effect on a row that",
    ),
    (
        "input_shape: [3]\nunits: -1\nexpect: {error: true}\ninput_dtype: float64",
        "5:18",
        "input_dtype has no effect on a row that expects an error",
    ),
    (
        "input_shape: [5]\nunits: 3\nbatch: 7\nfeed_shape: [2, 5]",
        "4:12",
        "contradicts feed_shape, which begins with [2]",
    ),
    ("input_shape: [5]\nunits: 3\nfeed_shape: [2, 5]", "4:17", "batch and input_shape say the same"),
    ("input_shape: [5]\nunits: 3\nvalues: shapes\nlayout: strided", "5:13", "layout has no effect where nothing"),
    ("input_shape: [5]\nunits: 3\nchecks: [parameters]\nlayout: strided", "5:13", "layout has no effect where nothing"),
    (
        "input_shape: [1]\nunits: 1\nchecks: [output]\ndata: {x: 1, kernel: 1, bias: 1, dy: 2}",
        "5:42",
        "dy has no effect: none of these checks asks for gradients",
    ),
    ("input_shape: [5]\nunits: 3\nchecks: [output, axes_merged]", "4:22", "axes_merged does not apply to this row"),
    ("input_shape: [5]\nunits: 3\nchecks: [linear_in_x]", "4:13", "5-3-uniform: none of these checks applies to it"),
    (
        "input_shape: [5]\nunits: 3\nimplementations: [torch, keras-tensorlow]",
        "4:30",
        "no implementation is named 'keras-tensorlow'; did you mean 'keras-tensorflow'?",
    ),
    ("input_shape: [5]\nunits: 3\nimplementations: ['kears-*']", "4:23", "no implementation is named"),
    ("input_shape: [5]\nunits: 3\nimplementations: ['torch:einsom']", "4:23", "no implementation is named"),
    (
        "input_shape: [5]\nunits: 3\nimplementations: [keras-jax:conv2d]",
        "4:22",
        "5-3-exact: no implementation can compute it",
    ),
    (
        "input_shape: [5]\nunits: 3\nimplementations: [torch]\nenvironment: {JAX_ENABLE_X64: '1'}",
        "5:35",
        "JAX_ENABLE_X64 has no effect: none of these implementations uses jax",
    ),
    (
        f"input_shape: [1]\nunits: 1\n{MAY_OVERFLOW}".replace(", ", "\n", 4),
        "8:11",
        "1-1-float16-nobias-batch1-data2112359b-literal: a right answer may overflow, or may not",
    ),
]
RIGHT = [
    "input_shape: [7, 5]\nunits: 6\nactivation: softmax",
    "input_shape: [7, 5]\nunits: 6\nactivation: relu\nvalues: exact",
    "input_shape: [null, 3]\nunits: 2\nfeed_shape: [2, 7, 3]",
    "input_shape: [5]\nunits: 3\nimplementations: ['my_module:Class', 'my.package:dense@torch', 'keras-*']",
    "input_shape: [5]\nunits: 3\nimplementations: [keras-jax]\nenvironment: {JAX_ENABLE_X64: '1'}",
    "input_shape: [5]\nunits: 3\nchecks: [linear_in_x]\nvalues: exact",
    "input_shape: [5]\nunits: 3\ndtype: float16",
]


def faults_of(folder: Path, row: str) -> list[str]:
    """Return the faults of a file with one row, whose first field is on line 2."""
    file = folder / "rows.yaml"
    file.write_text("rows:\n  - " + row.replace("\n", "\n    ") + "\n", encoding="utf-8")
    return [str(each).removeprefix(f"{file}:") for each in inspect([str(file)]).faults]


@pytest.mark.parametrize(("row", "place", "message"), ROWS)
def test_what_has_no_effect_is_a_fault_with_its_place(tmp_path: Path, row: str, place: str, message: str) -> None:
    (fault,) = faults_of(tmp_path, row)
    assert fault.startswith(f"{place}: {message}")


@pytest.mark.parametrize("row", RIGHT)
def test_what_has_an_effect_is_none(tmp_path: Path, row: str) -> None:
    assert faults_of(tmp_path, row) == []


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ('input_shape: "(7, 5)"', 'not "(7, 5)": write [7, 5]'),
        ('input_shape: "7, 5"', 'not "7, 5": write [7, 5]'),
        ('input_shape: "(None, 5)"', 'not "(None, 5)": write [null, 5]'),
        ("input_shape: [None, 5]", 'not "None": write null'),
        ("input_shape: 784", "not 784: write [784]"),
        ('feed_shape: "(2, 3)"', 'not "(2, 3)": write [2, 3]'),
        ('units: "4"', 'not "4": write 4'),
        ('units: "(4, 2)"', 'not "(4, 2)": write [4, 2]'),
        ("use_bias: no", 'not "no": write false'),
        ("use_bias: [true, Yes]", 'not "Yes": write true'),
        ("expect: {nonfinite: off}", 'not "off": write false'),
        ("use_bias: maybe", 'not "maybe"'),
        ("input_shape: 7.5.1", 'not "7.5.1"'),
    ],
)
def test_the_fault_of_a_value_of_another_language_has_the_right_value(tmp_path: Path, field: str, message: str) -> None:
    name = field.partition(":")[0]
    others = {"input_shape": "[3]", "units": "[4, 2]" if "[true" in field else "4"}
    row = "\n".join([f"{key}: {value}" for key, value in others.items() if key != name] + [field])
    (fault,) = faults_of(tmp_path, row)
    assert fault.endswith(message)


def test_a_row_with_a_fault_hides_none_of_another_row(tmp_path: Path) -> None:
    rows = [
        "{input_shape: 784, units: 3}",
        "{input_shape: [8], units: 4, implementations: [keras-tensorlow]}",
        f"{{input_shape: [1], units: 1, {MAY_OVERFLOW}}}",
    ]
    path = tmp_path / "rows.yaml"
    path.write_text("rows:\n" + "".join(f"  - {row}\n" for row in rows), encoding="utf-8")
    found = inspect([str(path)])
    assert [each.line for each in found.faults] == [2, 3, 4]
    assert str(found) == "3 faults"
