"""
Each adapter against NumPy, in a process of its own with the environment the registry gives it.

Run as a script with the name of an implementation, this file is that process: it puts many questions to one adapter
through `conformance.sandbox.execution.perform` and prints what did not come out as NumPy says. The bounds that matter
live elsewhere; here small integers must come out exact, and the rest close.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.adapters.protocol import Adapter, Array, Dense, Gradients, Parameter, Stack
from conformance.adapters.registry import BUILT_IN, Implementation
from conformance.sandbox.execution import perform
from conformance.sandbox.layouts import arrange
from conformance.sandbox.steps import (
    Answer,
    Build,
    Differentiate,
    Done,
    Forward,
    Inferred,
    InferShapes,
    Output,
    Parameters,
    Raised,
    ReadParameters,
    SetWeights,
    Step,
)
from tests.support.paths import ROOT

FRAMEWORKS = ("flax", "jax", "keras", "tensorflow", "tf_keras", "torch", "equinox", "haiku")
Finding = tuple[str, bool, object]
"""What was asked, whether it came out right, and what came out."""


@pytest.mark.parametrize(
    "implementation", [each for each in BUILT_IN if each.tier == "full"], ids=lambda each: each.name
)
def test_adapter_against_numpy(implementation: Implementation, tmp_path: Path) -> None:
    if missing := implementation.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    # What a user may have there must not matter.
    hostile = {"floatx": "float64", "epsilon": 0.5, "backend": "none", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(hostile))
    result = _python(
        [__file__, implementation.name],
        KERAS_HOME=str(tmp_path),
        CONFORMANCE_THREADS="1",
        OMP_NUM_THREADS="1",
        TF_CPP_MIN_LOG_LEVEL="3",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        CUDA_VISIBLE_DEVICES="-1",
        **implementation.environment,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    findings: list[list[Any]] = json.loads(result.stdout.splitlines()[-1])
    assert len(findings) > 60
    assert [(asked, found) for asked, right, found in findings if not right] == []


def test_importing_an_adapter_imports_no_framework() -> None:
    modules = sorted({each.adapter.partition(":")[0] for each in BUILT_IN})
    script = f"import sys, {', '.join(modules)}; print([each for each in {FRAMEWORKS} if each in sys.modules])"
    result = _python(["-c", script])
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_no_adapter_subclasses_another() -> None:
    for implementation in BUILT_IN:
        module, _, name = implementation.adapter.partition(":")
        assert getattr(import_module(module), name).__bases__ == (object,)


def _python(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# What follows runs in the process of one implementation.


def _findings(implementation: Implementation) -> Iterator[Finding]:
    module, _, name = implementation.adapter.partition(":")
    adapter: Adapter = getattr(import_module(module), name)()
    yield from _what_it_says_of_itself(adapter, implementation)
    for rank in (1, 2, 3, 4):
        yield from _shapes_and_parameters(adapter, implementation, (2, 3, 2, 5)[-rank:])
    yield from _unknown_axis(adapter)
    yield from _values(adapter, _stack((5,), "linear", bias=[False]), (3,))
    yield from _values(adapter, _stack((3, 5), "relu", "linear", "relu", bias=[True, False, True]), (2,))
    yield from _values(adapter, _stack((5,), "tanh", "sigmoid", "softmax"), (3,), within=1e-5)
    yield from _values(adapter, _stack((3, 5), "relu", "linear", leading_axes=0), ())
    yield from _values(adapter, _stack((5,), "relu", "linear", leading_axes=2), (2, 3))
    yield from _values(adapter, _stack((5,), "relu"), (0,))
    yield from _no_batch(adapter, implementation)
    yield from _initial_weights(adapter)
    for dtype in ("float64", "float16", "bfloat16"):
        yield from _dtype(adapter, implementation, dtype)
    for dtype in ("float32", "bfloat16"):
        for layout in ("transposed", "strided", "broadcast"):
            yield from _layout(adapter, implementation, layout, dtype)
    yield from _refusals(adapter, implementation)
    yield from _devices(import_module(module), adapter, implementation)


def _what_it_says_of_itself(adapter: Adapter, implementation: Implementation) -> Iterator[Finding]:
    versions, settings = adapter.versions(), adapter.settings()
    yield "versions", {*implementation.packages} <= {*versions} and all(versions.values()), versions
    yield "settings", bool(json.dumps(settings)), str(settings)
    full = {"float32_matmul_precision", "matmul_precision"} & {*settings}
    yield "full precision", all(settings[each] == "highest" for each in full), settings
    tf32 = [value for key, value in settings.items() if "tf32" in key or "tensor_float_32" in key]
    yield "no TF32", not any(tf32) and bool(tf32 or full), settings
    threads = [value for key, value in settings.items() if key in ("threads", "intra_op_threads", "inter_op_threads")]
    yield "threads as asked", all(each == 1 for each in threads), settings
    if "keras" in implementation.packages:
        own = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
        own["backend"] = implementation.environment["KERAS_BACKEND"]
        yield "nothing from keras.json", {key: settings[key] for key in own} == own, settings
    yield "devices", tuple(adapter.devices()) == ("cpu",), adapter.devices()


def _shapes_and_parameters(
    adapter: Adapter, implementation: Implementation, input_shape: tuple[int, ...]
) -> Iterator[Finding]:
    stack = _stack(input_shape, "relu", "softmax", bias=[True, False])
    asked: list[Step] = [Build(label="build", stack=stack, device="cpu"), ReadParameters(label="parameters")]
    batches = (None, 0, 1, 7)
    asked += [InferShapes(label=f"infer {batch}", batch=batch) for batch in batches]
    answers = _ask(adapter, asked)
    for batch in batches:
        shapes = tuple((batch, *input_shape[:-1], _units(layer)) for layer in stack.layers)
        found = answers[f"infer {batch}"]
        yield f"{input_shape} inferred for {batch}", found == Inferred(shapes=shapes), found
    parameters = answers["parameters"]
    assert isinstance(parameters, Parameters), parameters
    stored = {(each.layer, each.name): each for each in parameters.parameters}
    weights = [layer.kernel for layer in stack.layers if layer.kernel is not None]
    expected = {(0, "kernel"), (0, "bias"), (1, "kernel")}
    yield f"{input_shape} parameters", stored.keys() == expected and len(parameters.parameters) == 3, list(stored)
    for index, kernel in enumerate(weights):
        yield f"{input_shape} kernel {index}", _is_kernel(stored[index, "kernel"], kernel), stored[index, "kernel"]
    yield f"{input_shape} bias", stored[0, "bias"].shape == weights[0].shape[1:], stored[0, "bias"]
    reported = {each.reported for each in parameters.parameters}
    named = len(reported) == 3 and all("kernel" in each or "weight" in each or "bias" in each for each in reported)
    yield f"{input_shape} reported names", named, sorted(reported)
    count = sum(kernel.size for kernel in weights) + stack.layers[0].bias.size  # type: ignore[union-attr]
    yield f"{input_shape} own count", parameters.own_count == str(count), parameters.own_count
    yield f"{implementation.name} builds", answers["build"] == Done(), answers["build"]


def _is_kernel(parameter: Parameter, kernel: Array) -> bool:
    return (
        sorted(parameter.shape) == sorted(kernel.shape) and parameter.dtype == str(kernel.dtype) and parameter.trainable
    )


def _unknown_axis(adapter: Adapter) -> Iterator[Finding]:
    stack = _stack((None, 5), "linear", "relu")
    answers = _ask(adapter, [Build(label="build", stack=stack, device="cpu"), InferShapes(label="infer", batch=None)])
    shapes = tuple((None, None, _units(layer)) for layer in stack.layers)
    yield "an unknown axis", answers["infer"] == Inferred(shapes=shapes), answers


def _values(adapter: Adapter, stack: Stack, leading: tuple[int, ...], within: float = 0) -> Iterator[Finding]:
    what = f"{leading}{stack.input_shape} {[(layer.activation, layer.use_bias) for layer in stack.layers]}"
    other = _stack(
        stack.input_shape,
        *(layer.activation for layer in stack.layers),
        bias=[layer.use_bias for layer in stack.layers],
        leading_axes=stack.leading_axes,
        seed=1,
    )
    x = _even((*leading, *_known(stack.input_shape)), "float32", seed=2)
    y, _ = _by_numpy(stack, x, None)
    dy = _even(y.shape, "float32", seed=3)
    steps = (
        Build(label="build", stack=stack, device="cpu"),
        Forward(label="forward", x=x),
        Differentiate(label="gradients", x=x, dy=dy),
        # A second model of the same structure may share what was compiled for the first, but not its weights.
        Build(label="build of a twin", model="twin", stack=other, device="cpu"),
        Forward(label="forward of a twin", model="twin", x=x),
        Differentiate(label="gradients of a twin", model="twin", x=x, dy=dy),
        Differentiate(label="gradients beside a twin", x=x, dy=dy),
        Forward(label="forward beside a twin", x=x),
        SetWeights(label="set weights", stack=other),
        Forward(label="forward anew", x=x),
        Differentiate(label="gradients anew", x=x, dy=dy),
    )
    answers = _ask(adapter, steps)
    for state, weights in (("", stack), (" of a twin", other), (" beside a twin", stack), (" anew", other)):
        y, gradients = _by_numpy(weights, x, dy)
        output, found = answers[f"forward{state}"], answers[f"gradients{state}"]
        yield f"{what} forward{state}", isinstance(output, Output) and _close(output.y, y, within), output
        yield f"{what} placement", isinstance(output, Output) and output.placement == "cpu", output
        same = isinstance(found, Gradients) and _all_close(found, gradients, within)
        yield f"{what} gradients{state}", same, found


def _no_batch(adapter: Adapter, implementation: Implementation) -> Iterator[Finding]:
    """A vector alone is taken by torch and Flax, and refused by whatever has Keras's layer, at the call or before."""
    stack = _stack((5,), "relu", leading_axes=0)
    x = _even((5,), "float32", seed=2)
    answers = _ask(adapter, [Build(label="build", stack=stack, device="cpu"), Forward(label="forward", x=x)])
    if {"keras", "tf_keras"} & {*implementation.packages}:
        yield "no batch refused", any(_refused(each, implementation) for each in answers.values()), answers
    else:
        output = answers["forward"]
        yield "no batch", isinstance(output, Output) and _close(output.y, _by_numpy(stack, x, None)[0], 0), output


