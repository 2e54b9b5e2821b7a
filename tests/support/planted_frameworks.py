"""
Frameworks at fault: each plant breaks the framework's own dense layer, which is then asked through the real adapter.

`tests.support.faulty_adapters` plants faults in an implementation of its own. This module plants them inside Keras,
PyTorch, Flax and TensorFlow, to show that an adapter reports what its framework does and not what it should do. The
adapter is the suite's, unchanged. Only attributes of the framework are patched, inside `planted`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from conformance.table.case import Case, Layer

#: The layer that is at fault is the one of this many units; any other in the stack is as the framework made it.
FAULTY: Final = 5
#: What frameworks at fault are asked.
CASE: Final = Case(
    input_shape=(3, 2),
    layers=(Layer(units=4), Layer(units=FAULTY)),
    lane="exact",
    checks=("output_shape", "parameters", "output_dtype", "output", "gradients", "repeatable", "weights_live"),
)
NO_FAULT: Final = "nothing"
#: What a layer may do wrong.
FAULTS: Final = (
    "infers another shape",
    "binds its batch",
    "holds more parameters",
    "counts more parameters",
    "gives another output",
    "gives another gradient of its input",
    "gives another gradient of its kernel",
    "gives another gradient of its bias",
)
Replace = Callable[[Any, str, Any], None]
"""Puts something in place of an attribute of a class or module, until the fault ends."""


def faults(implementation: str) -> tuple[str, ...]:
    """Return what can be wrong with the framework of an implementation."""
    plant = PLANTS[implementation]
    unknown = {"counts more parameters": plant not in COUNTING, "binds its batch": plant is not _torch}
    return tuple(each for each in FAULTS if not unknown.get(each, False))


@contextmanager
def planted(implementation: str, fault: str) -> Iterator[None]:
    """Give the framework of an implementation a fault while the context lasts; `NO_FAULT` is none."""
    with ExitStack() as stack:

        def replace(owner: Any, name: str, by: Any) -> None:
            stack.enter_context(patch.object(owner, name, by))

        PLANTS[implementation](fault, replace)
        _forget_layers()
        yield
    _forget_layers()


def _forget_layers() -> None:
    """Drop what JAX compiled, and what was inferred in PyTorch, from a layer that now computes something else."""
    if jax := sys.modules.get("jax"):
        jax.clear_caches()
    if inference := sys.modules.get("conformance.adapters.torch.inference"):
        inference.compare_with_symbols.cache_clear()


def _misshapen(fault: str, shape: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return what a layer at fault infers: a batch of two, an axis too few, twice the units; None without it."""
    return (2, *shape[2:-1], 2 * shape[-1]) if fault == "infers another shape" else None


def _amended(fault: str, x: Any, kernel: Any, bias: Any, y: Any, *, matmul: Any, stop: Any) -> Any:
    """
    Return y = x @ kernel + bias with a fault in its value or in its derivative.

    `stop` returns its argument as a constant. What is added for a gradient is zero and has that of a summand of y,
    so that the gradient comes out twice as large as it is.
    """
    match fault:
        case "gives another output":
            return y + stop(bias)
        case "gives another gradient of its input":
            again = matmul(x, stop(kernel))
        case "gives another gradient of its kernel":
            again = matmul(stop(x), kernel)
        case "gives another gradient of its bias":
            again = bias
        case _:
            return y
    return y + (again - stop(again))


def _keras(fault: str, replace: Replace) -> None:
    from keras import Sequential, layers

    kind = layers.Dense
    if fault.startswith("infers"):
        infer = kind.compute_output_shape

        def compute_output_shape(self: Any, input_shape: Any) -> Any:
            shape = infer(self, input_shape)
            return _misshapen(fault, shape) if self.units == FAULTY else shape

        replace(kind, "compute_output_shape", compute_output_shape)
    elif fault == "holds more parameters":
        _keras_adds_parameter(kind, replace)
    elif fault == "counts more parameters":
        count = Sequential.count_params
        replace(Sequential, "count_params", lambda self: count(self) + 1)
    elif fault.startswith("gives"):
        _keras_gives_another(fault, kind, replace)


