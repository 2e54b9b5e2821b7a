"""
Keras 3: `keras.layers.Dense` in a `keras.Sequential`, called eagerly, on the backend that `KERAS_BACKEND` names.

Everything the suite knows of Keras is here, and in `keras_backends` what it must know of the library below. The module
must not import Keras before it is asked for, compute a shape of its own, or check what Keras is there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from conformance.adapters.keras_backends import BACKENDS, Backend, Call
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack

if TYPE_CHECKING:
    import keras


class KerasAdapter:
    """
    Keras on one backend, eager; on jax, gradients by one jitted vector-Jacobian product.

    Raises:
        RuntimeError: Keras did not take its backend from `KERAS_BACKEND`, the only place it may come from.
    """

    def __init__(self) -> None:
        import keras

        if keras.config.backend() != os.environ.get("KERAS_BACKEND"):
            raise RuntimeError(f"Keras runs on {keras.config.backend()!r}, which KERAS_BACKEND does not name")
        # A user's keras.json may say otherwise.
        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
        keras.config.set_image_data_format("channels_last")
        _backend()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of keras, of its backend, and of what carries arrays to them."""
        taking_part = ("keras", *_backend().distributions, "numpy", "ml_dtypes")
        return {each: importlib.metadata.version(each) for each in taking_part}

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from keras and from its backend."""
        import keras

        return {
            "backend": keras.config.backend(),
            "floatx": keras.config.floatx(),
            "epsilon": keras.config.epsilon(),
            "image_data_format": keras.config.image_data_format(),
            "dtype_policy": keras.config.dtype_policy().name,
            "nnx": keras.config.is_nnx_enabled(),
            **_backend().settings(),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where the backend sees one."""
        return ("cpu", "gpu") if _backend().sees_gpu() else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> KerasModel:
        """Return the stack as a `keras.Sequential`, or as layers in a row where that cannot take its leading axes."""
        return KerasModel(stack, device=f"{device}:0")


class KerasModel:
    """`keras.layers.Dense` layers that each carry their activation."""

    def __init__(self, stack: Stack, *, device: str) -> None:
        import keras

        self._stack = stack
        self._device = device
        self._handed: tuple[int, ...] | None = None
        self._output: Any = None
        self._sequential: keras.Sequential | None = None
        # Given kernels replace the initial ones, and to draw those would cost jax a compilation for each new shape.
        given = all(layer.kernel is not None for layer in stack.layers)
        options = {"kernel_initializer": "zeros"} if given else {}
        with keras.device(device):
            # Named, since the names that Keras makes up count the models of a process and stand in its messages.
            self._layers = [
                keras.layers.Dense(
                    layer.units,
                    activation=layer.activation,
                    use_bias=layer.use_bias,
                    dtype=stack.dtype,
                    name=f"dense_{index}",
                    **options,
                )
                for index, layer in enumerate(stack.layers)
            ]
            if stack.leading_axes == 1:
                entry = keras.Input(stack.input_shape, dtype=stack.dtype, name="x")
                self._sequential = keras.Sequential([entry, *self._layers], name="stack")
            elif stack.input_shape:
                shape: Shape = (*[None] * stack.leading_axes, *stack.input_shape)
                for each in self._layers:
                    each.build(shape)
                    shape = each.compute_output_shape(shape)
            # A scalar has no last axis to build from: its layers stay unbuilt, as a user's would, until the call.
        if given:
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of the symbolic tensors that leave each layer."""
        import keras

        tensor = keras.Input(batch_shape=(batch, *self._stack.input_shape), dtype=self._stack.dtype)
        shapes: list[Shape] = []
        for layer in self._layers:
            tensor = layer(tensor)
            shapes.append(tuple(tensor.shape))
        return shapes

    def parameters(self) -> Sequence[Parameter]:
        """Return every variable of each layer, as Keras names and describes it."""
        return [
            Parameter(
                layer=index,
                name=each.name,
                shape=tuple(each.shape),
                dtype=each.dtype,
                trainable=each.trainable,
                reported=each.path,
            )
            for index, layer in enumerate(self._layers)
            for each in layer.weights
        ]

    def parameter_count(self) -> int:
        """Return the number that Keras counts."""
        counted = self._layers if self._sequential is None else [self._sequential]
        return sum(each.count_params() for each in counted)

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) from an eager call."""
        import keras

        with keras.device(self._device):
            self._output = self._call(self._hand_over(x))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the backend's own differentiation of the eager call gives for sum(dy * y)."""
        import keras

        variables = [each for layer in self._layers for each in layer.trainable_variables]
        with keras.device(self._device):
            call = Call(_content(self._stack), self._call, variables)
            self._output, dx, found = _backend().differentiate(call, self._hand_over(x), from_numpy(dy, self._device))
        arrays = {each.path: to_numpy(gradient) for each, gradient in zip(variables, found, strict=True)}
        layers = tuple(
            (arrays[each.kernel.path], arrays[each.bias.path] if each.use_bias else None) for each in self._layers
        )
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Load each layer's arrays by its `set_weights`, which refuses other shapes."""
        import keras

        with keras.device(self._device):
            for own, layer in zip(self._layers, stack.layers, strict=True):
                own.set_weights([each for each in (layer.kernel, layer.bias) if each is not None])

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the tensor the last input became on torch, None on other backends."""
        return self._handed

    def _hand_over(self, x: Array) -> Any:
        handed = from_numpy(x, self._device)
        self._handed = _backend().strides(handed)
        return handed

    def _call(self, x: Any) -> Any:
        if self._sequential is not None:
            return self._sequential(x, training=False)
        for layer in self._layers:
            x = layer(x, training=False)
        return x


def from_numpy(array: Array, device: str = "cpu:0") -> Any:
    """Return the backend's tensor on `device`; on torch it has the strides of `array`."""
    import keras

    with keras.device(device):
        return keras.ops.convert_to_tensor(_backend().admit(array, device))


def to_numpy(tensor: Any) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def placement_of(tensor: Any) -> str:
    """Return `cpu`, `gpu`, or the backend's own word for a device that is neither."""
    return _backend().placement(tensor)


@cache
def _backend() -> Backend:
    """Return the backend that Keras runs on, its flags set."""
    import keras

    return BACKENDS[keras.config.backend()]()


def _content(stack: Stack) -> tuple[object, ...]:
    """Return all that a stack says but the values of its weights."""
    layers = tuple((layer.units, layer.activation, layer.use_bias) for layer in stack.layers)
    return (stack.input_shape, stack.leading_axes, stack.dtype, layers)