def _initial_weights(adapter: Adapter) -> Iterator[Finding]:
    layer = Dense(units=3, use_bias=True, activation="linear", kernel=None, bias=None)
    stack = Stack(input_shape=(5,), leading_axes=1, dtype="float32", layers=(layer,))
    x = _even((3, 5), "float32", seed=2)
    answers = _ask(adapter, [Build(label="build", stack=stack, device="cpu"), Forward(label="forward", x=x)])
    output = answers["forward"]
    yield "initial weights", isinstance(output, Output) and output.y.shape == (3, 3) and bool(output.y.any()), answers


def _dtype(adapter: Adapter, implementation: Implementation, dtype: str) -> Iterator[Finding]:
    stack = _stack((5,), "relu", dtype=dtype)
    x = _even((3, 5), dtype, seed=2)
    # As installed, JAX has no float64, and says nothing.
    kept = "float32" if dtype == "float64" and "jax" in implementation.packages else dtype
    dy = _even((3, 4), kept, seed=3)
    y, gradients = _by_numpy(stack, x.astype(kept), dy)
    answers = _ask(
        adapter,
        (
            Build(label="build", stack=stack, device="cpu"),
            Forward(label="forward", x=x),
            Differentiate(label="gradients", x=x, dy=dy),
        ),
    )
    output, found = answers["forward"], answers["gradients"]
    yield f"{dtype} forward", isinstance(output, Output) and _close(output.y, y, 0), output
    same = isinstance(found, Gradients) and _all_close(found, gradients, 0)
    yield f"{dtype} gradients", same, found


