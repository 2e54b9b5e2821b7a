"""
Keras 2: `tf_keras.layers.Dense` in a `tf_keras.Sequential`, called eagerly.

What the suite knows of Keras 2 is here. The module must not import tensorflow or tf_keras before an adapter is made,
compute a shape of its own, or check what Keras is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from conformance.adapters.protocol import Parameter, Shape, Stack
from conformance.adapters.tensorflow.arrays import activations as tensorflow_activations
from conformance.adapters.tensorflow.arrays import device_name
from conformance.adapters.tensorflow.model import EagerModel, TensorFlowAdapter

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


class Keras2Adapter(TensorFlowAdapter):
    """Keras 2 on TensorFlow, eager, with a gradient tape; TF32 off."""

    def __init__(self) -> None:
        import tf_keras

        # A user's keras.json may have other values.
        tf_keras.backend.set_floatx("float32")
        tf_keras.backend.set_epsilon(1e-7)
        tf_keras.backend.set_image_data_format("channels_last")
        super().__init__("tf_keras")

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from tf_keras and tensorflow."""
        import tf_keras

        return {
            "floatx": tf_keras.backend.floatx(),
            "epsilon": tf_keras.backend.epsilon(),
            "image_data_format": tf_keras.backend.image_data_format(),
            "dtype_policy": tf_keras.mixed_precision.global_policy().name,
            **super().settings(),
        }

    def build(self, stack: Stack, *, device: str) -> Keras2Model:
        """Return the stack as a `tf_keras.Sequential`, or as layers in a row where that cannot take its axes."""
        return Keras2Model(stack, device=device_name(device))


class Keras2Model(EagerModel):
    """`tf_keras.layers.Dense` layers that each carry their activation."""

    def __init__(self, stack: Stack, *, device: str) -> None:
        import tensorflow as tf
        import tf_keras

        super().__init__(device)
        self._stack = stack
        self._sequential: tf_keras.Sequential | None = None
        # Given kernels replace the initial ones.
        options = {"kernel_initializer": "zeros"} if stack.has_weights else {}
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
        if stack.has_weights:
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


@cache
def _activations() -> Mapping[str, str | Callable[[tf.Tensor], tf.Tensor]]:
    """Return the argument of a layer for each activation: Keras's name, or a function with its parameters set."""
    from tf_keras import activations

    names = ("linear", "relu", "sigmoid", "softmax", "tanh", "selu", "softplus", "softsign", "exponential")
    of_tensorflow = tensorflow_activations()
    return {
        **{each: each for each in names},
        # Keras 2 has another hard_sigmoid, of slope 0.2, and not the other two.
        **{each: of_tensorflow[each] for each in ("leaky_relu", "log_softmax", "hard_sigmoid")},
        "elu": partial(activations.elu, alpha=1.0),
        "silu": "swish",
        "gelu": partial(activations.gelu, approximate=False),
        "gelu_tanh": partial(activations.gelu, approximate=True),
    }
