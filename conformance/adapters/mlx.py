"""
MLX: `mlx.nn.Linear` and activation modules in an `mlx.nn.Sequential`.

This module has all code for MLX. It must not import mlx before an adapter is made, compute a shape of its
own, or check what MLX is there to check. An array of MLX has a shape before it is computed, but no axis of it can be
unknown: the adapter declines to infer shapes.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported

if TYPE_CHECKING:
    import mlx.core as mx
    import mlx.nn as nn

#: MLX's names for the arrays of a layer; a weight has shape (m, d).
NAMES: Final = {"weight": "kernel", "bias": "bias"}
#: The kinds of device that the array interchange protocol DLPack numbers so.
PLACES: Final = {1: "cpu", 2: "gpu", 8: "gpu", 13: "gpu"}


class MlxAdapter:
    """MLX as installed, on the CPU or on the GPU it was built for."""

    def __init__(self) -> None:
        import mlx.nn  # noqa: F401 - loaded here, so that the time counts as start and not as the first cell

    def versions(self) -> Mapping[str, str]:
        """Return the versions of mlx, of the builds of it that are installed, and of what carries arrays to it."""
        found = {each.name: each.version for each in importlib.metadata.distributions()}
        return {each: found[each] for each in ("mlx", "mlx-cpu", "mlx-metal", "numpy", "ml_dtypes") if each in found}

    def settings(self) -> Mapping[str, object]:
        """Return MLX's default device; it has no flags that bear on values on the CPU."""
        import mlx.core as mx

        return {"default_device": str(mx.default_device())}

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where MLX has one."""
        import mlx.core as mx

        return ("cpu", "gpu") if mx.is_available(mx.gpu) else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> MlxModel:
        """Return the stack as an `mlx.nn.Sequential`, computed on `device`."""
        import mlx.core as mx

        mx.set_default_device({"cpu": mx.cpu, "gpu": mx.gpu}[device])
        return MlxModel(stack)


class MlxModel:
    """An `mlx.nn.Sequential` of `mlx.nn.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack) -> None:
        import mlx.core as mx
        import mlx.nn as nn

        modules: list[Any] = []
        for width, layer in zip(stack.widths, stack.layers, strict=True):
            modules.append(nn.Linear(width, layer.units, bias=layer.use_bias))
            modules += _activations()[layer.activation]()
        self._module = nn.Sequential(*modules)
        self._module.set_dtype(getattr(mx, stack.dtype))
        self._linears = {place: each for place, each in enumerate(modules) if isinstance(each, nn.Linear)}
        self._output: mx.array | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Raise: the shape of an array, computed or not, is known on every axis."""
        raise Unsupported("MLX infers a shape for a batch of known size alone")

    def parameters(self) -> Sequence[Parameter]:
        """Return every array of each `mlx.nn.Linear`; those that are not frozen are trained."""
        return [
            Parameter(
                layer=index,
                name=NAMES.get(own, own),
                shape=tuple(each.shape),
                dtype=str(each.dtype).removeprefix("mlx.core."),
                trainable=own in linear.trainable_parameters(),
                reported=f"layers.{place}.{own}",
            )
            for index, (place, linear) in enumerate(self._linears.items())
            for own, each in linear.parameters().items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the sizes of the arrays among the leaves of the module."""
        from mlx.utils import tree_flatten

        return sum(each.size for _, each in tree_flatten(self._module.parameters()))

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape)."""
        self._output = self._module(from_numpy(x))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what `mlx.core.grad` gives for sum(dy * y); a weight's gradient (m, d) is handed over as (d, m)."""
        import mlx.core as mx

        handed, cotangent = from_numpy(x), from_numpy(dy)
        trained = self._module.trainable_parameters()

        def total(parameters: Any, given: mx.array) -> mx.array:
            self._module.update(parameters)
            self._output = self._module(given)
            return (cotangent * self._output).sum()

        dx: mx.array | None = None
        try:
            if mx.issubdtype(handed.dtype, mx.floating):
                found, dx = mx.grad(total, argnums=(0, 1))(trained, handed)
            else:
                found = mx.grad(total)(trained, handed)
        finally:
            # While MLX differentiates, the module has tracers in place of its arrays.
            self._module.update(trained)
        linears = [found["layers"][place] for place in self._linears]
        layers = tuple(
            (to_numpy(each["weight"].T), to_numpy(each["bias"]) if "bias" in each else None) for each in linears
        )
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Load kernels and biases through `load_weights`, which refuses other shapes; without kernels do nothing."""
        given = []
        for place, layer in zip(self._linears, stack.layers, strict=True):
            if layer.kernel is not None:
                given.append((f"layers.{place}.weight", from_numpy(layer.kernel.T)))
            if layer.bias is not None:
                given.append((f"layers.{place}.bias", from_numpy(layer.bias)))
        if given:
            self._module.load_weights(given)

    def placement(self) -> str:
        """Return the device that the last output reports to another library."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        kind, _ = self._output.__dlpack_device__()
        return PLACES.get(kind, f"DLPack device {kind}")

    def handed_strides(self) -> None:
        """Return None: an array of MLX does not report its strides."""


def from_numpy(array: Array) -> mx.array:
    """Return an array of the shape and dtype of `array`."""
    import mlx.core as mx

    if array.dtype == ml_dtypes.bfloat16:
        # MLX has no NumPy bfloat16: the bits are passed as integers of the same width.
        return mx.array(array.view(np.int16)).view(mx.bfloat16)
    # By default MLX makes float64 float32.
    return mx.array(array, dtype=getattr(mx, "bool_" if array.dtype == np.bool_ else array.dtype.name))


def to_numpy(array: mx.array) -> Array:
    """Return an array of the same shape and dtype, bfloat16 as that of `ml_dtypes`; MLX computes it here."""
    import mlx.core as mx

    if array.dtype == mx.bfloat16:
        return np.array(array.view(mx.int16)).view(ml_dtypes.bfloat16)
    return np.array(array)


def _activations() -> Mapping[str, Callable[[], list[nn.Module]]]:
    import mlx.core as mx
    from mlx import nn

    class Exponential(nn.Module):  # type: ignore[misc]  # mlx is not typed here
        """mx.exp, for which mlx.nn has no module."""

        def __call__(self, x: mx.array) -> mx.array:
            return mx.exp(x)

    return {
        "linear": list,
        "relu": lambda: [nn.ReLU()],
        "sigmoid": lambda: [nn.Sigmoid()],
        "softmax": lambda: [nn.Softmax()],
        "tanh": lambda: [nn.Tanh()],
        "leaky_relu": lambda: [nn.LeakyReLU(negative_slope=0.01)],
        "elu": lambda: [nn.ELU(alpha=1.0)],
        "selu": lambda: [nn.SELU()],
        "softplus": lambda: [nn.Softplus()],
        "softsign": lambda: [nn.Softsign()],
        "silu": lambda: [nn.SiLU()],
        "gelu": lambda: [nn.GELU(approx="none")],
        "gelu_tanh": lambda: [nn.GELU(approx="tanh")],
        "log_softmax": lambda: [nn.LogSoftmax()],
        "exponential": lambda: [Exponential()],
    }