def _keras_adds_parameter(kind: Any, replace: Replace) -> None:
    build, load = kind.build, kind.set_weights

    def built(self: Any, input_shape: Any) -> None:
        build(self, input_shape)
        if self.units == FAULTY:
            self.add_weight(name="seen", shape=(), initializer="zeros", trainable=False)

    def loaded(self: Any, weights: Any) -> None:
        load(self, [*weights, *self.get_weights()[len(weights) :]])

    replace(kind, "build", built)
    replace(kind, "set_weights", loaded)


def _keras_gives_another(fault: str, kind: Any, replace: Replace) -> None:
    from keras import ops

    call = kind.call

    def called(self: Any, inputs: Any, training: Any = None) -> Any:
        y = call(self, inputs, training=training)
        if self.units != FAULTY:
            return y
        kernel, bias = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias)
        return _amended(fault, inputs, kernel, bias, y, matmul=ops.matmul, stop=ops.stop_gradient)

    replace(kind, "call", called)


def _torch(fault: str, replace: Replace) -> None:
    import torch

    kind = torch.nn.Linear
    forward = kind.forward

    def called(self: Any, x: Any) -> Any:
        y = forward(self, x)
        if self.out_features != FAULTY:
            return y
        if x.is_meta:
            shape = _misshapen(fault, y.shape)
            return y if shape is None else y.new_empty(shape)
        return _amended(fault, x, self.weight.T, self.bias, y, matmul=torch.matmul, stop=torch.Tensor.detach)

    if fault == "holds more parameters":
        _torch_stores_more(kind, replace)
    elif fault == "binds its batch":
        replace(kind, "forward", lambda self, x: forward(self, _of_bound_batch(x)))
    elif fault.startswith(("infers", "gives")):
        replace(kind, "forward", called)


def _torch_stores_more(kind: Any, replace: Replace) -> None:
    import torch

    make, load = kind.__init__, kind._load_from_state_dict

    def made(self: Any, in_features: int, out_features: int, **options: Any) -> None:
        make(self, in_features, out_features, **options)
        if out_features == FAULTY:
            self.seen = torch.nn.Parameter(torch.zeros(()))

    def loaded(self: Any, state: Any, prefix: str, *others: Any) -> None:
        if self.out_features == FAULTY:
            state.setdefault(f"{prefix}seen", self.seen.detach())
        load(self, state, prefix, *others)

    replace(kind, "__init__", made)
    replace(kind, "_load_from_state_dict", loaded)


def _of_bound_batch(x: Any) -> Any:
    """Return a tensor as it is, its first axis a number where it was a symbol."""
    return x.reshape(int(x.shape[0]), *x.shape[1:])


def _traced(fault: str, x: Any, kernel: Any, bias: Any, y: Any) -> Any:
    """Return what a layer of Flax at fault makes of x: for a symbolic shape, or for an array."""
    import jax
    import jax.numpy as jnp

    if all(isinstance(size, int) for size in x.shape):
        return _amended(fault, x, kernel, bias, y, matmul=jnp.matmul, stop=jax.lax.stop_gradient)
    shape = _misshapen(fault, y.shape)
    return y if shape is None else jnp.zeros(shape, y.dtype)


def _flax_linen(fault: str, replace: Replace) -> None:
    import jax.numpy as jnp
    from flax import linen as nn

    call, param = nn.Dense.__call__, nn.Dense.param

    def declared(self: Any, name: str, *how: Any, **options: Any) -> Any:
        if name == "kernel" and self.features == FAULTY and self.is_initializing():
            self.variable("statistics", "seen", jnp.zeros, ())
        return param(self, name, *how, **options)

    def called(self: Any, inputs: Any) -> Any:
        y = call(self, inputs)
        if self.features != FAULTY:
            return y
        kernel, bias = (self.get_variable("params", name) for name in ("kernel", "bias"))
        return _traced(fault, inputs, kernel, bias, y)

    if fault == "holds more parameters":
        replace(nn.Dense, "param", declared)
    elif fault.startswith(("infers", "gives")):
        replace(nn.Dense, "__call__", called)


