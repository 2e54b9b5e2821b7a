"""
LiteRT, once TensorFlow Lite: `keras.layers.Dense` in a model, converted by `tf.lite.TFLiteConverter` and interpreted.

This module has all code for LiteRT. It must not import a framework before an adapter is made, compute a
shape itself, or check what the converter and the interpreter are there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from conformance.adapters.keras.model import functional_model
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter, SignatureRunner

#: What an unknown axis is in the signature of a converted model.
UNKNOWN: Final = -1


class LiteRtAdapter:
    """An interpreter on the CPU, as installed: with the XNNPACK delegate for what that can compute."""

    def __init__(self) -> None:
        # Loaded here, so that the time counts as start and not as the first cell.
        import ai_edge_litert.interpreter  # noqa: F401
        import tensorflow  # noqa: F401

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the interpreter, and of what converts for it."""
        taking_part = ("ai-edge-litert", "tensorflow", "keras", "numpy", "ml_dtypes")
        return {each: importlib.metadata.version(each) for each in taking_part}

    def settings(self) -> Mapping[str, object]:
        """Return the number of threads given to an interpreter, which has nothing to read back."""
        return {"num_threads": _threads()}

    def devices(self) -> Sequence[str]:
        """Return `cpu`: there is no other delegate in use."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> LiteRtModel:
        """
        Return the stack, converted and loaded into an interpreter.

        Raises:
            Unsupported: `device` is not the CPU.
        """
        if device != "cpu":
            raise Unsupported(f"this adapter has no interpreter on {device}")
        return LiteRtModel(stack)


class LiteRtModel:
    """A converted stack in an interpreter, its batch and other unknown axes dynamic."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._output: Array | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes in the signature of a model converted with the output of every layer."""
        interpreter = _converted(self._stack, (batch, *self._stack.input_shape), every_layer=True)
        outputs = interpreter.get_signature_runner().get_output_details()
        signatures = [outputs[f"output_{index}"]["shape_signature"] for index in range(len(self._stack.layers))]
        return [tuple(None if size == UNKNOWN else int(size) for size in each) for each in signatures]

    def parameters(self) -> Sequence[Parameter]:
        """Raise: what was a parameter is a constant of the converted model, transposed and perhaps folded."""
        raise Unsupported("a converted model holds constants, and no parameters of layers")

    def parameter_count(self) -> None:
        """Return None: an interpreter counts nothing."""

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) of one run of the model's signature."""
        (entry,) = self._runner.get_input_details()
        (self._output,) = self._runner(**{entry: from_numpy(x)}).values()
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Raise: an interpreter does not differentiate."""
        raise Unsupported("an interpreter does not differentiate")

    def set_weights(self, stack: Stack) -> None:
        """Convert the stack anew with other weights: the constants of a converted model cannot be replaced."""
        shape = (*(None,) * stack.leading_axes, *stack.input_shape)
        # A runner does not keep its interpreter alive.
        self._interpreter: Interpreter = _converted(stack, shape, every_layer=False)
        self._runner: SignatureRunner = self._interpreter.get_signature_runner()

    def placement(self) -> str:
        """Return the device that the last output, a NumPy array, reports."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return str(getattr(self._output, "device", "cpu"))  # releases of NumPy before 2.0 has no devices

    def handed_strides(self) -> None:
        """Return None: an interpreter copies its input into tensors of its own."""


def from_numpy(array: Array) -> Array:
    """Return the array itself: an interpreter takes arrays of NumPy."""
    return array


def to_numpy(array: Array) -> Array:
    """Return the array itself: an interpreter gives arrays of NumPy."""
    return array


def _converted(stack: Stack, shape: Shape, *, every_layer: bool) -> Interpreter:
    """Return an interpreter of the stack for inputs of `shape`; its outputs are the last layer or every one."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    model = functional_model(stack, shape, every_layer=every_layer)
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    return Interpreter(model_content=converted, num_threads=_threads())


def _threads() -> int | None:
    """Return the number of threads that the suite gives the process, None for as many as the interpreter takes."""
    threads = os.environ.get("CONFORMANCE_THREADS")
    return int(threads) if threads else None
