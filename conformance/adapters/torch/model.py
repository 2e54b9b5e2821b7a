"""
What the adapters on PyTorch share: their reports of versions, flags and devices, and the eager calls of a model.

The module must not import torch before an adapter is made, or compute a shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from conformance.adapters.protocol import Array, Gradients, Shape, Stack
from conformance.adapters.torch.arrays import (
    activations,
    devices,
    differentiate,
    from_numpy,
    inferred_shapes,
    placement_of,
    set_flags,
    settings,
    strides_of,
    to_numpy,
    versions,
)

if TYPE_CHECKING:
    import torch


def sequential(stack: Stack, device: str = "cpu") -> torch.nn.Sequential:
    """Return an `nn.Sequential` of `nn.Linear` layers, each followed by its activation unless that is linear."""
    import torch

    dtype, following = getattr(torch, stack.dtype), activations()
    modules: list[torch.nn.Module] = []
    for width, layer in zip(stack.widths, stack.layers, strict=True):
        modules.append(torch.nn.Linear(width, layer.units, bias=layer.use_bias, dtype=dtype, device=device))
        modules += following[layer.activation]()
    return torch.nn.Sequential(*modules)


def layer_outputs(module: torch.nn.Sequential, x: torch.Tensor) -> Sequence[torch.Tensor]:
    """Return what leaves each `nn.Linear` of an `nn.Sequential`, its activation included."""
    import torch

    found: list[torch.Tensor] = []
    for each in module:
        x = each(x)
        if not isinstance(each, torch.nn.Linear):
            found.pop()  # an activation belongs to the layer before it
        found.append(x)
    return found


class TorchAdapterBase:
    """Base of the adapters on PyTorch: versions, flags and devices."""

    def __init__(self) -> None:
        set_flags()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of torch and of what carries arrays to it."""
        return versions()

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values and on their repeatability, read back from torch."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where torch sees a CUDA device."""
        return devices()


class TorchModelBase(ABC):
    """Base of the models on PyTorch: a stack on one device. A subclass has the layers and their call."""

    def __init__(self, stack: Stack, *, device: str) -> None:
        import torch

        self._stack = stack
        self._device = device
        self._dtype = getattr(torch, stack.dtype)
        self._handed: tuple[int, ...] | None = None
        self._output: torch.Tensor | None = None

    @abstractmethod
    def _compute(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output of the last layer."""

    @abstractmethod
    def _layer_outputs(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return what leaves each layer, its activation included."""

    @abstractmethod
    def _operands(self) -> Sequence[torch.Tensor]:
        """Return the weight of each layer, and its bias where it has one."""

    def _as_kernel(self, layer: int, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient of a weight, of shape (m, d) unless a subclass says otherwise, as (d, m)."""
        return gradient.T

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of fake tensors, batch and other unknown axes symbolic, as they leave each layer."""
        shape = (batch, *self._stack.input_shape)
        units = [layer.units for layer in self._stack.layers]
        return inferred_shapes(self._layer_outputs, shape, avoid=units, dtype=self._dtype, device=self._device)

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), without recording for differentiation."""
        import torch

        handed = self._hand_over(x)
        with torch.no_grad():
            self._output = self._compute(handed)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what autograd gives for sum(dy * y); the gradient of each weight as that of a kernel (d, m)."""
        handed, given = self._hand_over(x), from_numpy(dy, self._device)
        self._output, dx, arrays = differentiate(self._compute, handed, self._operands(), given)
        found = iter(arrays)
        layers = tuple(
            (to_numpy(self._as_kernel(index, next(found))), to_numpy(next(found)) if layer.use_bias else None)
            for index, layer in enumerate(self._stack.layers)
        )
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def placement(self) -> str:
        """Return the device the last output was on."""
        return placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the tensor the last input became."""
        return self._handed

    def _hand_over(self, x: Array) -> torch.Tensor:
        handed = from_numpy(x, self._device)
        self._handed = strides_of(handed)
        return handed
