"""
PyTorch's other ways to a dense layer: `nn.LazyLinear`, `functional.linear`, and `nn.Conv1d` with a kernel of one.

The module must not import torch before it is asked for, compute a shape of its own, or check what PyTorch is there to
check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units, Unsupported
from conformance.adapters.torch.arrays import (
    DEVICES,
    activations,
    devices,
    from_numpy,
    inferred_shapes,
    parameter_of,
    placement_of,
    set_flags,
    settings,
    strides_of,
    to_numpy,
    versions,
)
from conformance.adapters.torch.layers import LAYERS, Layer

if TYPE_CHECKING:
    import torch


class TorchEquivalentsAdapter:
    """
    PyTorch in eager mode, float32 products at full precision; `mode` is `lazy`, `functional` or `conv1d`.

    Raises:
        KeyError: there is no such mode.
    """

    def __init__(self, *, mode: str) -> None:
        self._mode = mode
        self._kind = LAYERS[mode]
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

    def build(self, stack: Stack, *, device: str) -> TorchEquivalentsModel:
        """
        Return the stack, one layer of the mode's kind for each, on `device`.

        Raises:
            Unsupported: a convolution over one axis of positions is asked of samples with more.
        """
        if self._mode == "conv1d" and len(stack.input_shape) > 2:
            raise Unsupported(f"conv1d takes samples of one axis of positions, not of {len(stack.input_shape) - 1}")
        return TorchEquivalentsModel(stack, self._kind, device=DEVICES[device])


class TorchEquivalentsModel:
    """Layers of one kind, each followed by its activation, called one after the other."""

    def __init__(self, stack: Stack, kind: Callable[..., Layer], *, device: str) -> None:
        import torch

        self._stack = stack
        self._device = device
        self._dtype = getattr(torch, stack.dtype)
        self._handed: tuple[int, ...] | None = None
        self._output: torch.Tensor | None = None
        modules = activations()
        self._activations = [modules[layer.activation]() for layer in stack.layers]
        self._layers: list[Layer] = []
        # A layer is told its input width, unless it waits for an input. A scalar has no last axis: one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            self._layers.append(kind(width, layer, dtype=self._dtype, device=device))
            width = layer.units
        sample = (*(1,) * stack.leading_axes, *stack.input_shape)
        # A layer that waits for an input is shown one of zeros, which says nothing of a last axis that is not known.
        if any(each.waits for each in self._layers) and None not in sample[-1:]:
            with torch.no_grad():
                self._call(torch.zeros([1 if axis is None else axis for axis in sample], dtype=self._dtype).to(device))
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of fake tensors, batch and other unknown axes symbolic, as they leave each layer."""
        shape = (batch, *self._stack.input_shape)
        taken = [layer.units for layer in self._stack.layers]
        return inferred_shapes(self._outputs, shape, taken=taken, dtype=self._dtype, device=self._device)

    def parameters(self) -> Sequence[Parameter]:
        """Return weight and bias of each module, under the names it has for them."""
        return [
            parameter_of(each, layer=index, own=own, reported=f"{index}.{own}")
            for index, layer in enumerate(self._layers)
            for own, each in layer.held().items()
        ]

    def parameter_count(self) -> int:
        """Return the number of elements of all parameters."""
        return sum(each.numel() for layer in self._layers for each in layer.held().values())

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), without recording for differentiation."""
        import torch

        handed = self._hand_over(x)
        with torch.no_grad():
            self._output = self._call(handed)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what autograd gives for sum(dy * y); each kernel's gradient is handed over as (d, m)."""
        import torch

        handed = self._hand_over(x)
        wanted = [each for layer in self._layers for each in layer.operands() if each is not None]
        if handed.is_floating_point():
            wanted.append(handed.requires_grad_())
        self._output = self._call(handed)
        found = iter(torch.autograd.grad(self._output, wanted, grad_outputs=from_numpy(dy, self._device)))
        layers = tuple(
            (to_numpy(each.as_kernel(next(found))), to_numpy(next(found)) if layer.use_bias else None)
            for each, layer in zip(self._layers, self._stack.layers, strict=True)
        )
        return Gradients(dx=to_numpy(next(found)) if handed.is_floating_point() else None, layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Give each layer its kernel and bias; without kernels do nothing."""
        for each, layer in zip(self._layers, stack.layers, strict=True):
            if layer.kernel is not None:
                bias = None if layer.bias is None else from_numpy(layer.bias, self._device)
                each.load(from_numpy(layer.kernel, self._device), bias)

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

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return self._outputs(x)[-1]

    def _outputs(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        found = []
        for layer, following in zip(self._layers, self._activations, strict=True):
            x = layer(x)
            for activation in following:
                x = activation(x)
            found.append(x)
        return found
