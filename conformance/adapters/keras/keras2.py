"""
Keras 2: `tf_keras.layers.Dense` in a `tf_keras.Sequential`, called eagerly.

Everything the suite knows of Keras 2 is here. The module must not import tensorflow or tf_keras before it is asked for,
compute a shape of its own, or check what Keras is there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


class Keras2Adapter:
    """Keras 2 on TensorFlow, eager, with a gradient tape; TF32 off."""

    def __init__(self) -> None:
        import tensorflow as tf
        import tf_keras

        # A user's keras.json may say otherwise.
        tf_keras.backend.set_floatx("float32")
        tf_keras.backend.set_epsilon(1e-7)
        tf_keras.backend.set_image_data_format("channels_last")
        tf.config.experimental.enable_tensor_float_32_execution(False)
        for each in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(each, True)
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            tf.config.threading.set_intra_op_parallelism_threads(int(threads))
            tf.config.threading.set_inter_op_parallelism_threads(int(threads))

    def versions(self) -> Mapping[str, str]:
        """Return the versions of tf_keras, of tensorflow, and of what carries arrays to them."""
        return {each: importlib.metadata.version(each) for each in ("tf_keras", "tensorflow", "numpy", "ml_dtypes")}

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from tf_keras and tensorflow."""
        import tensorflow as tf
        import tf_keras
        from tensorflow.python.util import _pywrap_util_port

        return {
            "floatx": tf_keras.backend.floatx(),
            "epsilon": tf_keras.backend.epsilon(),
            "image_data_format": tf_keras.backend.image_data_format(),
            "dtype_policy": tf_keras.mixed_precision.global_policy().name,
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "onednn": _pywrap_util_port.IsMklEnabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where tensorflow sees one."""
        import tensorflow as tf

        return ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> Keras2Model:
        """Return the stack as a `tf_keras.Sequential`, or as layers in a row where that cannot take its axes."""
        return Keras2Model(stack, device=f"/device:{device.upper()}:0")


class Keras2Model:
    """`tf_keras.layers.Dense` layers that each carry their activation."""

    def __init__(self, stack: Stack, *, device: str) -> None:
        import tensorflow as tf
        import tf_keras

        self._stack = stack
        self._device = device
        self._output: tf.Tensor | None = None
        self._sequential: tf_keras.Sequential | None = None
        # Given kernels replace the initial ones.
        given = all(layer.kernel is not None for layer in stack.layers)
        options = {"kernel_initializer": "zeros"} if given else {}
        with tf.device(device):
            # Named, since the names that Keras makes up count the models of a process and stand in its messages.
            self._layers = [
                tf_keras.layers.Dense(
                    layer.units,
                    activation=_activations()[layer.activation],
                    use_bias=layer.use_bias,
                    dtype=stack.dtype,
                    name=f"dense_{index}",
                    **options,
                )
                for index, layer in enumerate(stack.layers)
            ]
            if stack.leading_axes == 1:
                entry = tf_keras.Input(stack.input_shape, dtype=stack.dtype, name="x")
                self._sequential = tf_keras.Sequential([entry, *self._layers], name="stack")
            elif stack.input_shape:
                shape: Any = tf.TensorShape((*[None] * stack.leading_axes, *stack.input_shape))
                for each in self._layers:
                    each.build(shape)
                    shape = each.compute_output_shape(shape)
            # A scalar has no last axis to build from: its layers stay unbuilt, as a user's would, until the call.
        if given:
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of the symbolic tensors that leave each layer."""
        import tf_keras

        tensor = tf_keras.Input(batch_shape=(batch, *self._stack.input_shape), dtype=self._stack.dtype)
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
                name=each.name.rpartition("/")[2].partition(":")[0],
                shape=tuple(each.shape),
                dtype=each.dtype.name,
                trainable=each.trainable,
                reported=each.name,
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
        import tensorflow as tf

        with tf.device(self._device):
            self._output = self._call(from_numpy(x))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what a gradient tape over the eager call gives for sum(dy * y)."""
        import tensorflow as tf

        own = [each for layer in self._layers for each in (layer.kernel, layer.bias) if each is not None]
        with tf.device(self._device):
            handed = from_numpy(x)
            with tf.GradientTape() as tape:
                if handed.dtype.is_floating:
                    tape.watch(handed)
                self._output = self._call(handed)
            dx, *arrays = tape.gradient(self._output, [handed, *own], output_gradients=from_numpy(dy))
        found = map(to_numpy, arrays)
        layers = tuple((next(found), None if each.bias is None else next(found)) for each in self._layers)
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def _call(self, x: tf.Tensor) -> tf.Tensor:
        if self._sequential is not None:
            return self._sequential(x, training=False)
        for layer in self._layers:
            x = layer(x, training=False)
        return x

    def set_weights(self, stack: Stack) -> None:
        """Load each layer's arrays by its `set_weights`, which refuses other shapes."""
        import tensorflow as tf

        with tf.device(self._device):
            for own, layer in zip(self._layers, stack.layers, strict=True):
                own.set_weights([each for each in (layer.kernel, layer.bias) if each is not None])

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a tensor of TensorFlow has no strides."""


def from_numpy(array: Array) -> tf.Tensor:
    """Return a tensor of the shape and dtype of `array` on the device in force; TensorFlow copies it in."""
    import tensorflow as tf

    return tf.convert_to_tensor(array)


def to_numpy(tensor: tf.Tensor) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    return np.asarray(tensor)


def placement_of(tensor: tf.Tensor) -> str:
    """Return `cpu`, `gpu`, or TensorFlow's own word for a device that is neither."""
    import tensorflow as tf

    return str(tf.DeviceSpec.from_string(tensor.device).device_type).lower()


@cache
def _activations() -> Mapping[str, str | Callable[[tf.Tensor], tf.Tensor]]:
    """Return what a layer is told, by name: Keras's own word, or a function where there is a parameter to pin."""
    import tensorflow as tf
    from tf_keras import activations

    words = ("linear", "relu", "sigmoid", "softmax", "tanh", "selu", "softplus", "softsign", "exponential")
    return {
        **{each: each for each in words},
        "leaky_relu": partial(tf.nn.leaky_relu, alpha=0.01),
        "elu": partial(activations.elu, alpha=1.0),
        "silu": "swish",
        "gelu": partial(activations.gelu, approximate=False),
        "gelu_tanh": partial(activations.gelu, approximate=True),
        # Keras 2 has another function under this name, of slope 0.2, and TensorFlow none.
        "hard_sigmoid": lambda z: tf.nn.relu6(z + 3.0) / 6.0,
        "log_softmax": partial(tf.nn.log_softmax, axis=-1),
    }
