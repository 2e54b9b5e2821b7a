"""
Keras 3: `keras.layers.Dense` in a `keras.Sequential`, called eagerly, on the backend that `KERAS_BACKEND` names.

Everything the suite knows of Keras is here, and of its backends only what Keras has no word for: their flags, how they
differentiate, and where an array of theirs is. The module must not import Keras or a backend before it is asked for,
compute a shape of its own, or check what Keras is there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

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
        # Named as torch names the devices of its tensors: told cpu:0, Keras would copy each tensor there from cpu.
        return KerasModel(stack, device={"gpu": "gpu:0"}.get(device, device))


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
                    activation=_activations()[layer.activation],
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
            call = _Call(_content(self._stack), self._call, variables)
            self._output, dx, found = _backend().differentiate(call, self._hand_over(x), from_numpy(dy, self._device))
        arrays = {id(each): to_numpy(gradient) for each, gradient in zip(variables, found, strict=True)}
        layers = tuple(
            (arrays[id(each.kernel)], arrays[id(each.bias)] if each.use_bias else None) for each in self._layers
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
        if hasattr(handed, "stride"):
            self._handed = tuple(step * handed.element_size() for step in handed.stride())
        return handed

    def _call(self, x: Any) -> Any:
        if self._sequential is not None:
            return self._sequential(x, training=False)
        for layer in self._layers:
            x = layer(x, training=False)
        return x


def from_numpy(array: Array, device: str = "cpu") -> Any:
    """Return the backend's tensor on `device`; on torch it has the strides of `array`."""
    import keras

    with keras.device(device):
        # Given an array, Keras would copy it for torch, and with that lose its layout.
        given = array if keras.config.backend() != "torch" else _torch_tensor(array, device.replace("gpu", "cuda"))
        return keras.ops.convert_to_tensor(given)


def to_numpy(tensor: Any) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def placement_of(tensor: Any) -> str:
    """Return `cpu`, `gpu`, or the backend's own word for a device that is neither."""
    return _backend().placement_of(tensor)


def _torch_tensor(array: Array, device: str) -> Any:
    """Return a torch tensor of the strides of `array`, on the CPU over the same memory."""
    import torch

    # torch knows no NumPy bfloat16: its bits cross as integers of the same width, which keeps the strides.
    bits = array.view(np.int16) if array.dtype == ml_dtypes.bfloat16 else array
    if not bits.flags.writeable:
        # A broadcast array is read-only, of which torch would warn. The memory is never written to here.
        interface = {**bits.__array_interface__, "data": (bits.__array_interface__["data"][0], False)}
        bits = np.asarray(SimpleNamespace(__array_interface__=interface, owner=bits))
    tensor = torch.from_numpy(bits)
    if device != "cpu":
        # A plain copy to a device closes gaps and undoes broadcasting: move the memory, then lay the same view over it.
        extent = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        memory = tensor.as_strided((extent if tensor.numel() else 0,), (1,)).to(device)
        tensor = memory.as_strided(tensor.shape, tensor.stride())
    return tensor.view(torch.bfloat16) if array.dtype == ml_dtypes.bfloat16 else tensor


@dataclass(frozen=True)
class _Call:
    """
    A model's call, and the variables it reads.

    Two of equal `content`, which is all that a stack says but the values of its weights, are the same function of
    values and input: they are equal, and may share a compilation.
    """

    content: tuple[object, ...]
    function: Callable[[Any], Any] = field(compare=False)
    variables: Sequence[keras.Variable] = field(compare=False)


@cache
def _activations() -> Mapping[str, str | Callable[[Any], Any]]:
    """Return what a layer is told, by name: Keras's own word, or its function where there is a parameter to pin."""
    from keras import activations

    words = ("linear", "relu", "sigmoid", "softmax", "tanh", "selu", "softplus", "softsign", "silu", "hard_sigmoid")
    return {
        **{each: each for each in words},
        "leaky_relu": partial(activations.leaky_relu, negative_slope=0.01),
        "elu": partial(activations.elu, alpha=1.0),
        "gelu": partial(activations.gelu, approximate=False),
        "gelu_tanh": partial(activations.gelu, approximate=True),
        "log_softmax": partial(activations.log_softmax, axis=-1),
        "exponential": activations.exponential,
    }


