"""
A plain function `(x, kernel, bias) -> y` on arrays of NumPy, PyTorch, JAX or TensorFlow, checked as a layer.

The author of a kernel needs no layer. The function takes x of shape (..., d), a kernel of shape (d, m)
and a bias of shape (m,), or None for a layer without, and returns y of shape (..., m). Layers are fed by the ones
before, and relu is the framework's own. Gradients are those of the framework's own differentiation of the function. It
infers no shapes and has no parameters: the adapter declines those questions. Nothing here computes a shape.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.adapters.function.frameworks import FRAMEWORKS, Framework, Weights
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported

Function = Callable[[Any, Any, Any], Any]


class FunctionAdapter:
    """
    One function on the CPU; `mode` is `module:function@framework`.

    Raises:
        TypeError: what is named so cannot be called with x, kernel and bias.
        KeyError: the framework is none of `numpy`, `torch`, `jax` and `tensorflow`.
    """

    def __init__(self, *, mode: str) -> None:
        self._path, _, framework = mode.partition("@")
        self._framework = FRAMEWORKS[framework]()
        module, _, name = self._path.partition(":")
        self._function: Function = getattr(importlib.import_module(module), name)
        try:
            inspect.signature(self._function).bind("x", "kernel", "bias")
        except TypeError as error:
            raise TypeError(f"{self._path} cannot be called with x, kernel and bias: {error}") from None

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the framework and of what carries arrays to it."""
        taking_part = dict.fromkeys((*self._framework.distributions, "numpy", "ml_dtypes"))
        return {each: importlib.metadata.version(each) for each in taking_part}

    def settings(self) -> Mapping[str, object]:
        """Return the name of the function, and the framework's flags as the adapter set them."""
        return {"function": self._path, **self._framework.settings}

    def devices(self) -> Sequence[str]:
        """Return `cpu`: a function takes arrays there."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> FunctionModel:
        """
        Return the function with the kernels and biases of its calls.

        Raises:
            Unsupported: the stack has no weights, and a function makes none.
        """
        if any(layer.kernel is None for layer in stack.layers):
            raise Unsupported("a function is handed its kernel, and does not make one")
        return FunctionModel(stack, self._function, self._framework)


class FunctionModel:
    """One function called for each layer, with that layer's arrays."""

    def __init__(self, stack: Stack, function: Function, framework: Framework) -> None:
        self._function = function
        self._framework = framework
        self._output: Any = None
        self._handed: tuple[int, ...] | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Raise: a function gives a shape only by computing the array."""
        raise Unsupported("a function infers no shape without computing")

    def parameters(self) -> Sequence[Parameter]:
        """Raise: a function has no parameters."""
        raise Unsupported("a function holds no parameters: its caller does")

    def parameter_count(self) -> None:
        """Return None: there is nothing to count."""

    def forward(self, x: Array) -> Array:
        """Return the output of the last layer for x (*leading, *input_shape)."""
        handed = self._framework.from_numpy(x)
        self._handed = self._framework.strides(handed)
        self._output = self._call(handed, self._weights)
        return self._framework.to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """
        Return what the framework's differentiation of the function gives for sum(dy * y).

        Raises:
            Unsupported: the framework has none.
        """
        given = self._framework
        dx, found = given.differentiate(self._call, given.from_numpy(x), self._weights, given.from_numpy(dy))
        layers = tuple(
            (given.to_numpy(kernel), None if bias is None else given.to_numpy(bias)) for kernel, bias in found
        )
        return Gradients(dx=None if x.dtype.kind in "biu" else given.to_numpy(dx), layers=layers)

    def _call(self, x: Any, weights: Weights) -> Any:
        for (kernel, bias), activation in zip(weights, self._activations, strict=True):
            y = self._function(x, kernel, bias)
            if not isinstance(y, self._framework.kind):
                wanted = f"{self._framework.kind.__module__}.{self._framework.kind.__name__}"
                raise TypeError(f"the function returned {type(y).__name__}, not {wanted}")
            x = self._framework.relu(y) if activation == "relu" else y
        return x

    def set_weights(self, stack: Stack) -> None:
        """
        Replace the arrays of the next calls.

        Raises:
            Unsupported: an activation is neither linear nor relu.
        """
        self._activations = [layer.activation for layer in stack.layers]
        if not {*self._activations} <= {"linear", "relu"}:
            raise Unsupported("a function runs only linear and relu")
        hand = self._framework.from_numpy
        self._weights = [
            (hand(layer.kernel), None if layer.bias is None else hand(layer.bias)) for layer in stack.layers
        ]

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return self._framework.placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the array the function was handed, None where arrays have none."""
        return self._handed
