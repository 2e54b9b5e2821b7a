"""
One step of a question as a behaviour sees it: what is called, on which model, with which input, on which machine.

A behaviour covers a step by a predicate over these facts (`conformance.ledger.predicate`). None of them says what the
step should answer.
"""

from __future__ import annotations

import functools
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from conformance.adapters.protocol import Array, Stack, Units
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step

CALLS: Final = ("build", "infer", "parameters", "set_weights", "forward", "gradient")
_CALL_OF: Final[Mapping[type[Step], str]] = dict(
    zip((Build, InferShapes, ReadParameters, SetWeights, Forward, Differentiate), CALLS, strict=True)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What is the same for all steps of a cell: device, environment and versions of the process that answers."""

    device: str
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Distribution -> version, as the process reports them; None where they are not known, as in lint.
    versions: Mapping[str, str] | None = None
    #: The machine's architecture, such as x86_64.
    machine: str = field(default_factory=lambda: platform.machine().lower())


@dataclass(frozen=True, kw_only=True)
class AskedStep:
    """One step with the model it is asked of: `stack` is the model's own, `x` the input where it has one."""

    label: str
    call: str
    model: str
    stack: Stack
    x: Array | None = None
    layout: str = "contiguous"

    @functools.cached_property
    def facts(self) -> Mapping[str, Any]:
        """What a predicate may ask of the step as a whole, by the name of the field."""
        shape = self.stack.input_shape
        return {
            "call": self.call,
            "dtype": self.stack.dtype,
            "leading_axes": self.stack.leading_axes,
            "model_rank": self.stack.leading_axes + len(shape),
            "input_shape": {
                "rank": len(shape),
                "last": shape[-1] if shape else None,
                "positions": _product(shape[:-1]),
            },
        }

    @functools.cached_property
    def fed(self) -> Mapping[str, Any] | None:
        """What a predicate may ask of the input, None where the step has none."""
        if self.x is None:
            return None
        x, shape = self.x, self.stack.input_shape
        samples = _product(x.shape[: self.stack.leading_axes])
        return {
            "dtype": x.dtype.name,
            "rank": x.ndim,
            "extra_axes": x.ndim - self.facts["model_rank"],
            "features": x.shape[-1] if x.ndim else None,
            "fits": x.ndim == self.facts["model_rank"] and shape[-1:] in ((), (None,), x.shape[-1:]),
            "samples": samples,
            "positions": _product(x.shape[:-1]),
            "second_axis": x.shape[1] if x.ndim > 1 else None,
            "elements": x.size,
            "layout": self.layout,
            "contiguous": _is_contiguous(x.shape, self.layout),
            "finite": bool(np.isfinite(x.astype(np.float64)).all()),
        }

    @functools.cached_property
    def layers(self) -> tuple[Mapping[str, Any], ...]:
        """What a predicate may ask of each layer."""
        return tuple(self._layers())

    def _layers(self) -> Iterator[Mapping[str, Any]]:
        shape = self.stack.input_shape
        features: Units = shape[-1] if shape else None
        for layer in self.stack.layers:
            count = isinstance(layer.units, int) and not isinstance(layer.units, bool)
            known = count and isinstance(features, int)
            yield {
                "features": features,
                "units": layer.units,
                "kernel_size": features * layer.units if known else None,  # type: ignore[operator]
                "square": features == layer.units if known else None,
                "activation": layer.activation,
                "use_bias": layer.use_bias,
            }
            features = layer.units if count else None


def asked_steps(steps: Sequence[Step]) -> Iterator[AskedStep]:
    """Yield each step of a question with the stack of its model at that time."""
    stacks: dict[str, Stack] = {}
    for step in steps:
        if isinstance(step, Build | SetWeights):
            stacks[step.model] = step.stack
        x, layout = (step.x, step.layout) if isinstance(step, Forward | Differentiate) else (None, "contiguous")
        call = _CALL_OF[type(step)]
        yield AskedStep(label=step.label, call=call, model=step.model, stack=stacks[step.model], x=x, layout=layout)


def _is_contiguous(shape: tuple[int, ...], layout: str) -> bool:
    """Return whether an array in a layout (`sandbox.layouts`) lies in memory without gaps, in order."""
    if layout == "contiguous" or math.prod(shape) <= 1:
        return True
    if layout == "transposed":
        return sum(axis > 1 for axis in shape[:-1]) < 2
    return layout == "broadcast" and shape[0] == 1


def _product(axes: Sequence[int | None]) -> int | None:
    """Return the product of known axes, 0 where one is 0, None where it depends on an unknown one."""
    if 0 in axes:
        return 0
    known = [axis for axis in axes if axis is not None]
    return math.prod(known) if len(known) == len(axes) else None
