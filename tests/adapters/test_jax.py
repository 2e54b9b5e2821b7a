"""The modes and equivalents of Flax, Equinox, Haiku, and JAX alone, each on the real library in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from conformance.adapters.registry import BUILT_IN, Implementation, select
from conformance.checks.cell import cell_of, concerns
from conformance.run.cell_runner import DEFAULT_CACHE, Runner
from conformance.table.case import Case, Layer
from conformance.table.loader import default_cases, load

WITH_VALUES = (
    "flax-linen:jit",
    "flax-linen:dense-general",
    "flax-linen:einsum",
    "flax-nnx:jit",
    "flax-nnx:linear-general",
    "flax-nnx:einsum",
    "equinox",
    "haiku",
    "jax-numpy",
)
SHAPES_ALONE = ("flax-linen:abstract", "flax-nnx:abstract")
#: A vector without a batch, which Keras's layer refuses and these take.
VECTOR = Case(input_shape=(5,), layers=(Layer(units=3),), lane="exact", batch=None)
#: Square, so that nothing is refused where axes are mixed up.
SQUARE = Case(input_shape=(4,), layers=(Layer(units=4),), lane="exact", batch=4)
FOREIGN = replace(SQUARE, feed_shape=(2, 5), expect=replace(SQUARE.expect, error=True))


@cache
def cases(file: str) -> Sequence[Case]:
    return [each for each in load([default_cases() / file]).cases if not each.expect.error]


def records(implementation: Implementation, asked: Sequence[Case]) -> Sequence[Mapping[str, Any]]:
    """Return what came of the cases that concern an implementation, from one process."""
    if missing := implementation.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    # Most of the time is compiling, and most of what is compiled is the same each time.
    runner = Runner(cache=DEFAULT_CACHE.expanduser())
    try:
        return [runner.run(cell_of(each, implementation, "cpu")) for each in asked if concerns(each, implementation)]
    finally:
        runner.close()


def outcomes(record: Mapping[str, Any]) -> dict[str, str]:
    return {each["check"]: each["outcome"] for each in record["checks"]}


@pytest.mark.parametrize("name", WITH_VALUES)
def test_a_layer_conforms_on_the_seed_and_takes_a_vector(name: str) -> None:
    (implementation,) = select([name])
    *found, refused = records(implementation, [*cases("seed.yaml"), VECTOR, FOREIGN])
    assert len(found) == len(cases("seed.yaml")) + 1
    declined = {*implementation.unanswerable}
    for each in found:
        given = outcomes(each)
        assert {check for check, outcome in given.items() if outcome == "unsupported"} == declined, each
        assert {outcome for check, outcome in given.items() if check not in declined} == {"conforms"}, each
    assert outcomes(refused) == {"refusal": "conforms"}


@pytest.mark.parametrize("name", SHAPES_ALONE)
def test_shapes_past_every_memory_are_inferred(name: str) -> None:
    (implementation,) = select([name])
    beyond = Case(input_shape=(2**62,), layers=(Layer(units=2**62),), lane="shapes", batch=2**62)
    found = records(implementation, [*cases("abstract.yaml"), *cases("seed.yaml"), beyond])
    assert len(found) == len(cases("abstract.yaml")) + 1
    for each in found:
        assert outcomes(each) == {"output_shape": "conforms", "parameters": "conforms"}, each


FAULTS = {
    "CompilesItsWeightsIn": ("flax-linen:jit", SQUARE, {"weights_live": "violates"}),
    "MixesItsBatch": ("equinox", SQUARE, {"output": "violates", "gradients": "conforms"}),
    "ForgetsItsBias": (
        "flax-nnx:abstract",
        cases("abstract.yaml")[0],
        {"parameters": "violates", "output_shape": "conforms"},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_such_an_adapter_is_seen(fault: str) -> None:
    name, case, expected = FAULTS[fault]
    (honest,) = select([name])
    (record,) = records(replace(honest, adapter=f"tests.support.faulty_jax:{fault}", mode=None), [case])
    assert outcomes(record) | expected == outcomes(record), record


#: What stands first in the model of each mode.
LAYERS = """
import json
from conformance.adapters.jax.flax_linen import FlaxLinenAdapter
from conformance.adapters.jax.flax_nnx import FlaxNnxAdapter
from conformance.adapters.protocol import Dense, Stack

layer = Dense(units=3, use_bias=True, activation="relu", kernel=None, bias=None)
stack = Stack(input_shape=(5,), leading_axes=1, dtype="float32", layers=(layer,))
found = {}
for adapter, modes in (
    (FlaxLinenAdapter, (None, "jit", "abstract", "dense-general", "einsum")),
    (FlaxNnxAdapter, (None, "jit", "abstract", "linear-general", "einsum")),
):
    for mode in modes:
        first = type(adapter(mode=mode).build(stack, device="cpu")._module.layers[0])
        found[f"{first.__module__.split('.')[1]}:{mode}"] = first.__name__
print(json.dumps(found))
"""


def test_each_mode_has_the_layer_it_names() -> None:
    if missing := select(["flax-linen"])[0].missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    done = subprocess.run([sys.executable, "-c", LAYERS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        **dict.fromkeys(("linen:None", "linen:jit", "linen:abstract"), "Dense"),
        "linen:dense-general": "DenseGeneral",
        "linen:einsum": "Einsum",
        **dict.fromkeys(("nnx:None", "nnx:jit", "nnx:abstract"), "Linear"),
        "nnx:linear-general": "LinearGeneral",
        "nnx:einsum": "Einsum",
    }


@pytest.mark.parametrize("adapter", ["jax.flax_linen:FlaxLinenAdapter", "jax.flax_nnx:FlaxNnxAdapter"])
def test_a_mode_that_is_none_is_said_so(adapter: str) -> None:
    if missing := select(["flax-linen"])[0].missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    module, _, name = adapter.partition(":")
    code = f"from conformance.adapters.{module} import {name}; {name}(mode='eager')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert "ValueError: no such mode: 'eager'" in done.stderr


def test_the_names_of_this_group_are_registered() -> None:
    registered = {each.name: each for each in BUILT_IN if each.tier == "nightly"}
    assert {*WITH_VALUES, *SHAPES_ALONE} <= registered.keys()
    assert {name for name in (*WITH_VALUES, *SHAPES_ALONE) if registered[name].shapes_only} == {*SHAPES_ALONE}