def _layout(adapter: Adapter, implementation: Implementation, layout: str, dtype: str) -> Iterator[Finding]:
    stack = _stack((3, 5), "relu", dtype=dtype)
    x = _even((2, 3, 5), dtype, seed=2)
    x[1] = x[0]
    answers = _ask(
        adapter, (Build(label="build", stack=stack, device="cpu"), Forward(label="forward", x=x, layout=layout))
    )
    output = answers["forward"]
    right = isinstance(output, Output) and _close(output.y, _by_numpy(stack, x, None)[0], 0)
    yield f"{layout} {dtype} forward", right, output
    strides = arrange(x, layout).strides if "torch" in implementation.packages else None
    yield f"{layout} {dtype} strides", isinstance(output, Output) and output.strides == strides, output


def _refusals(adapter: Adapter, implementation: Implementation) -> Iterator[Finding]:
    legal = _stack((5,), "relu")
    wrong = _even((3, 4), "float32", seed=2)
    answers = _ask(adapter, [Build(label="build", stack=legal, device="cpu"), Forward(label="forward", x=wrong)])
    yield "wrong last axis", _refused(answers["forward"], implementation), answers
    cases: list[tuple[str, tuple[int | None, ...], Any, int]] = [
        ("rank 0", (), 3, 0),
        ("rank 0 with a batch", (), 3, 1),
        ("unknown last axis", (None,), 3, 1),
        ("units -1", (5,), -1, 1),
        ("units 'x'", (5,), "x", 1),
        ("units None", (5,), None, 1),
    ]
    for what, input_shape, units, leading_axes in cases:
        layer = Dense(units=units, use_bias=True, activation="linear", kernel=None, bias=None)
        stack = Stack(input_shape=input_shape, leading_axes=leading_axes, dtype="float32", layers=(layer,))
        x = np.ones((*(3,) * leading_axes, *(4 if axis is None else axis for axis in input_shape)), "float32")
        answers = _ask(adapter, [Build(label="build", stack=stack, device="cpu"), Forward(label="forward", x=x)])
        first = next(each for each in answers.values() if each != Done())
        yield what, _refused(first, implementation), answers