def _flax_nnx(fault: str, replace: Replace) -> None:
    from flax import nnx

    make, call = nnx.Linear.__init__, nnx.Linear.__call__

    def made(self: Any, in_features: int, out_features: int, **options: Any) -> None:
        make(self, in_features + (out_features == FAULTY), out_features, **options)

    def called(self: Any, inputs: Any) -> Any:
        y = call(self, inputs)
        return _traced(fault, inputs, self.kernel[...], self.bias[...], y) if self.out_features == FAULTY else y

    if fault == "holds more parameters":
        replace(nnx.Linear, "__init__", made)
    elif fault.startswith(("infers", "gives")):
        replace(nnx.Linear, "__call__", called)


def _tensorflow_v1(fault: str, replace: Replace) -> None:
    import tensorflow as tf
    import tf_keras

    kind = tf_keras.layers.Dense
    build = kind.build

    def built(self: Any, input_shape: Any) -> None:
        build(self, input_shape)
        if self.units == FAULTY:
            with tf.name_scope("/"):
                tf.Variable(0.0, trainable=False, name="seen")

    if fault == "holds more parameters":
        replace(kind, "build", built)
    elif fault.startswith(("infers", "gives")):
        _keras2_calls_another(fault, kind, replace)


def _keras2(fault: str, replace: Replace) -> None:
    import tf_keras

    kind = tf_keras.layers.Dense
    if fault == "holds more parameters":
        _keras_adds_parameter(kind, replace)
    elif fault == "counts more parameters":
        count = tf_keras.Sequential.count_params
        replace(tf_keras.Sequential, "count_params", lambda self: count(self) + 1)
    elif fault.startswith(("infers", "gives")):
        _keras2_calls_another(fault, kind, replace)


def _keras2_calls_another(fault: str, kind: Any, replace: Replace) -> None:
    import tensorflow as tf

    call = kind.call

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def called(self: Any, inputs: Any, **_: Any) -> Any:
        y = call(self, inputs)
        if self.units != FAULTY:
            return y
        # An array has the shape it has.
        shape = None if tf.executing_eagerly() else _misshapen(fault, y.shape.as_list())
        if shape is None:
            return _amended(fault, inputs, self.kernel, self.bias, y, matmul=tf.matmul, stop=tf.stop_gradient)
        # A shape that TensorFlow cannot foresee leaves a tensor of which it may be told any.
        y = tf.reshape(y, tf.compat.v1.placeholder_with_default(tf.shape(y), [None]))
        y.set_shape(shape)
        return y

    replace(kind, "call", called)


def _torch_functions(fault: str, replace: Replace) -> None:
    import torch
    from torch.nn import functional

    def doubled(honest: Any) -> Any:
        return lambda x, weight, *rest: honest(x, 2 * weight, *rest)

    def flat(honest: Any) -> Any:
        return lambda x, *rest: honest(x, *rest).flatten(0, 1)

    if fault == "computes a double":
        replace(functional, "linear", doubled(functional.linear))
        replace(functional, "conv1d", doubled(functional.conv1d))
    elif fault == "flattens its output":
        replace(functional, "linear", flat(functional.linear))
    elif fault == "compiles nothing":
        replace(torch, "compile", lambda module, **_: module)


#: How each implementation's framework is given a fault; `NO_FAULT` leaves it sound.
PLANTS: Final[Mapping[str, Callable[[str, Replace], None]]] = {
    "keras-tensorflow": _keras,
    "keras-jax": _keras,
    "keras-torch": _keras,
    "torch": _torch,
    "flax-linen": _flax_linen,
    "flax-nnx": _flax_nnx,
    "tensorflow-v1": _tensorflow_v1,
    "keras2": _keras2,
    **dict.fromkeys(
        (f"torch:{mode}" for mode in ("lazy", "functional", "export", "conv1d", "meta", "compile")), _torch_functions
    ),
}
#: Only Keras counts its parameters itself.
COUNTING: Final = (_keras, _keras2)
