"""
TensorFlow without Keras: a `tf.Module` with kernel and bias as `tf.Variable`, called eagerly.

The product is the one the mode names: `tf.matmul`, `tf.tensordot` or `tf.einsum`. The module must not import tensorflow
before an adapter is made, compute a shape of its own, or check what TensorFlow is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from conformance.adapters.protocol import Parameter, Shape, Stack
from conformance.adapters.tensorflow.arrays import activations, device_name, from_numpy
from conformance.adapters.tensorflow.model import EagerModel, TensorFlowAdapter

if TYPE_CHECKING:
    import tensorflow as tf

Product = Callable[[Any, Any], Any]


class TensorFlowModuleAdapter(TensorFlowAdapter):
    """
    TensorFlow in eager mode with a gradient tape, TF32 off; `mode` is `matmul`, `tensordot` or `einsum`.

    Raises:
        KeyError: there is no such mode.
    """

    def __init__(self, *, mode: str) -> None:
        self._product = _products()[mode]
        super().__init__()

    def build(self, stack: Stack, *, device: str) -> TensorFlowModuleModel:
        """Return the stack as modules whose variables are on `device`."""
        return TensorFlowModuleModel(stack, self._product, device=device_name(device))


class TensorFlowModuleModel(EagerModel):
    """Modules of a kernel and a bias each, called one after the other."""

    def __init__(self, stack: Stack, product: Product, *, device: str) -> None:
        import tensorflow as tf

        super().__init__(device)
        self._stack = stack
        with tf.device(device):
            self._layers = [
                _dense()(
                    width,
                    layer.units,
                    product=product,
                    use_bias=layer.use_bias,
                    activation=activations()[layer.activation],
                    # Given kernels replace the initial ones.
                    initial=tf.zeros if stack.has_weights else tf.random.normal,
                    dtype=stack.dtype,
                    name=f"dense_{index}",
                )
                for index, (width, layer) in enumerate(zip(stack.widths, stack.layers, strict=True))
            ]
        if stack.has_weights:
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of the tensors that leave each module in a graph traced for an input of that shape."""
        import tensorflow as tf

        def outputs(x: tf.Tensor) -> Sequence[tf.Tensor]:
            found = []
            for module in self._layers:
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
            for index, module in enumerate(self._layers)
            for each in module.variables
        ]

    def parameter_count(self) -> int:
        """Return the sum of the elements tensorflow counts in all variables of the modules."""
        return sum(each.shape.num_elements() for module in self._layers for each in module.variables)

    def set_weights(self, stack: Stack) -> None:
        """Assign each variable, which refuses other shapes."""
        import tensorflow as tf

        with tf.device(self._device):
            for module, layer in zip(self._layers, stack.layers, strict=True):
                module.kernel.assign(from_numpy(layer.kernel))
                if module.bias is not None:
                    module.bias.assign(from_numpy(layer.bias))


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
