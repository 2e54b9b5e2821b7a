"""
The shapes that PyTorch infers from examples on the meta device, compared with those that it infers from symbols.

Only a symbol for an unknown axis shows whether PyTorch binds that axis to a number. Symbols take ten times as long as
examples, so that one stack is inferred from symbols for all that differ in sizes only (`_twin`). The module must not
import torch before an adapter is made, or compute a shape.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from conformance.adapters.protocol import Shape, Stack, Units
from conformance.adapters.torch.arrays import examples, inferred_shapes
from conformance.adapters.torch.model import layer_outputs, sequential

if TYPE_CHECKING:
    import torch

#: Sizes that a twin shares, since PyTorch treats them in a way of their own.
_SINGULAR: Final = (0, 1)


def shapes_from_examples(module: torch.nn.Sequential, stack: Stack, batch: int | None) -> Sequence[Shape]:
    """
    Return the shapes that leave each layer of a copy of `module` on the meta device.

    An unknown axis has two example sizes, and an axis of an output is unknown where it has the same two.

    Raises:
        RuntimeError: PyTorch infers other shapes from symbols, for the twin of `stack`.
    """
    shape = (batch, *stack.input_shape)
    found = _shapes_on_meta(module, stack, shape)
    if None in shape:
        compare_with_symbols(_twin(stack), batch)
    return found


def _shapes_on_meta(module: torch.nn.Sequential, stack: Stack, shape: Shape) -> Sequence[Shape]:
    import torch
    import torch._subclasses.fake_tensor  # replaces kernels of the meta device, and does so before the first cell

    without_values = {id(each): torch.nn.Parameter(each.detach().to("meta")) for each in module.parameters()}
    on_meta = copy.deepcopy(module, without_values)

    def called(sizes: Sequence[int]) -> Sequence[tuple[int, ...]]:
        with torch.no_grad():
            x = torch.empty(sizes, dtype=getattr(torch, stack.dtype), device="meta")
            return [tuple(each.shape) for each in layer_outputs(on_meta, x)]

    first = examples(shape, _units(stack))
    found = called(first)
    if None not in shape:
        return found
    second = examples(shape, [*_units(stack), *first])
    unknown = {(one, two) for size, one, two in zip(shape, first, second, strict=True) if size is None}
    return [
        tuple(None if pair in unknown else pair[0] for pair in zip(one, two, strict=True))
        for one, two in zip(found, called(second), strict=True)
    ]


@cache
def compare_with_symbols(twin: Stack, batch: int | None) -> None:
    """Raise RuntimeError where PyTorch infers other shapes of a stack from symbols than from examples."""
    module, shape = sequential(twin), (batch, *twin.input_shape)
    by_symbols = inferred_shapes(
        partial(layer_outputs, module), shape, avoid=_units(twin), dtype=module[0].weight.dtype, device="cpu"
    )
    by_examples = _shapes_on_meta(module, twin, shape)
    if by_symbols != by_examples:
        raise RuntimeError(f"torch infers {by_symbols} from symbols, {by_examples} from examples, for {twin}")


def _twin(stack: Stack) -> Stack:
    """
    Return a stack in float32 of the same rank, activations, biases and number of layers.

    It has other sizes, but for 0, 1 and unknown ones. It follows from the stack alone, so that the answer of a cell
    does not depend on the cells before it.
    """
    axes = tuple(size if size in (*_SINGULAR, None) else 11 + axis for axis, size in enumerate(stack.input_shape))
    layers = tuple(
        replace(each, units=each.units if each.units in _SINGULAR else 31 + index, kernel=None, bias=None)
        for index, each in enumerate(stack.layers)
    )
    return Stack(input_shape=axes, leading_axes=1, dtype="float32", layers=layers)


def _units(stack: Stack) -> Sequence[Units]:
    return [each.units for each in stack.layers]
