"""
The facts about one step of a question that a behaviour can depend on: the call, the model, the input, the machine.

A predicate (`conformance.ledger.predicate`) selects steps by these facts.
"""

from __future__ import annotations

import functools
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array, Stack, Units
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step

#: Facts by the names of the ledger's fields.
Facts = Mapping[str, object]
#: What a step can call.
CALLS: Final = ("build", "infer", "parameters", "set_weights", "forward", "gradient")
_CALL_OF: Final[Mapping[type[Step], str]] = dict(
    zip((Build, InferShapes, ReadParameters, SetWeights, Forward, Differentiate), CALLS, strict=True)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """The device, the environment, the versions and the machine. They are the same for all steps of a cell."""

    #: `cpu` or `gpu`.
    device: str
    #: The variables that the process is started with beside those of the machine.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Distribution -> version, as the process reports them. None if they are unknown, as in lint.
    versions: Mapping[str, str] | None = None
    #: The machine's architecture, such as x86_64.
    machine: str = field(default_factory=lambda: platform.machine().lower())


@dataclass(frozen=True, kw_only=True)
class ModelStep:
    """One step together with its model as it is at that step."""

    #: The name of the step in results.
    label: str
    #: One of `CALLS`.
    call: str
    #: The name of the model.
    model: str
    #: The layers of the model, with its weights at that step.
    stack: Stack
    #: The input. None for a step without one.
    x: Array | None = None
    #: The memory layout of the input.
    layout: str = "contiguous"
    #: The memory layouts of the kernels and of the biases that the model was last given.
    weight_layouts: tuple[str, str] = ("contiguous", "contiguous")

    @functools.cached_property
    def facts(self) -> Facts:
        """The facts about the call and the model."""
        shape = self.stack.input_shape
        return {
            "call": self.call,
            "dtype": self.stack.dtype,
            "leading_axes": self.stack.leading_axes,
            "model_rank": self._model_rank,
            "contiguous": self._has_contiguous_operands,
            "input_shape": {
                "rank": len(shape),
                "last": shape[-1] if shape else None,
                "positions": _product(shape[:-1]),
            },
        }

    @functools.cached_property
    def input_facts(self) -> Facts | None:
        """The facts about the input. None for a step without one."""
        if self.x is None:
            return None
        x, shape = self.x, self.stack.input_shape
        samples = _product(x.shape[: self.stack.leading_axes])
        return {
            "dtype": x.dtype.name,
            "rank": x.ndim,
            "extra_axes": x.ndim - self._model_rank,
            "features": x.shape[-1] if x.ndim else None,
            "fits": x.ndim == self._model_rank and shape[-1:] in ((), (None,), x.shape[-1:]),
            "samples": samples,
            "positions": _product(x.shape[:-1]),
            "second_axis": x.shape[1] if x.ndim > 1 else None,
            "elements": x.size,
            "layout": self.layout,
            "finite": bool(np.isfinite(x.astype(np.float64)).all()),
        }

    @functools.cached_property
    def layer_facts(self) -> tuple[Facts, ...]:
        """The facts about each layer."""
        return tuple(self._layer_facts())

    @property
    def _has_contiguous_operands(self) -> bool:
        """Whether input and weights are each in memory in C order and without gaps."""
        kernel_layout, bias_layout = self.weight_layouts
        layers = self.stack.layers
        operands = [(None if self.x is None else self.x.shape, self.layout)]
        operands += [(None if each.kernel is None else each.kernel.shape, kernel_layout) for each in layers]
        operands += [(None if each.bias is None else each.bias.shape, bias_layout) for each in layers]
        return all(shape is None or is_contiguous(shape, layout) for shape, layout in operands)

    @property
    def _model_rank(self) -> int:
        return self.stack.leading_axes + len(self.stack.input_shape)

    def _layer_facts(self) -> Iterator[Facts]:
        shape = self.stack.input_shape
        features: Units = shape[-1] if shape else None
        for layer in self.stack.layers:
            is_count = isinstance(layer.units, int) and not isinstance(layer.units, bool)
            has_size = is_count and isinstance(features, int)
            yield {
                "features": features,
                "units": layer.units,
                "kernel_size": features * layer.units if has_size else None,  # type: ignore[operator]
                "square": features == layer.units if has_size else None,
                "activation": layer.activation,
                "use_bias": layer.use_bias,
            }
            features = layer.units if is_count else None


def model_steps(steps: Sequence[Step]) -> Iterator[ModelStep]:
    """Yield each step of a question together with its model as it is at that step."""
    stacks: dict[str, Stack] = {}
    weight_layouts: dict[str, tuple[str, str]] = {}
    for step in steps:
        if isinstance(step, Build | SetWeights):
            stacks[step.model] = step.stack
        if isinstance(step, SetWeights):
            weight_layouts[step.model] = step.kernel_layout, step.bias_layout
        x, layout = (step.x, step.layout) if isinstance(step, Forward | Differentiate) else (None, "contiguous")
        call = _CALL_OF[type(step)]
        yield ModelStep(
            label=step.label,
            call=call,
            model=step.model,
            stack=stacks[step.model],
            x=x,
            layout=layout,
            weight_layouts=weight_layouts.get(step.model, ("contiguous", "contiguous")),
        )


def is_contiguous(shape: tuple[int, ...], layout: str) -> bool:
    """Return whether an array of a layout (`sandbox.layouts`) is in memory in C order and without gaps."""
    if layout in ("contiguous", "unaligned") or math.prod(shape) <= 1:
        return True
    if layout == "padded":
        return math.prod(shape[:-1]) == 1
    if layout in ("transposed", "column_major"):
        return sum(axis > 1 for axis in (shape if layout == "column_major" else shape[:-1])) < 2
    return layout == "broadcast" and shape[0] == 1


def _product(axes: Sequence[int | None]) -> int | None:
    """Return the product of axes: 0 if one is 0, None if it depends on an unknown axis."""
    if 0 in axes:
        return 0
    lengths = [axis for axis in axes if axis is not None]
    return math.prod(lengths) if len(lengths) == len(axes) else None
