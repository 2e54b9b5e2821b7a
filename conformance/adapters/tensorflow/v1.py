"""
TensorFlow 1: `tf.compat.v1.layers.dense` on a placeholder, run in a session.

What the suite knows of TensorFlow's graph mode is here. The process must have `TF_USE_LEGACY_KERAS=1`, without
which TensorFlow has no such layer. The module must not import tensorflow before an adapter is made, compute a shape of
its own, or check what TensorFlow is there to check.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack
from conformance.adapters.tensorflow.arrays import activations, device_name, kind_of
from conformance.adapters.tensorflow.model import TensorFlowAdapter

if TYPE_CHECKING:
    import tensorflow as tf


class TensorFlowV1Adapter(TensorFlowAdapter):
    """TensorFlow's graph mode, with tf_keras's implementation of the layer; TF32 off."""

    def __init__(self) -> None:
        super().__init__("tf_keras")

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from tensorflow."""
        import tensorflow as tf

        return {**super().settings(), "resource_variables": tf.compat.v1.resource_variables_enabled()}

    def build(self, stack: Stack, *, device: str) -> TensorFlowV1Model:
        """Return the stack as a graph on `device` and a session with its variables."""
        return TensorFlowV1Model(stack, device=device_name(device))


class TensorFlowV1Model:
    """A graph of one placeholder and `tf.compat.v1.layers.dense` layers, with a session of its own."""

    def __init__(self, stack: Stack, *, device: str) -> None:
        import tensorflow as tf

        self._stack = stack
        self._device = device
        self._placement: str | None = None
        self._differentiation: tuple[tf.Tensor, list[tf.Tensor]] | None = None
        self._graph = tf.Graph()
        with self._graph.as_default(), tf.device(device):
            self._x = tf.compat.v1.placeholder(stack.dtype, (*[None] * stack.leading_axes, *stack.input_shape))
            self._outputs, self._variables = _dense_layers(self._x, stack)
        self._session = tf.compat.v1.Session(graph=self._graph, config=_session_options())
        if stack.has_weights:
            self.set_weights(stack)
        else:
            with self._graph.as_default():
                self._session.run(tf.compat.v1.global_variables_initializer())

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the static shapes of the tensors that leave each layer, for a known batch in a graph of its own."""
        import tensorflow as tf

        outputs = self._outputs
        if batch is not None:
            with tf.Graph().as_default():
                x = tf.compat.v1.placeholder(self._stack.dtype, (batch, *self._stack.input_shape))
                outputs, _ = _dense_layers(x, self._stack)
        return [tuple(each.shape.as_list()) for each in outputs]

    def parameters(self) -> Sequence[Parameter]:
        """Return every variable that each layer made, as the graph names it."""
        import tensorflow as tf

        with self._graph.as_default():
            trainable = {each.name for each in tf.compat.v1.trainable_variables()}
        return [
            Parameter(
                layer=index,
                name=name,
                shape=tuple(each.shape.as_list()),
                dtype=each.dtype.base_dtype.name,
                trainable=each.name in trainable,
                reported=each.name,
            )
            for index, own in enumerate(self._variables)
            for name, each in own.items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the elements tensorflow counts in all variables of the graph."""
        import tensorflow as tf

        with self._graph.as_default():
            return sum(each.shape.num_elements() for each in tf.compat.v1.global_variables())

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) from one run of the session."""
        import tensorflow as tf

        last, fed = self._outputs[-1], {self._x: from_numpy(x)}
        if self._placement is not None:
            # The session runs the graph that it placed for the first output.
            return to_numpy(self._session.run(last, fed))
        # A fetched array does not show where it was computed. The graph as it was placed and run does.
        options = tf.compat.v1.RunOptions(output_partition_graphs=True)
        ran = tf.compat.v1.RunMetadata()
        y = self._session.run(last, fed, options=options, run_metadata=ran)
        nodes = (node for graph in ran.partition_graphs for node in graph.node)
        self._placement = kind_of(next(node.device for node in nodes if node.name == last.op.name))
        return to_numpy(y)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what `tf.compat.v1.gradients` gives for sum(dy * y)."""
        import tensorflow as tf

        variables = [each for own in self._variables for each in own.values()]
        if self._differentiation is None:
            with self._graph.as_default(), tf.device(self._device):
                y = self._outputs[-1]
                cotangent = tf.compat.v1.placeholder(y.dtype, y.shape)
                symbolic = tf.compat.v1.gradients(y, [*variables, self._x], grad_ys=cotangent)
                self._differentiation = cotangent, symbolic
        cotangent, symbolic = self._differentiation
        arrays = iter(self._session.run(symbolic, {self._x: from_numpy(x), cotangent: from_numpy(dy)}))
        found = [{name: to_numpy(next(arrays)) for name in own} for own in self._variables]
        layers = tuple((each["kernel"], each.get("bias")) for each in found)
        # A session casts its input, and would give a gradient of an integer input too.
        return Gradients(dx=None if x.dtype.kind in "biu" else to_numpy(next(arrays)), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Run the initializer of each variable with its new value as `Variable.load` does; it refuses other shapes."""
        values = [
            (variable.initializer, from_numpy(getattr(layer, name)))
            for own, layer in zip(self._variables, stack.layers, strict=True)
            for name, variable in own.items()
        ]
        # All in one run: a session prepares each new set of fetches anew.
        self._session.run([each for each, _ in values], {each.inputs[1]: value for each, value in values})

    def placement(self) -> str:
        """Return the device that the op of the last output ran on."""
        if self._placement is None:
            raise RuntimeError("nothing has been computed yet")
        return self._placement

    def handed_strides(self) -> None:
        """Return None: a tensor of TensorFlow has no strides."""


def from_numpy(array: Array) -> Array:
    """Return what a session is fed: the array itself, whatever its strides; TensorFlow copies it in."""
    return array


def to_numpy(array: Array) -> Array:
    """Return what a session fetched: an array already, bfloat16 as that of `ml_dtypes`."""
    return array


def _dense_layers(x: tf.Tensor, stack: Stack) -> tuple[list[tf.Tensor], list[dict[str, tf.Variable]]]:
    """Return the output of each layer on top of `x`, and the variables each made, by name, in the default graph."""
    import tensorflow as tf

    outputs, variables = [], []
    for index, layer in enumerate(stack.layers):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`tf.layers.dense` is deprecated", category=UserWarning)
            x = tf.compat.v1.layers.dense(
                x,
                layer.units,
                activation=None if layer.activation == "linear" else activations()[layer.activation],
                use_bias=layer.use_bias,
                # Given kernels replace the initial ones; None draws them at random.
                kernel_initializer=tf.compat.v1.zeros_initializer() if stack.has_weights else None,
                name=f"dense_{index}",
            )
        outputs.append(x)
        own = tf.compat.v1.global_variables(scope=f"dense_{index}/")
        variables.append({each.op.name.rpartition("/")[2]: each for each in own})
    return outputs, variables


def _session_options() -> tf.compat.v1.ConfigProto:
    """Return a session's options, which do not follow those of `tf.config` of themselves."""
    import tensorflow as tf

    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=tf.config.threading.get_inter_op_parallelism_threads(),
    )
    options.gpu_options.allow_growth = True
    return options
