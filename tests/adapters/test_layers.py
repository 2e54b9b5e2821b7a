"""Every layer and way of calling one, on its framework: right where it is right, and seen where it is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pytest

from conformance.adapters.registry import BUILT_IN, select
from conformance.checks.cell import check_names, has_cell
from conformance.table.case import Case
from conformance.table.loader import default_cases, load
from tests.support.framework_process import (
    ABSTRACT,
    DEEP,
    FOREIGN,
    GROUPS,
    HUGE,
    LAYERS,
    ONE_LAYER,
    PLANTED,
    SHAPES_ALONE,
    SQUARE,
    TWO_LAYERS,
    VECTOR,
    VECTORS_TAKEN,
    Answers,
    outcomes,
)

RecordOf = Callable[..., Mapping[str, Any]]


def right(name: str, case: Case) -> dict[str, str]:
    """Return the outcomes of a right layer: what the registry says it cannot answer is unsupported."""
    (implementation,) = select([name])
    return {check: "unsupported" if check in implementation.unanswerable else "conforms" for check in check_names(case)}


def violated(record: Mapping[str, Any]) -> set[str]:
    return {check for check, outcome in outcomes(record).items() if outcome == "violates"}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in LAYERS for name in LAYERS[group]])
def test_a_layer_conforms(record_of: RecordOf, group: str, name: str) -> None:
    found = record_of(group, name, TWO_LAYERS)
    assert outcomes(found) == right(name, TWO_LAYERS), found


def test_a_compiled_layer_conforms(record_of: RecordOf) -> None:
    found = record_of("torch", "torch:compile", ONE_LAYER)
    assert outcomes(found) == right("torch:compile", ONE_LAYER), found


@pytest.mark.parametrize("name", VECTORS_TAKEN)
def test_a_layer_takes_a_vector_and_refuses_what_does_not_fit(record_of: RecordOf, name: str) -> None:
    found = record_of("jax", name, VECTOR)
    assert outcomes(found) == right(name, VECTOR), found
    assert outcomes(record_of("jax", name, FOREIGN)) == {"refusal": "conforms"}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in SHAPES_ALONE for name in SHAPES_ALONE[group]])
def test_shapes_past_every_memory_are_inferred(record_of: RecordOf, group: str, name: str) -> None:
    found = record_of(group, name, HUGE)
    assert outcomes(found) == {"output_shape": "conforms", "parameters": "conforms"}, found


def test_einsum_dense_infers_its_axes_in_the_wrong_order(record_of: RecordOf) -> None:
    assert violated(record_of("torch", "keras-torch:einsum-dense", DEEP)) == {"output_shape"}


@pytest.mark.parametrize(
    ("group", "name", "case", "fault", "red"),
    [
        ("jax", "flax-linen:jit", SQUARE, "tests.support.faulty_jax_adapters:CompilesItsWeightsIn", {"weights_live"}),
        ("jax", "equinox", SQUARE, "tests.support.faulty_jax_adapters:MixesItsBatch", {"output"}),
        ("jax", "flax-nnx:abstract", HUGE, "tests.support.faulty_jax_adapters:ForgetsItsBias", {"parameters"}),
        ("torch", "torch:lazy", ONE_LAYER, "computes a double", {"output", "gradients"}),
        ("torch", "torch:functional", ONE_LAYER, "computes a double", {"output", "gradients"}),
        ("torch", "torch:export", ONE_LAYER, "computes a double", {"output", "gradients"}),
        ("torch", "torch:conv1d", ONE_LAYER, "computes a double", {"output", "gradients"}),
        ("torch", "torch:meta", ABSTRACT, "flattens its output", {"output_shape"}),
    ],
)
def test_a_faulty_layer_violates(
    record_of: RecordOf, group: str, name: str, case: Case, fault: str, red: set[str]
) -> None:
    assert red <= violated(record_of(group, name, case, fault))


def test_a_layer_that_is_not_compiled_violates(record_of: RecordOf) -> None:
    found = record_of("torch", "torch:compile", ONE_LAYER, "compiles nothing")
    assert any("no compiled graph was run" in each.get("message", "") for each in found["checks"]), found


def test_a_function_with_a_wrong_gradient_violates(record_of: RecordOf) -> None:
    found = record_of("torch", "tests.support.plain_functions:hides_its_kernel@torch", TWO_LAYERS)
    assert violated(found) == {"gradients", "weights_live"}


def test_a_layer_built_within_a_decorated_call_runs_by_name_alone() -> None:
    (decorated,) = select(["keras-tensorflow:decorated"])
    assert not has_cell(TWO_LAYERS, decorated)


def test_a_layer_for_some_ranks_gets_cases_of_those_alone() -> None:
    for implementation in select(["torch:*", "onnxruntime:*"]):
        ranks = {len(case.input_shape) for case in load([default_cases()]).cases if has_cell(case, implementation)}
        assert (ranks == {2}) == (implementation.name == "torch:conv1d")


def test_every_layer_of_these_groups_is_registered_and_has_faults() -> None:
    registered = {each.name: each for each in BUILT_IN if each.participation.tier == "nightly"}
    names = {name for group in (*LAYERS.values(), *SHAPES_ALONE.values()) for name in group if "plain" not in name}
    assert names | {"torch:compile"} <= registered.keys()
    assert {name for name in names if registered[name].shapes_only} == {n for g in SHAPES_ALONE.values() for n in g}
    default = {each.name for each in BUILT_IN if each.participation.tier == "full" and each.mode is None}
    assert {name for group in PLANTED.values() for name in group} == default | {"keras2"}


def test_importing_an_adapter_imports_no_framework() -> None:
    frameworks = ("flax", "jax", "keras", "tensorflow", "tf_keras", "torch", "equinox", "haiku")
    modules = sorted({each.adapter.partition(":")[0] for each in BUILT_IN})
    script = f"import sys, {', '.join(modules)}; print([each for each in {frameworks} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_no_adapter_subclasses_another() -> None:
    paths = {implementation.adapter.partition(":")[::2] for implementation in BUILT_IN}
    adapters = {getattr(import_module(module), name) for module, name in paths}
    for each in adapters:
        bases = {*each.__mro__} - {each}
        assert not bases & adapters
        assert not any(hasattr(base, "build") for base in bases), "a base class is no adapter by itself"


@pytest.mark.parametrize("adapter", ["jax.flax_linen:FlaxLinenAdapter", "jax.flax_nnx:FlaxNnxAdapter"])
def test_a_mode_that_is_none_is_an_error(adapter: str) -> None:
    module, _, name = adapter.partition(":")
    with pytest.raises(ValueError, match="no such mode: 'eager'"):
        getattr(import_module(f"conformance.adapters.{module}"), name)(mode="eager")


@pytest.mark.parametrize("group", GROUPS)
def test_an_adapter_reports_its_framework_and_ignores_the_settings_of_a_user(
    answers_of: Callable[[str], Answers], group: str
) -> None:
    names = [name for name in PLANTED[group] if not select([name])[0].missing_packages()]
    for name in names:
        (implementation,), hello = select([name]), answers_of(group).hellos[name]
        settings = hello["settings"]
        assert {*implementation.packages} <= {*hello["versions"]}
        assert all(hello["versions"].values())
        full = {"float32_matmul_precision", "matmul_precision"} & {*settings}
        assert all(settings[each] == "highest" for each in full), settings
        tf32 = [value for key, value in settings.items() if "tf32" in key or "tensor_float_32" in key]
        assert not any(tf32), settings
        assert tf32 or full, settings
        threads = {settings.get(each, 1) for each in ("threads", "intra_op_threads", "inter_op_threads")}
        assert threads == {1}, settings
        assert hello["devices"] == ["cpu"]
        if "keras" in implementation.packages:
            own = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
            own["backend"] = GROUPS[group]["KERAS_BACKEND"]
            assert {key: settings[key] for key in own} == own
    assert [each for each in answers_of(group).findings if not each[1]] == []
