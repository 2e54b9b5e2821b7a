"""`conformance explain --framework`: each snippet runs on its framework and makes the shapes and counts it shows."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.commands.explain.frameworks import SNIPPETS as SNIPPETS_OF
from conformance.commands.explain.frameworks import resolve_frameworks, snippet
from conformance.commands.explain.layer_table import stack
from conformance.commands.explain.text import explain
from conformance.table.case import ACTIVATIONS as ALL_ACTIVATIONS

UNITS = [4, 10]
ACTIVATIONS = ["linear", "softmax"]
SNIPPETS = """
import contextlib, io, json, math, os, sys
os.environ["KERAS_BACKEND"] = "jax"

def counted(scope, framework):
    if framework == "keras":
        return scope["model"].count_params()
    if framework == "torch":
        return sum(each.numel() for each in scope["model"].parameters())
    if framework == "tensorflow-v1":
        return sum(each.shape.num_elements() for each in scope["tf1"].global_variables())
    import jax
    if framework == "flax-nnx":
        from flax import nnx
        held = nnx.state(scope["model"], nnx.Param)
    else:
        held = {"flax-linen": "variables", "equinox": "model"}.get(framework, "weights")
        held = scope[held]
    return sum(each.size for each in jax.tree.leaves(held) if hasattr(each, "size"))

for framework, code in json.load(sys.stdin):
    scope = {}
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].compat.v1.reset_default_graph()
    exec(code, scope)
    print(json.dumps([list(scope["y"].shape), counted(scope, framework)]))
"""
STACKS = [
    stack((784, 1), UNITS, ACTIVATIONS, True),
    stack((5,), [4], ["linear"], False),
    # One layer of every activation there is, all of one size: JAX compiles each shape anew.
    stack((2, 4), [4] * len(ALL_ACTIVATIONS), list(ALL_ACTIVATIONS), True),
]


#: Frameworks of the extra `more`, and one that needs a process of its own.
OPTIONAL = ("equinox", "haiku")
OWN_PROCESS = ("tensorflow-v1",)


@pytest.mark.parametrize(
    "together",
    [[each for each in SNIPPETS_OF if each not in OPTIONAL + OWN_PROCESS], OWN_PROCESS, *([each] for each in OPTIONAL)],
    ids=" ".join,
)
def test_each_snippet_makes_its_shapes_and_counts_on_its_framework(together: Sequence[str]) -> None:
    if missing := [each for each in together if each in OPTIONAL and importlib.util.find_spec(each) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    asked = [(name, snippet(name, layers), layers) for name in together for layers in STACKS]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SNIPPETS],
        input=json.dumps([(name, code) for name, code, _ in asked]),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for (name, code, layers), (shape, count) in zip(asked, found, strict=True):
        assert shape[1:] == list(layers[-1].output_shape), (name, code)
        assert count == sum(each.parameters for each in layers), (name, code)
        for each in layers:
            count = f"{each.parameters:,} parameter{'' if each.parameters == 1 else 's'}"
            assert f"# {(None, *each.output_shape)}, {count}" in code


def test_only_lines_with_a_layer_have_a_comment_with_shape_and_count() -> None:
    wrong = [replace(each, parameters=each.parameters + 1) for each in stack((5,), [4], ["linear"], True)]
    assert "25 parameters" in snippet("torch", wrong), "the count is not the one of the layer it is told"
    for name in SNIPPETS_OF:
        assert snippet(name, wrong).count(" parameters") == 1


def test_frameworks_are_found_by_name_and_each_is_printed_once() -> None:
    assert resolve_frameworks(["flax"]) == ["flax-linen", "flax-nnx"]
    assert resolve_frameworks(["torch", "all", "torch"])[0] == "torch"
    assert set(resolve_frameworks(["all"])) == set(SNIPPETS_OF)
    assert resolve_frameworks([]) == []
    text = explain([(5,), (5, 1)], [4], ["linear"], frameworks=["torch"])
    assert text.count("In torch, for ") == 2


def test_an_unknown_framework_is_one_line_and_exit_code_2() -> None:
    command = ["explain", "--input-shape", "5", "--units", "4", "--framework", "pytorch"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "no such framework: 'pytorch'; there are keras, torch" in done.output
