"""
The backends of Keras 3, with their flags and their differentiation.

Only what Keras itself has no function for is here. The module must not import Keras or a backend before an adapter
is made, know a layer, or compute a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.jax import arrays as jax_arrays
from conformance.adapters.protocol import Unsupported
from conformance.adapters.tensorflow import arrays as tensorflow_arrays
from conformance.adapters.torch import arrays as torch_arrays

if TYPE_CHECKING:
    import keras


def placement_of(tensor: Any) -> str:
    """Return `cpu`, `gpu`, or the backend's own word for a device that is neither."""
    return backend().placement_of(tensor)


@dataclass(frozen=True)
class Call:
    """
    A model's call, and the variables it reads.

    Two calls of equal `content` are the same function of values and input: they are equal, and may share a compilation.
    """

    #: The mode, and all of the stack but the values of its weights.
    content: tuple[object, ...]
    function: Callable[[Any], Any] = field(compare=False)
    variables: Sequence[keras.Variable] = field(compare=False)


@cache
def backend() -> _Backend:
    """Return the library that Keras computes with, set to full float32 precision by the first call."""
    import keras

    return _BACKENDS[keras.config.backend()]()


class _Eager:
    """TensorFlow or PyTorch, eager, with a gradient tape or autograd."""

    def __init__(self, arrays: ModuleType, *distributions: str) -> None:
        self.distributions = distributions
        self._arrays = arrays
        arrays.set_flags()

    def settings(self) -> Mapping[str, object]:
        return self._arrays.settings()

    def devices(self) -> Sequence[str]:
        return self._arrays.devices()

    def placement_of(self, tensor: Any) -> str:
        return self._arrays.placement_of(tensor)

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        """
        Return y, dx, which is None where x is not floating, and the gradient of each variable.

        Raises:
            Unsupported: the backend does not differentiate.
        """
        return self._arrays.differentiate(call.function, x, [each.value for each in call.variables], dy)


class _Jax(_Eager):
    """JAX as installed, x64 off: eager calls, and gradients by one jitted vector-Jacobian product."""

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        y, dx, found = _pull_back(call)([each.value for each in call.variables], x, dy)
        return y, None if x.dtype.kind in "biu" else dx, found


def jitted(call: Call, x: Any) -> Any:
    """Return, on jax, the output of a call compiled as a whole, the values of its variables among its arguments."""
    return _stateless_call(call)([each.value for each in call.variables], x)


@lru_cache(maxsize=64)
def _stateless_call(call: Call) -> Callable[..., Any]:
    """Return (values, x) -> y, compiled once for all models of equal content."""
    import jax

    return jax.jit(_stateless(call))


def _stateless(call: Call) -> Callable[..., Any]:
    """Return (values, x) -> y, the variables replaced by those values."""
    import keras

    def stateless(values: Sequence[Any], x: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(call.variables, values, strict=True))):
            return call.function(x)

    return stateless


@lru_cache(maxsize=64)
def _pull_back(call: Call) -> Callable[..., Any]:
    """
    Return (values, x, dy) -> (y, dx, gradients), compiled once for all models of equal content.

    The values of the variables are arguments, so that none can be baked into what was compiled.
    """
    import jax

    stateless = _stateless(call)

    def pull_back(values: Sequence[Any], x: Any, dy: Any) -> Any:
        y, pull = jax.vjp(stateless, values, x)
        found, dx = pull(dy)
        return y, dx, found

    return jax.jit(pull_back)


class _OpenVino:
    """OpenVINO, which infers alone: an eager call makes a graph, computed in float32 when its array is read."""

    distributions = ("openvino",)

    def settings(self) -> Mapping[str, object]:
        import openvino

        device = openvino.Core()
        # Keras sets f32 whatever the device's default is, but not in `predict`.
        hints = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "EXECUTION_MODE_HINT")
        return {f"CPU.{each}": str(device.get_property("CPU", each)) for each in hints}

    def devices(self) -> Sequence[str]:
        return ("cpu",)  # Keras computes on its CPU device alone

    def placement_of(self, tensor: Any) -> str:
        from keras.src.backend.openvino.core import get_device

        return get_device().lower()  # what a graph is compiled for; its nodes are on no device

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        raise Unsupported("OpenVINO does not differentiate")


_Backend = _Eager | _OpenVino
_BACKENDS: Final[Mapping[str, Callable[[], _Backend]]] = {
    "tensorflow": lambda: _Eager(tensorflow_arrays, "tensorflow"),
    "jax": lambda: _Jax(jax_arrays, "jax", "jaxlib"),
    "torch": lambda: _Eager(torch_arrays, "torch"),
    "openvino": _OpenVino,
}
