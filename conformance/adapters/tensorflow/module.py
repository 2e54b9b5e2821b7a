"""
TensorFlow without Keras: a `tf.Module` that holds its kernel and bias as `tf.Variable`, called eagerly.

The product is the one the mode names: `tf.matmul`, `tf.tensordot` or `tf.einsum`. The module must not import tensorflow
before it is asked for, compute a shape of its own, or check what TensorFlow is there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units

if TYPE_CHECKING:
    import tensorflow as tf

Product = Callable[[Any, Any], Any]


class TensorFlowModuleAdapter:
    """
    TensorFlow in eager mode with a gradient tape, TF32 off; `mode` is `matmul`, `tensordot` or `einsum`.

    Raises:
        KeyError: there is no such mode.
    """

    def __init__(self, *, mode: str) -> None:
        import tensorflow as tf

        self._product = _products()[mode]
        tf.config.experimental.enable_tensor_float_32_execution(False)
        for each in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(each, True)
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            tf.config.threading.set_intra_op_parallelism_threads(int(threads))
            tf.config.threading.set_inter_op_parallelism_threads(int(threads))

    def versions(self) -> Mapping[str, str]:
        """Return the versions of tensorflow and of what carries arrays to it."""
        return {each: importlib.metadata.version(each) for each in ("tensorflow", "numpy", "ml_dtypes")}

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from tensorflow."""
        import tensorflow as tf
        from tensorflow.python.util import _pywrap_util_port

        return {
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "onednn": _pywrap_util_port.IsMklEnabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where tensorflow sees one."""
        import tensorflow as tf

        return ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> TensorFlowModuleModel:
        """Return the stack as modules whose variables are on `device`."""
        return TensorFlowModuleModel(stack, self._product, device=f"/device:{device.upper()}:0")


class TensorFlowModuleModel:
    """Modules of a kernel and a bias each, called one after the other."""

    def __init__(self, stack: Stack, product: Product, *, device: str) -> None:
        import tensorflow as tf

        self._stack = stack
        self._device = device
        self._output: tf.Tensor | None = None
        given = all(layer.kernel is not None for layer in stack.layers)
        # A module is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units | None = stack.input_shape[-1] if stack.input_shape else 1
        self._modules = []
        with tf.device(device):
            for index, layer in enumerate(stack.layers):
                module = _dense()(
                    width,
                    layer.units,
                    product=product,
                    use_bias=layer.use_bias,
                    activation=_activations()[layer.activation],
                    # Given kernels replace the initial ones.
                    initial=tf.zeros if given else tf.random.normal,
                    dtype=stack.dtype,
                    name=f"dense_{index}",
                )
                self._modules.append(module)
                width = layer.units
        if given:
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of the tensors that leave each module in a graph traced for an input of that shape."""
        import tensorflow as tf

        def outputs(x: tf.Tensor) -> Sequence[tf.Tensor]:
            found = []
            for module in self._modules:
                x = module(x)
                found.append(x)
            return found

        entry = tf.TensorSpec((batch, *self._stack.input_shape), self._stack.dtype)
        traced = tf.function(outputs, autograph=False).get_concrete_function(entry)
        return [tuple(each.shape.as_list()) for each in traced.structured_outputs]

    def parameters(self) -> Sequence[Parameter]:
        """Return every variable of each module, as `tf.Module` finds and TensorFlow describes it."""
        return [
            Parameter(
                layer=index,
                name=each.name.rpartition("/")[2].partition(":")[0],
                shape=tuple(each.shape.as_list()),
                dtype=each.dtype.name,
                trainable=each.trainable,
                reported=each.name,
            )
            for index, module in enumerate(self._modules)
            for each in module.variables
        ]

    def parameter_count(self) -> int:
        """Return the sum of the elements tensorflow counts in all variables of the modules."""
        return sum(each.shape.num_elements() for module in self._modules for each in module.variables)

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) from an eager call."""
        import tensorflow as tf

        with tf.device(self._device):
            self._output = self._call(from_numpy(x))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what a gradient tape over the eager call gives for sum(dy * y)."""
        import tensorflow as tf

        own = [each for layer in self._modules for each in (layer.kernel, layer.bias) if each is not None]
        with tf.device(self._device):
            handed = from_numpy(x)
            with tf.GradientTape() as tape:
                if handed.dtype.is_floating:
                    tape.watch(handed)
                self._output = self._call(handed)
            dx, *arrays = tape.gradient(self._output, [handed, *own], output_gradients=from_numpy(dy))
        found = map(to_numpy, arrays)
        layers = tuple((next(found), None if each.bias is None else next(found)) for each in self._modules)
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def _call(self, x: tf.Tensor) -> tf.Tensor:
        for module in self._modules:
            x = module(x)
        return x

    def set_weights(self, stack: Stack) -> None:
        """Assign each variable, which refuses other shapes."""
        import tensorflow as tf

        with tf.device(self._device):
            for module, layer in zip(self._modules, stack.layers, strict=True):
                module.kernel.assign(from_numpy(layer.kernel))
                if module.bias is not None:
                    module.bias.assign(from_numpy(layer.bias))

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a tensor of TensorFlow has no strides."""


def from_numpy(array: Array | None) -> tf.Tensor:
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
def _products() -> Mapping[str, Product]:
    """Return x (..., d) times kernel (d, m) by the name of each function that TensorFlow has for it."""
    import tensorflow as tf

    return {
        "matmul": tf.matmul,
        "tensordot": partial(tf.tensordot, axes=1),
        "einsum": partial(tf.einsum, "...d,dm->...m"),
    }


@cache
def _dense() -> Callable[..., Any]:
    """Return the class of a layer, as TensorFlow's guide to `tf.Module` writes it."""
    import tensorflow as tf

    class Dense(tf.Module):  # type: ignore[misc]  # tensorflow is not typed here
        """activation(x·kernel + bias), x·kernel by `product`, for x of shape (..., d)."""

        def __init__(
            self,
            features: int,
            units: int,
            *,
            product: Product,
            use_bias: bool,
            activation: Callable[[tf.Tensor], tf.Tensor],
            initial: Callable[..., tf.Tensor],
            dtype: str,
            name: str,
        ) -> None:
            super().__init__(name=name)
            self.product, self.activation = product, activation
            with self.name_scope:
                self.kernel = tf.Variable(initial((features, units), dtype=dtype), name="kernel")
                self.bias = tf.Variable(tf.zeros((units,), dtype), name="bias") if use_bias else None

        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            y = self.product(x, self.kernel)
            return self.activation(y if self.bias is None else y + self.bias)

    return Dense


@cache
def _activations() -> Mapping[str, Callable[[tf.Tensor], tf.Tensor]]:
    import tensorflow as tf

    return {
        "linear": lambda z: z,
        "relu": tf.nn.relu,
        "sigmoid": tf.nn.sigmoid,
        "softmax": partial(tf.nn.softmax, axis=-1),
        "tanh": tf.nn.tanh,
        "leaky_relu": partial(tf.nn.leaky_relu, alpha=0.01),
        "elu": tf.nn.elu,
        "selu": tf.nn.selu,
        "softplus": tf.nn.softplus,
        "softsign": tf.nn.softsign,
        "silu": partial(tf.nn.silu, beta=1.0),
        "gelu": partial(tf.nn.gelu, approximate=False),
        "gelu_tanh": partial(tf.nn.gelu, approximate=True),
        # TensorFlow has no function of this name.
        "hard_sigmoid": lambda z: tf.nn.relu6(z + 3.0) / 6.0,
        "log_softmax": partial(tf.nn.log_softmax, axis=-1),
        "exponential": tf.exp,
    }
