"""
NumPy: `x @ kernel + bias` on the caller's arrays.

NumPy has no layer: nothing infers a shape without computing, has parameters or differentiates. The adapter declines
those questions and answers everything that follows from outputs. Nothing here computes a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported


class NumPyAdapter:
    """NumPy as installed, with the BLAS it was built with."""

    def versions(self) -> Mapping[str, str]:
        """Return the versions of numpy and of the package that adds bfloat16 to it."""
        return {"numpy": np.__version__, "ml_dtypes": ml_dtypes.__version__}

    def settings(self) -> Mapping[str, object]:
        """Return the BLAS NumPy was built with, and the features of the processor that NumPy has kernels for."""
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        features = " ".join(config["SIMD Extensions"].get("found", ()))
        return {"blas": f"{blas.get('name', '?')} {blas.get('version', '')}".strip(), "simd": features}

    def devices(self) -> Sequence[str]:
        """Return `cpu`, the only device of NumPy."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> NumPyModel:
        """
        Return the arrays of the stack.

        Raises:
            Unsupported: the stack has no arrays; NumPy has nothing that would make them.
        """
        if any(layer.kernel is None for layer in stack.layers):
            raise Unsupported("NumPy has no layer that would make its own kernel, or refuse to")
        return NumPyModel(stack)


class NumPyModel:
    """Kernels of shape (d, m) and biases of shape (m,), as given."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._output: Array | None = None
        self._handed: tuple[int, ...] | None = None

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Raise: NumPy has a shape only after it computed the array."""
        raise Unsupported("NumPy infers no shape without computing")

    def parameters(self) -> Sequence[Parameter]:
        """Raise: NumPy has no parameters."""
        raise Unsupported("NumPy holds no parameters: the caller does")

    def parameter_count(self) -> None:
        """Return None: there is nothing to count."""

    def forward(self, x: Array) -> Array:
        """
        Return the output for x (*leading, *input_shape).

        Raises:
            Unsupported: NumPy refused the product. It does so in native code, so no frame of the traceback is NumPy's.
        """
        y = from_numpy(x)
        self._handed = y.strides
        for layer in self._stack.layers:
            try:
                y = y @ from_numpy(layer.kernel)
            except ValueError as error:
                raise Unsupported(f"refused in native code, where no frame says by whom: {error}") from error
            if layer.bias is not None:
                y = y + from_numpy(layer.bias)
            y = _ACTIVATIONS[layer.activation](y)
        self._output = y
        return to_numpy(y)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Raise: NumPy does not differentiate."""
        raise Unsupported("NumPy does not differentiate")

    def set_weights(self, stack: Stack) -> None:
        """Replace the arrays of the next calls."""
        self._stack = stack

    def placement(self) -> str:
        """Return the device that the last output reports."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return str(getattr(self._output, "device", "cpu"))  # NumPy before 2.0 has no devices

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the last input."""
        return self._handed


def from_numpy(array: Array | None) -> Array:
    """Return the array itself."""
    assert array is not None, "a stack without arrays was not built"
    return array


def to_numpy(array: Array) -> Array:
    """Return the array itself."""
    return array


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


#: NumPy has no activation functions; this one is a ufunc of its own.
_ACTIVATIONS: Final[Mapping[str, Callable[[Array], Array]]] = {"linear": lambda z: z, "relu": _relu}
