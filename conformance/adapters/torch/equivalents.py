"""
PyTorch's other ways to a dense layer: `nn.LazyLinear`, `functional.linear`, and `nn.Conv1d` with a kernel of one.

The module must not import torch before an adapter is made, compute a shape of its own, or check what PyTorch is there
to check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from conformance.adapters.protocol import Parameter, Stack, Unsupported
from conformance.adapters.torch.arrays import DEVICES, activations, from_numpy, parameter_of
from conformance.adapters.torch.layers import LAYERS, Layer
from conformance.adapters.torch.model import TorchAdapterBase, TorchModelBase

if TYPE_CHECKING:
    import torch


class TorchEquivalentsAdapter(TorchAdapterBase):
    """
    PyTorch in eager mode, float32 products at full precision; `mode` is `lazy`, `functional` or `conv1d`.

    Raises:
        KeyError: there is no such mode.
    """

    def __init__(self, *, mode: str) -> None:
        self._mode = mode
        self._kind = LAYERS[mode]
        super().__init__()

    def build(self, stack: Stack, *, device: str) -> TorchEquivalentsModel:
        """
        Return the stack, one layer of the mode's kind for each, on `device`.

        Raises:
            Unsupported: a convolution over one axis of positions is given samples with more.
        """
        if self._mode == "conv1d" and len(stack.input_shape) > 2:
            raise Unsupported(f"conv1d takes samples of one axis of positions, not of {len(stack.input_shape) - 1}")
        return TorchEquivalentsModel(stack, self._kind, device=DEVICES[device])


class TorchEquivalentsModel(TorchModelBase):
    """Layers of one kind, each followed by its activation, called one after the other."""

    def __init__(self, stack: Stack, kind: Callable[..., Layer], *, device: str) -> None:
        import torch

        super().__init__(stack, device=device)
        modules = activations()
        self._activations = [modules[layer.activation]() for layer in stack.layers]
        self._layers: list[Layer] = [
            kind(width, layer, dtype=self._dtype, device=device)
            for width, layer in zip(stack.widths, stack.layers, strict=True)
        ]
        sample = (*(1,) * stack.leading_axes, *stack.input_shape)
        # A layer that waits for an input gets one of zeros, unless its last axis is unknown.
        if any(each.waits for each in self._layers) and None not in sample[-1:]:
            with torch.no_grad():
                self._compute(
                    torch.zeros([1 if axis is None else axis for axis in sample], dtype=self._dtype).to(device)
                )
        self.set_weights(stack)

    def parameters(self) -> Sequence[Parameter]:
        """Return weight and bias of each module, under the names it has for them."""
        return [
            parameter_of(each, layer=index, own=own, reported=f"{index}.{own}")
            for index, layer in enumerate(self._layers)
            for own, each in layer.parameters().items()
        ]

    def parameter_count(self) -> int:
        """Return the number of elements of all parameters."""
        return sum(each.numel() for layer in self._layers for each in layer.parameters().values())

    def _operands(self) -> Sequence[torch.Tensor]:
        return [each for layer in self._layers for each in layer.operands() if each is not None]

    def _as_kernel(self, layer: int, gradient: torch.Tensor) -> torch.Tensor:
        return self._layers[layer].as_kernel(gradient)

    def set_weights(self, stack: Stack) -> None:
        """Give each layer its kernel and bias; without kernels do nothing."""
        for each, layer in zip(self._layers, stack.layers, strict=True):
            if layer.kernel is not None:
                bias = None if layer.bias is None else from_numpy(layer.bias, self._device)
                each.load(from_numpy(layer.kernel, self._device), bias)

    def _compute(self, x: torch.Tensor) -> torch.Tensor:
        return self._layer_outputs(x)[-1]

    def _layer_outputs(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        found = []
        for layer, following in zip(self._layers, self._activations, strict=True):
            x = layer(x)
            for activation in following:
                x = activation(x)
            found.append(x)
        return found