def _content(stack: Stack) -> tuple[object, ...]:
    layers = tuple((layer.units, layer.activation, layer.use_bias) for layer in stack.layers)
    return (stack.input_shape, stack.leading_axes, stack.dtype, layers)


@cache
def _backend() -> _TensorFlow | _Jax | _Torch:
    """
    Return the library that Keras computes with, set to full float32 precision when first asked for.

    Each has `differentiate`, which returns y, dx (None where x is not floating) and the gradient of each variable.
    """
    import keras

    return _BACKENDS[keras.config.backend()]()


class _TensorFlow:
    """TensorFlow, eager, with a gradient tape."""

    distributions = ("tensorflow",)

    def __init__(self) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        for each in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(each, True)
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            tf.config.threading.set_intra_op_parallelism_threads(int(threads))
            tf.config.threading.set_inter_op_parallelism_threads(int(threads))

    def settings(self) -> Mapping[str, object]:
        import tensorflow as tf
        from tensorflow.python.util import _pywrap_util_port

        return {
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "onednn": _pywrap_util_port.IsMklEnabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        }

    def sees_gpu(self) -> bool:
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))

    def placement_of(self, tensor: Any) -> str:
        import tensorflow as tf

        return str(tf.DeviceSpec.from_string(tensor.device).device_type).lower()

    def differentiate(self, call: _Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            if x.dtype.is_floating:
                tape.watch(x)
            y = call.function(x)
        dx, *found = tape.gradient(y, [x, *(each.value for each in call.variables)], output_gradients=dy)
        return y, dx, found


class _Jax:
    """JAX as installed, x64 off: eager calls, and gradients by one jitted vector-Jacobian product."""

    distributions = ("jax", "jaxlib")

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def settings(self) -> Mapping[str, object]:
        import jax

        return {
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "x64": jax.config.jax_enable_x64,
            "default_backend": jax.default_backend(),
            "disable_jit": jax.config.jax_disable_jit,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        }

    def sees_gpu(self) -> bool:
        import jax

        return jax.default_backend() == "gpu"

    def placement_of(self, tensor: Any) -> str:
        return "+".join(sorted({each.platform for each in tensor.devices()}))

    def differentiate(self, call: _Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        y, dx, found = _pull_back(call)([each.value for each in call.variables], x, dy)
        return y, None if x.dtype.kind in "biu" else dx, found


@lru_cache(maxsize=64)
def _pull_back(call: _Call) -> Callable[..., Any]:
    """
    Return (values, x, dy) -> (y, dx, gradients), compiled once for all models of equal content.

    The values of the variables are arguments, so that none can be baked into what was compiled.
    """
    import jax
    import keras

    def stateless(values: Sequence[Any], x: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(call.variables, values, strict=True))):
            return call.function(x)

    def pull_back(values: Sequence[Any], x: Any, dy: Any) -> Any:
        y, pull = jax.vjp(stateless, values, x)
        found, dx = pull(dy)
        return y, dx, found

    return jax.jit(pull_back)


class _Torch:
    """PyTorch, eager, with autograd."""

    distributions = ("torch",)

    def __init__(self) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            torch.set_num_threads(int(threads))

    def settings(self) -> Mapping[str, object]:
        import torch

        return {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "threads": torch.get_num_threads(),
        }

    def sees_gpu(self) -> bool:
        import torch

        return torch.cuda.is_available()

    def placement_of(self, tensor: Any) -> str:
        return {"cuda": "gpu"}.get(tensor.device.type, tensor.device.type)

    def differentiate(self, call: _Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        import torch

        wanted = [each.value for each in call.variables]
        if x.is_floating_point():
            wanted.append(x.requires_grad_())
        y = call.function(x)
        found = torch.autograd.grad(y, wanted, grad_outputs=dy)
        count = len(call.variables)
        return y, found[count] if len(found) > count else None, found[:count]


_BACKENDS: Final[Mapping[str, type[_TensorFlow | _Jax | _Torch]]] = {
    "tensorflow": _TensorFlow,
    "jax": _Jax,
    "torch": _Torch,
}
