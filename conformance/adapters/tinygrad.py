"""
tinygrad: `tinygrad.nn.Linear` and activation functions in a row, by `Tensor.sequential`, on tinygrad's CPU device.

This module has all code for tinygrad. It must not import tinygrad before an adapter is made, compute a
shape itself, or check what tinygrad is there to check. The CPU device compiles what it computes with clang, a
program that no package brings.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported

if TYPE_CHECKING:
    from tinygrad import Tensor

#: tinygrad's names for the arrays of a layer; a weight has shape (m, d).
NAMES: Final = {"weight": "kernel", "bias": "bias"}
DEVICE: Final = "CPU"
#: tinygrad's own names of the dtypes that are not those of NumPy.
DTYPES: Final = {"float16": "half", "float32": "float", "float64": "double", "bfloat16": "bfloat16"}
#: Upper limit of an unknown axis: more than any axis there is.
LONGEST: Final = 2**40


class TinygradAdapter:
    """tinygrad on its CPU device."""

    def __init__(self) -> None:
        from tinygrad import Device

        Device[DEVICE]  # opened here, so that the time counts as start and not as the first cell

    def versions(self) -> Mapping[str, str]:
        """Return the versions of tinygrad, of the compiler it runs, and of what carries arrays to it."""
        found = {each: importlib.metadata.version(each) for each in ("tinygrad", "numpy", "ml_dtypes")}
        command = [os.environ.get("CC", "clang"), "-dumpversion"]
        return {**found, "clang": subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}

    def settings(self) -> Mapping[str, object]:
        """Return how the device renders and compiles what it computes."""
        from tinygrad import Device
        from tinygrad.helpers import BEAM, NOOPT

        device = Device[DEVICE]
        return {
            "renderer": type(device.renderer).__name__,
            "compiler": type(device.renderer.compiler).__name__,
            "beam": BEAM.value,
            "noopt": NOOPT.value,
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`: the one device that is opened."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> TinygradModel:
        """
        Return the layers of the stack.

        Raises:
            Unsupported: `device` is not the CPU.
        """
        if device != "cpu":
            raise Unsupported(f"this adapter has no layer on {device}")
        return TinygradModel(stack)


class TinygradModel:
    """`tinygrad.nn.Linear` layers in a list, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack) -> None:
        from tinygrad import nn
        from tinygrad.helpers import Context

        self._stack = stack
        self._modules: list[Callable[[Any], Any]] = []
        with Context(DEFAULT_FLOAT=DTYPES[stack.dtype].upper()):  # the only way to set the dtype of a layer
            for width, layer in zip(stack.widths, stack.layers, strict=True):
                self._modules.append(nn.Linear(width, layer.units, bias=layer.use_bias))
                self._modules += _activations()[layer.activation]
        self._linears = {place: each for place, each in enumerate(self._modules) if isinstance(each, nn.Linear)}
        self._output: Tensor | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes as they leave each layer, of tensors that are not computed, unknown axes variables."""
        from tinygrad import Tensor, Variable, nn

        sizes = [
            Variable(f"axis_{axis}", 1, LONGEST) if size is None else size
            for axis, size in enumerate((batch, *self._stack.input_shape))
        ]
        unknown = [each for each in sizes if not isinstance(each, int)]
        y = Tensor.empty(*sizes, dtype=_dtype(self._stack.dtype), device=DEVICE)
        shapes: list[Shape] = []
        for module in self._modules:
            y = module(y)
            if not isinstance(module, nn.Linear):
                shapes.pop()  # an activation belongs to the layer before it
            shapes.append(tuple(_axis(each, unknown) for each in y.shape))
        return shapes

    def parameters(self) -> Sequence[Parameter]:
        """Return every tensor of each layer, under the names `get_state_dict` has for them; all are trained."""
        from tinygrad.nn.state import get_parameters, get_state_dict

        trained = {id(each) for each in get_parameters(self._modules)}
        return [
            Parameter(
                layer=index,
                name=NAMES.get(own, own),
                shape=tuple(each.shape),
                dtype=_name(each),
                trainable=id(each) in trained,
                reported=f"{place}.{own}",
            )
            for index, (place, linear) in enumerate(self._linears.items())
            for own, each in get_state_dict(linear).items()
        ]

    def parameter_count(self) -> int:
        """Return the number of elements of all tensors that `get_parameters` finds."""
        from tinygrad.nn.state import get_parameters

        return sum(each.numel() for each in get_parameters(self._modules))

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape)."""
        self._output = from_numpy(x).sequential(self._modules)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what `Tensor.gradient` gives for sum(dy * y); a weight's (m, d) is handed over as (d, m)."""
        from tinygrad import dtypes
        from tinygrad.nn.state import get_state_dict

        handed = from_numpy(x)
        self._output = handed.sequential(self._modules)
        wanted = [each for linear in self._linears.values() for each in get_state_dict(linear).values()]
        floating = dtypes.is_float(handed.dtype)
        found = iter(self._output.gradient(*wanted, *([handed] if floating else []), gradient=from_numpy(dy)))
        layers = tuple(
            (to_numpy(next(found).T), to_numpy(next(found)) if layer.use_bias else None) for layer in self._stack.layers
        )
        return Gradients(dx=to_numpy(next(found)) if floating else None, layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Load kernels and biases through `load_state_dict`, which refuses other shapes; without kernels do nothing."""
        from tinygrad.nn.state import load_state_dict

        given: dict[str, Tensor] = {}
        for place, layer in zip(self._linears, stack.layers, strict=True):
            if layer.kernel is not None:
                given[f"{place}.weight"] = from_numpy(layer.kernel.T)
            if layer.bias is not None:
                given[f"{place}.bias"] = from_numpy(layer.bias)
        if given:
            load_state_dict(self._modules, given, verbose=False)

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return str(self._output.device).lower()

    def handed_strides(self) -> None:
        """Return None: a tensor of tinygrad does not report strides."""


def from_numpy(array: Array) -> Tensor:
    """Return a tensor of the shape and dtype of `array` on the CPU device."""
    from tinygrad import Tensor, dtypes

    if array.dtype == ml_dtypes.bfloat16:
        # tinygrad has no NumPy bfloat16: the bits are passed as integers of the same width.
        return Tensor(array.view(np.uint16), device=DEVICE).bitcast(dtypes.bfloat16)
    return Tensor(array, device=DEVICE)


def to_numpy(tensor: Tensor) -> Array:
    """Return an array of the same shape and dtype, bfloat16 as that of `ml_dtypes`; tinygrad computes it here."""
    from tinygrad import dtypes

    if tensor.dtype == dtypes.bfloat16:
        return tensor.bitcast(dtypes.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _dtype(name: str) -> Any:
    from tinygrad import dtypes

    return getattr(dtypes, name)


def _name(tensor: Tensor) -> str:
    """Return the NumPy name of a tensor's dtype, or tinygrad's own name where that is another."""
    return next((name for name in DTYPES if _dtype(name) == tensor.dtype), str(tensor.dtype))


def _axis(size: Any, unknown: Sequence[object]) -> int | None:
    """Return None for an axis that is one of the variables, else the number; raises where it is something else."""
    return None if any(size is each for each in unknown) else int(size)


def _activations() -> Mapping[str, list[Callable[[Any], Any]]]:
    from tinygrad import Tensor

    return {
        "linear": [],
        "relu": [Tensor.relu],
        "sigmoid": [Tensor.sigmoid],
        "softmax": [Tensor.softmax],
        "tanh": [Tensor.tanh],
        "leaky_relu": [partial(Tensor.leaky_relu, neg_slope=0.01)],
        "elu": [partial(Tensor.elu, alpha=1.0)],
        "selu": [Tensor.selu],
        "softplus": [partial(Tensor.softplus, beta=1.0)],
        "softsign": [Tensor.softsign],
        "silu": [Tensor.silu],
        "gelu": [partial(Tensor.gelu, approximate="none")],
        "gelu_tanh": [partial(Tensor.gelu, approximate="tanh")],
        "hard_sigmoid": [Tensor.hardsigmoid],
        "log_softmax": [Tensor.log_softmax],
        "exponential": [Tensor.exp],
    }