def _devices(module: Any, adapter: Adapter, implementation: Implementation) -> Iterator[Finding]:
    """Where no GPU is, the logic is tried on what there is: two CPU devices of jax, torch's meta device, names."""
    stack, x = _stack((5,), "relu"), _even((3, 5), "float32", seed=2)
    if "torch" in implementation.packages:
        import torch

        yield "read from the tensor", module.placement_of(torch.empty(1, device="meta")) == "meta", None
        wide = arrange(np.ones((2, 3, 5), "float32"), "broadcast")
        moving = module.from_numpy
        if implementation.name != "torch":
            moving = import_module("conformance.adapters.keras.backends").torch_tensor
        moved = moving(wide, "meta")
        kept = tuple(step * 4 for step in moved.stride()) == wide.strides and moved.device.type == "meta"
        yield "strides survive the move to a device", kept, str(moved.stride())
    elif "jax" in implementation.packages:
        import jax

        first, second = jax.devices("cpu")
        jax.config.update("jax_default_device", second)
        model: Any = adapter.build(stack, device="cpu")
        model.forward(x)
        yield "placed where asked, not by default", model._output.devices() == {first}, str(model._output.devices())
        gpu = SimpleNamespace(devices=lambda: [SimpleNamespace(platform="gpu")])
        yield "read from the array", module.placement_of(gpu) == "gpu", module.placement_of(gpu)
    else:
        name = "/job:localhost/replica:0/task:0/device:GPU:0"
        read = module.placement_of(name if implementation.name == "tensorflow-v1" else SimpleNamespace(device=name))
        yield "read from the name of a device", read == "gpu", read
    answers = _ask(adapter, [Build(label="build", stack=stack, device="gpu"), Forward(label="forward", x=x)])
    # TensorFlow places elsewhere what it cannot place as asked; then the answer must say where that was.
    last = answers["forward"]
    here = isinstance(last, Output) and last.placement == "cpu" and "tensorflow" in implementation.packages
    yield "no GPU, none made up", here or any(isinstance(each, Raised) for each in answers.values()), answers


def _refused(answer: Answer, implementation: Implementation) -> bool:
    """A refusal is an exception that passed through the framework, not one of the adapter's alone."""
    return isinstance(answer, Raised) and any(
        module.partition(".")[0] in implementation.packages for module in answer.modules
    )


def _ask(adapter: Adapter, steps: Sequence[Step]) -> dict[str, Answer]:
    return {reply.label: reply.answer for reply in perform(adapter, steps)}


