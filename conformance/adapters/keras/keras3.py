"""
Keras 3 on the backend that `KERAS_BACKEND` names: dense layers in the ways in which its users call them.

Without a mode: `keras.layers.Dense` in a `keras.Sequential`, called eagerly. `functional`: a `keras.Model` over
`keras.Input`. `predict`: its `predict`. `graph` and `xla`: called within `tf.function`. `jit`: a stateless call within
`jax.jit`. `decorated`: a model whose own `call` is a `tf.function` that builds its layers. `symbolic`: shapes and
counts alone. `einsum-dense`, `time-distributed`, `conv1d` and `conv2d`: layers that promise to be the same. The module
must not import Keras or a backend before an adapter is made, compute a shape of its own, or check what Keras is there
to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from conformance.adapters.keras.arrays import activations, from_numpy, initializers, to_numpy
from conformance.adapters.keras.backends import Call, backend, jitted, placement_of
from conformance.adapters.keras.layers import EQUIVALENTS, RANKS, inner, layer_of
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported

if TYPE_CHECKING:
    import keras

#: Mode -> the backend that it needs, None for any.
MODES: Final[Mapping[str, str | None]] = {
    "functional": None,
    "predict": None,
    "graph": "tensorflow",
    "xla": "tensorflow",
    "decorated": "tensorflow",
    "jit": "jax",
    "symbolic": None,
    **dict.fromkeys(EQUIVALENTS),
}


class KerasAdapter:
    """
    Keras on one backend; eager unless the mode says otherwise, with gradients on jax by one jitted pull-back.

    Raises:
        ValueError: there is no such mode, or it needs another backend.
        RuntimeError: Keras did not take its backend from `KERAS_BACKEND`.
    """

    def __init__(self, mode: str | None = None) -> None:
        import keras

        if mode is not None and mode not in MODES:
            raise ValueError(f"there is no mode {mode!r} of Keras: there are {', '.join(MODES)}")
        if mode is not None and MODES[mode] not in (None, keras.config.backend()):
            raise ValueError(f"{mode} needs Keras on {MODES[mode]}, and it is on {keras.config.backend()}")
        self._mode = mode

        if keras.config.backend() != os.environ.get("KERAS_BACKEND"):
            raise RuntimeError(f"Keras runs on {keras.config.backend()!r}, which KERAS_BACKEND does not name")
        # A user's keras.json may have other values.
        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
        keras.config.set_image_data_format("channels_last")
        backend()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of keras, of its backend, and of what carries arrays to them."""
        taking_part = ("keras", *backend().distributions, "numpy", "ml_dtypes")
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
            **backend().settings(),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where the backend sees one."""
        return backend().devices()

    def build(self, stack: Stack, *, device: str) -> KerasModel:
        """Return the stack as a `keras.Sequential`, or as layers in a row where that cannot take its leading axes."""
        rank = len(stack.input_shape)
        if self._mode in RANKS and rank not in RANKS[self._mode]:
            raise Unsupported(f"{self._mode} takes samples of rank {RANKS[self._mode][0]}, not {rank}")
        # Named as torch names the devices of its tensors: given cpu:0, Keras would copy each tensor there from cpu.
        return KerasModel(stack, device={"gpu": "gpu:0"}.get(device, device), mode=self._mode)


class KerasModel:
    """Layers that each carry their activation, in a model or in a row, called as the mode says."""

    def __init__(self, stack: Stack, *, device: str, mode: str | None) -> None:
        import keras

        self._stack = stack
        self._device = device
        self._mode = mode
        self._handed: tuple[int, ...] | None = None
        self._output: Any = None
        self._model: keras.Model | None = None
        options = initializers() if stack.has_weights else {}
        kind = mode if mode in EQUIVALENTS else None
        with keras.device(device):
            # Named, since the names that Keras makes up count the models of a process and stand in its messages.
            self._layers = [
                layer_of(
                    kind,
                    layer,
                    f"dense_{index}",
                    {"activation": activations()[layer.activation], "dtype": stack.dtype, **options},
                )
                for index, layer in enumerate(stack.layers)
            ]
            if mode == "symbolic":
                self._build_without_values()
            elif mode == "decorated":
                self._model = _decorated(self._layers)
            else:
                self._build()
        self._called = self._compiled()
        if stack.has_weights:
            if mode == "decorated":
                # Such a model is built by its first call, and takes its weights after that.
                self.forward(_zeros(stack))
            self.set_weights(stack)

    def _build(self) -> None:
        """Build the layers, in a model where one can take the leading axes."""
        import keras

        stack = self._stack
        if self._mode in ("functional", "predict"):
            entry = keras.Input(batch_shape=(*[None] * stack.leading_axes, *stack.input_shape), dtype=stack.dtype)
            y = entry
            for layer in self._layers:
                y = layer(y)
            self._model = keras.Model(entry, y, name="stack")
        elif stack.leading_axes == 1:
            entry = keras.Input(stack.input_shape, dtype=stack.dtype, name="x")
            self._model = keras.Sequential([entry, *self._layers], name="stack")
        elif stack.input_shape:
            shape: Shape = (*[None] * stack.leading_axes, *stack.input_shape)
            for each in self._layers:
                each.build(shape)
                shape = each.compute_output_shape(shape)
        # A scalar has no last axis to build from: its layers stay unbuilt, as a user's would, until the call.

    def _build_without_values(self) -> None:
        """Build the layers in a scope in which no variable is given a value."""
        import keras

        with keras.StatelessScope(initialize_variables=False):
            shape: Shape = (None, *self._stack.input_shape)
            for each in self._layers:
                each.build(shape)
                shape = each.compute_output_shape(shape)

    def _compiled(self) -> Callable[[Any], Any]:
        """Return the call of the mode."""
        if self._mode in ("graph", "xla"):
            import tensorflow as tf

            compiled: Callable[[Any], Any] = tf.function(self._call, jit_compile=self._mode == "xla")
            return compiled
        return self._call

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of the symbolic tensors that leave each layer."""
        import keras

        tensor = keras.Input(batch_shape=(batch, *self._stack.input_shape), dtype=self._stack.dtype)
        shapes: list[Shape] = []
        for layer in self._layers:
            tensor = layer.compute_output_spec(tensor) if self._mode == "symbolic" else layer(tensor)
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
        counted = self._layers if self._model is None else [self._model]
        return sum(each.count_params() for each in counted)

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) from an eager call."""
        import keras

        if self._mode == "symbolic":
            raise Unsupported("nothing is computed where no variable has a value")
        with keras.device(self._device):
            if self._mode == "predict" and self._model is not None:
                self._output = self._model.predict(x, batch_size=max(1, len(x)), verbose=0)
                return np.asarray(self._output)
            if self._mode == "jit":
                self._output = jitted(self._as_call(), self._hand_over(x))
            else:
                self._output = self._called(self._hand_over(x))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the backend's own differentiation of the eager call gives for sum(dy * y)."""
        import keras

        if self._mode in ("predict", "symbolic"):
            raise Unsupported(f"nothing is differentiated by {self._mode}")
        call = self._as_call()
        with keras.device(self._device):
            handed, given = self._hand_over(x), from_numpy(dy, self._device)
            self._output, dx, found = backend().differentiate(call, handed, given)
        if any(each is None for each in found):
            raise RuntimeError("no gradient: the call does not read the variables")
        arrays = {id(each): to_numpy(gradient) for each, gradient in zip(call.variables, found, strict=True)}
        layers = tuple(
            (
                # A convolution has axes of length 1 in front of those of its kernel.
                arrays[id(each.kernel)].reshape(each.kernel.shape[-2:]),
                None if each.bias is None else arrays[id(each.bias)],
            )
            for each in map(inner, self._layers)
        )
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Load each layer's arrays by its `set_weights`, which refuses other shapes."""
        import keras

        with keras.device(self._device):
            for dense, layer in zip(map(inner, self._layers), stack.layers, strict=True):
                ones = (1,) * (len(dense.kernel.shape) - 2) if dense.built else ()
                kernel = None if layer.kernel is None else layer.kernel.reshape(*ones, *layer.kernel.shape)
                dense.set_weights([each for each in (kernel, layer.bias) if each is not None])

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        # What predict returns is an array of NumPy, and those are on the CPU.
        return "cpu" if isinstance(self._output, np.ndarray) else placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the tensor the last input became on torch, None on other backends."""
        return self._handed

    def _hand_over(self, x: Array) -> Any:
        handed = from_numpy(x, self._device)
        if hasattr(handed, "stride"):
            self._handed = tuple(step * handed.element_size() for step in handed.stride())
        return handed

    def _as_call(self) -> Call:
        variables = [each for layer in self._layers for each in layer.trainable_variables]
        return Call((self._mode, *_content(self._stack)), self._called, variables)

    def _call(self, x: Any) -> Any:
        if self._model is not None:
            return self._model(x, training=False)
        for layer in self._layers:
            x = layer(x, training=False)
        return x


def _content(stack: Stack) -> tuple[object, ...]:
    layers = tuple((layer.units, layer.activation, layer.use_bias) for layer in stack.layers)
    return (stack.input_shape, stack.leading_axes, stack.dtype, layers)


def _decorated(layers: Sequence[keras.layers.Layer]) -> keras.Model:
    """Return a model whose own `call` is a `tf.function`, in which its layers are built."""
    import keras
    import tensorflow as tf

    class Decorated(keras.Model):  # type: ignore[misc]  # keras is not typed here
        def __init__(self) -> None:
            super().__init__(name="stack")
            self.stacked = list(layers)

        @tf.function  # type: ignore[untyped-decorator]  # tensorflow is not typed here
        def call(self, x: Any, training: bool = False) -> Any:
            for each in self.stacked:
                x = each(x)
            return x

    return Decorated()


def _zeros(stack: Stack) -> Array:
    """Return an input of the shape that a model is built for, with leading axes of 2 and unknown axes of 4."""
    shape = (*[2] * stack.leading_axes, *(4 if axis is None else axis for axis in stack.input_shape))
    kernel = stack.layers[0].kernel
    return np.zeros(shape, stack.dtype if kernel is None else kernel.dtype)
