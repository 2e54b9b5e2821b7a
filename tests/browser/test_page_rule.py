"""The page's view of the rule gives what `conformance.table.rule` gives, and its code is that of the same layers."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from conformance.report import write
from conformance.table.rule import output_shapes, parameter_counts
from tests.support.browser import Opener


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    write([], tmp_path / "x.html")
    opener = Opener(browser)
    yield opener(tmp_path / "x.html", "#/rule")
    opener.close()


def tuple_of(shape: tuple[int | None, ...]) -> str:
    return str(tuple(shape))


def fill_in(page: Page, shape: str, units: str, activation: str = "", bias: bool = True) -> None:
    page.fill("#rule [name=shape]", shape)
    page.fill("#rule [name=units]", units)
    page.fill("#rule [name=activation]", activation)
    page.set_checked("#rule [name=bias]", bias)


CASES: list[tuple[tuple[int | None, ...], tuple[int, ...], bool]] = [
    ((784,), (4, 10), True),
    ((784, 1), (4, 10), True),
    ((5,), (3,), False),
    ((2, 3, 4, 5, 6), (7, 1), True),
    ((None, 3), (2,), True),
    ((0,), (4,), True),
    ((3, 0, 4), (0, 5), True),
    ((2_000_000_000,), (2_000_000_000,), True),
]


def test_shapes_and_counts_are_the_rules(page: Page) -> None:
    for shape, units, bias in CASES:
        fill_in(page, tuple_of(shape), ",".join(map(str, units)), bias=bias)
        rows = [row.locator("td").all_inner_texts() for row in page.locator("#rule .layers tbody tr").all()]
        outputs = output_shapes(shape, units, leading_axes=1)
        assert [row[3] for row in rows] == list(map(tuple_of, outputs))
        counts = parameter_counts(shape, units, bias)
        assert [int(row[4].split(" = ")[1].replace(",", "")) for row in rows] == list(counts)
        assert int(page.locator("#rule .total b").inner_text().replace(",", "")) == sum(counts)
        assert page.locator("#rule .chain mark").all_inner_texts() == [str(shape[-1]), *map(str, units)]
        assert page.locator("#rule .tensors svg[role=img]").count() == len(units)


@pytest.mark.parametrize(
    ("shape", "units", "activation", "message"),
    [
        ("", "4", "", "rank 0 has no last axis"),
        ("784, None", "4", "", "the last axis is unknown"),
        ("784, -1", "4", "", "an axis is a length of 0 or more, or None, not -1"),
        ("784", "", "", "a stack has at least one layer"),
        ("784", "2.5", "", "units is an integer of 0 or more, not 2.5"),
        ("784", "4, 10", "relu, relu, relu", "give one activation, or one for each of the 2 layers"),
        ("784", "4", "<b>", "not <b>"),
        ("99999999999999999999", "4", "", "more than is drawn here"),
    ],
)
def test_what_the_rule_forbids_is_refused_with_the_reason(
    page: Page, shape: str, units: str, activation: str, message: str
) -> None:
    fill_in(page, shape, units, activation)
    assert message in page.locator("#refused").inner_text()


def test_what_was_typed_stands_in_the_address(page: Page) -> None:
    fill_in(page, "2, 3", "4, 5", "relu", bias=False)
    address = page.evaluate("location.hash")
    assert address == f"#/rule?shape={quote('2, 3', safe=',')}&units={quote('4, 5', safe=',')}&activation=relu&bias=no"
    page.evaluate("location.hash = '#/overview'")
    page.go_back()
    page.wait_for_function("document.body.dataset.view === 'rule'")
    assert page.input_value("#rule [name=shape]") == "2, 3"
    assert not page.is_checked("#rule [name=bias]")


RUN = """
import json, os, sys
os.environ["KERAS_BACKEND"] = "torch"
for name, (code, count, shape) in json.loads(sys.argv[1]).items():
    space = {}
    exec(code, space)
    print(name, eval(count, space), eval(shape, space))
"""
#: Of the same layers in each framework: how many parameters, and the shape that (2, 5, 3) becomes.
EXAMPLES = {
    "Keras": ("model.count_params()", "tuple(model.output_shape)[1:]"),
    "PyTorch": (
        "sum(each.numel() for each in model.parameters())",
        "tuple(model(__import__('torch').zeros(2, 5, 3)).shape)[1:]",
    ),
    "Flax Linen": (
        "sum(each.size for each in jax.tree.leaves(parameters))",
        "model.apply(parameters, jax.numpy.zeros((2, 5, 3))).shape[1:]",
    ),
    "Flax NNX": (
        "sum(each.size for each in __import__('jax').tree.leaves(nnx.state(model, nnx.Param)))",
        "model(__import__('jax').numpy.zeros((2, 5, 3))).shape[1:]",
    ),
}


def test_the_code_of_each_framework_makes_these_layers(page: Page) -> None:
    fill_in(page, "5, 3", "4, 6", "relu, softmax", bias=False)
    names = page.locator("#rule .notations h4").all_inner_texts()
    assert names == list(EXAMPLES)
    codes = page.locator("#rule .notations pre").all_inner_texts()
    asked = {name: (code, *EXAMPLES[name]) for name, code in zip(names, codes, strict=True)}
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(asked)], capture_output=True, text=True, env=env, check=False
    )
    assert done.stdout.splitlines() == [f"{name} 36 (5, 6)" for name in EXAMPLES], done.stderr


def test_every_activation_that_is_offered_is_code_everywhere(page: Page) -> None:
    offered = (page.get_attribute("#rule [name=activation]", "title") or "").split(", ")
    assert len(offered) >= 8
    for each in offered:
        fill_in(page, "5, 3", "4", each)
        for code in page.locator("#rule .notations pre").all_inner_texts():
            ast.parse(code)