def _stack(
    input_shape: tuple[int | None, ...],
    *activations: str,
    bias: Sequence[bool] | None = None,
    leading_axes: int = 1,
    dtype: str = "float32",
    seed: int = 0,
) -> Stack:
    """Return layers of 4, 3 and 2 units with even kernels and odd biases, so that no pre-activation of theirs is 0."""
    layers: list[Dense] = []
    width = input_shape[-1]
    assert width is not None
    for index, activation in enumerate(activations):
        units, use_bias = 4 - index, bias is None or bias[index]
        scale = 1 if activation in ("linear", "relu") else 1 / 32
        kernel = (_even((width, units), "float64", seed=10 * seed + index) * scale).astype(dtype)
        offset = (np.arange(1, 2 * units, 2) * (-1) ** np.arange(units) * scale).astype(dtype) if use_bias else None
        layers.append(Dense(units=units, use_bias=use_bias, activation=activation, kernel=kernel, bias=offset))
        width = units
    return Stack(input_shape=input_shape, leading_axes=leading_axes, dtype=dtype, layers=tuple(layers))


def _even(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(-2, 3, size=shape)
    return (2 * drawn).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def _known(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(4 if axis is None else axis for axis in shape)


def _units(layer: Dense) -> int:
    assert isinstance(layer.units, int)
    return layer.units


def _by_numpy(stack: Stack, x: Array, dy: Array | None) -> tuple[Any, Gradients]:
    """Return the output and, for dy, the gradients, in float64 and then rounded to the stack's dtype."""
    dtype = x.dtype
    inputs, outputs = [], []
    h: Any = x.astype(np.float64)
    for layer in stack.layers:
        assert layer.kernel is not None
        inputs.append(h)
        z = h @ layer.kernel.astype(np.float64)
        h = _activate(layer.activation, z if layer.bias is None else z + layer.bias.astype(np.float64))
        outputs.append(h)
    y, slope = h, np.zeros_like(h) if dy is None else dy.astype(np.float64)
    layers: list[tuple[Array, Array | None]] = []
    for layer, before, after in zip(reversed(stack.layers), reversed(inputs), reversed(outputs), strict=True):
        assert layer.kernel is not None
        slope = _pull_back(layer.activation, after, slope)
        axes = tuple(range(slope.ndim - 1))
        d, m = layer.kernel.shape
        dkernel = before.reshape(-1, d).T @ slope.reshape(-1, m)
        layers.insert(0, (dkernel.astype(dtype), slope.sum(axes).astype(dtype) if layer.use_bias else None))
        slope = slope @ layer.kernel.astype(np.float64).T
    return y.astype(dtype), Gradients(dx=slope.astype(dtype), layers=tuple(layers))


def _activate(name: str, z: Any) -> Any:
    match name:
        case "relu":
            return np.maximum(z, 0)
        case "sigmoid":
            return 1 / (1 + np.exp(-z))
        case "tanh":
            return np.tanh(z)
        case "softmax":
            raised = np.exp(z - z.max(-1, keepdims=True))
            return raised / raised.sum(-1, keepdims=True)
    return z


def _pull_back(name: str, y: Any, dy: Any) -> Any:
    match name:
        case "relu":
            return dy * (y > 0)
        case "sigmoid":
            return dy * y * (1 - y)
        case "tanh":
            return dy * (1 - y * y)
        case "softmax":
            return y * (dy - (dy * y).sum(-1, keepdims=True))
    return dy


def _all_close(got: Gradients, expected: Gradients, within: float) -> bool:
    pairs = zip((*got.layers, (got.dx, None)), (*expected.layers, (expected.dx, None)), strict=True)
    return all(_close(mine, numpys, within) for pair in pairs for mine, numpys in zip(*pair, strict=True))


def _close(got: Array | None, expected: Array | None, within: float) -> bool:
    if got is None or expected is None:
        return got is expected
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        return False
    return bool((np.abs(got.astype(np.float64) - expected.astype(np.float64)) <= within).all())


def main(name: str) -> None:
    """Print, as JSON on the last line, what was asked, whether it came out right, and if not, what did."""
    (implementation,) = (each for each in BUILT_IN if each.name == name)
    print(
        json.dumps([(asked, right, "" if right else str(found)) for asked, right, found in _findings(implementation)])
    )


if __name__ == "__main__":
    main(sys.argv[1])
