"""
Expectations: what a step of a question should answer under the rule, and under the behaviours that cover it.

The rule gives each step a kind of reply, dtypes, shapes and an enclosure. Behaviours change them. All behaviours that
cover a step are applied together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np

from conformance.adapters.protocol import Array
from conformance.ledger.behaviour import TYPED, Behaviour, Refusal
from conformance.ledger.step import ModelStep, is_contiguous
from conformance.reference import Reference, answer
from conformance.reference.deviation import NO_DEVIATION, ActivationDeviation, Deviation
from conformance.reference.draw import Draw
from conformance.reference.enclosure import Enclosure, Float64
from conformance.reference.formats import FORMATS

#: A behaviour that covers a step, with the layers of the step that it covers.
Covering = tuple[Behaviour, frozenset[int]]
#: The value of a field of a behaviour.
Value = TypeVar("Value")
#: A deviation, or the part of one that has a type of its own.
Part = TypeVar("Part", Deviation, ActivationDeviation)


class Conflict(ValueError):
    """Two behaviours give one field of one layer different values. `names` has their ids."""

    def __init__(self, field_name: str, names: Sequence[str]) -> None:
        super().__init__(f"{' and '.join(names)} both set {field_name}, to different values")
        self.names = tuple(names)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What one step should answer."""

    #: Result (one of `conformance.ledger.behaviour.TYPED`) -> dtype.
    dtypes: Mapping[str, str]
    #: What encloses the output and the gradients of a step that computes.
    reference: Reference | None = None
    #: The exception that the step should raise.
    refuses: Refusal | None = None
    #: Signals. One of them should end the process.
    crashes: tuple[str, ...] = ()
    #: How the step should accept what the rule forbids.
    accepts: str | None = None
    #: How the inferred shapes should differ from the rule's.
    infers: str | None = None
    #: Results whose values are not compared.
    undefined: frozenset[str] = frozenset()
    #: The ids of the behaviours that were applied.
    behaviours: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether the step should have no answer."""
        return self.refuses is not None or bool(self.crashes)


def dtypes_of_rule(dtype: str, input_dtype: str | None) -> Mapping[str, str]:
    """Return the dtype of each result under the rule. The gradient of an input of another dtype has that dtype."""
    return {"parameters": dtype, "output": dtype, "dx": input_dtype or dtype, "weights": dtype}


def expectation_under(
    rule: Expectation, step: ModelStep, covering: Sequence[Covering], draw: Draw | None
) -> Expectation:
    """
    Return what a step should answer under the behaviours that cover it.

    Args:
        rule: what it should answer under the rule.
        step: the step.
        covering: the behaviours.
        draw: the numbers of a step that computes, None for other steps.

    Raises:
        Conflict: two behaviours contradict each other.
    """
    instead = [each.instead for each, _ in covering]
    dtypes = dict(rule.dtypes)
    # The last layer makes the output and the first one dx: a behaviour of another layer leaves their dtype as it is.
    owners = {"output": len(step.stack.layers) - 1, "dx": 0}
    for behaviour, layers in covering:
        dtypes |= {
            name: each for name, each in behaviour.instead.dtypes.items() if owners.get(name, min(layers)) in layers
        }
    shape = _agreed("shape", covering, lambda each: each.instead.shape)
    reference = rule.reference
    if draw is not None and not any(each.ends for each in instead):
        reference = _reference_under(reference, step, covering, draw, dtypes, shape is not None)
    return Expectation(
        dtypes=dtypes,
        reference=reference,
        # A step raises one exception: that of the first check that it meets. `alternatives` has each in turn.
        refuses=next((each.refuses for each in instead if each.refuses is not None), None),
        crashes=_agreed("crashes", covering, lambda each: each.instead.crashes) or (),
        accepts=_agreed("accepts", covering, lambda each: each.instead.accepts),
        infers=_agreed("infers", covering, lambda each: each.instead.infers),
        undefined=frozenset[str]().union(*(each.undefined for each in instead)),
        behaviours=tuple(each.id for each, _ in covering),
    )


def _reference_under(
    rule: Reference | None,
    step: ModelStep,
    covering: Sequence[Covering],
    draw: Draw,
    dtypes: Mapping[str, str],
    has_shape_of_input: bool,
) -> Reference | None:
    """Return the reference of a step that computes, under the behaviours that cover it."""
    instead, stack = [each.instead for each, _ in covering], step.stack
    if any(each.deviation.reads_bits_as_integers for each in instead):
        draw = _with_bits_as_integers(draw, step)
    reference = rule
    deviations = layer_deviations(covering, len(stack.layers), stack.dtype)
    if any(each != NO_DEVIATION for each in deviations):
        activations = [layer.activation for layer in stack.layers]
        reference = _in_dtypes(answer(draw, activations, stack.dtype, deviations), stack.dtype, deviations, dtypes)
        reference = _bounded(reference, stack.dtype)
    if has_shape_of_input:
        # Nothing is known about the numbers of an output of another shape.
        zeros = np.zeros(draw.x.shape)
        y = Enclosure(exact=zeros, allowed=np.full_like(zeros, np.inf))
        reference = replace(reference or Reference(y=y, dx=y, layers=(), line="proven"), y=y)
    exactly = next((each.exactly for each in instead if each.exactly is not None), None)
    if exactly is not None and reference is not None:
        reference = replace(reference, y=_with_elements(reference.y, exactly.elements))
    return reference


def _with_bits_as_integers(draw: Draw, step: ModelStep) -> Draw:
    """Return the draw with the bits of each float16 operand that is not contiguous read as signed integers."""

    def read(array: Array, layout: str) -> Array:
        if array.dtype != np.float16 or is_contiguous(array.shape, layout):
            return array
        return array.view(np.int16).astype(FORMATS[step.stack.dtype].dtype)

    kernel_layout, bias_layout = step.weight_layouts
    return replace(
        draw,
        # The input in the dtype in which the framework receives it.
        x=draw.x if step.x is None else read(step.x, step.layout),
        kernels=tuple(read(each, kernel_layout) for each in draw.kernels),
        biases=tuple(None if each is None else read(each, bias_layout) for each in draw.biases),
    )


def _in_dtypes(
    reference: Reference, dtype: str, deviations: Sequence[Deviation], dtypes: Mapping[str, str]
) -> Reference:
    """Return the reference with the results of layers that compute in a wider format rounded to their dtypes."""

    def rounded(enclosure: Enclosure, deviation: Deviation, result: str) -> Enclosure:
        computed, form = FORMATS[deviation.computes_in or dtype], FORMATS[dtypes[result]]
        return enclosure.rounded(form) if computed.significand > form.significand else enclosure

    layers = tuple(
        (rounded(kernel, each, "weights"), None if bias is None else rounded(bias, each, "weights"))
        for (kernel, bias), each in zip(reference.layers, deviations, strict=True)
    )
    y, dx = rounded(reference.y, deviations[-1], "output"), rounded(reference.dx, deviations[0], "dx")
    return replace(reference, y=y, dx=dx, layers=layers)


def _agreed(name: str, covering: Sequence[Covering], value_of: Callable[[Behaviour], Value | None]) -> Value | None:
    """Return the value that the behaviours give a field, None if none gives one."""
    values = [(each.id, value) for each, _ in covering if (value := value_of(each))]
    if len({value for _, value in values}) > 1:
        raise Conflict(name, [name for name, _ in values])
    return values[0][1] if values else None


def alternatives(covering: Sequence[Covering]) -> list[tuple[Covering, ...]]:
    """Return the behaviours that cover a step, once with each of their refusals: a step raises one exception."""
    refusing = [each for each in covering if each[0].instead.refuses is not None]
    others = [each for each in covering if each not in refusing]
    return [(one, *others) for one in refusing] if len(refusing) > 1 else [tuple(covering)]


def check_agreement(covering: Sequence[Covering], layers: int, dtype: str) -> None:
    """
    Check that the behaviours that cover one step can be applied together.

    Args:
        covering: the behaviours.
        layers: the number of layers of the step's model.
        dtype: the dtype of the layers.

    Raises:
        Conflict: two of them contradict each other.
    """
    layer_deviations(covering, layers, dtype)
    for name in ("crashes", "accepts", "infers", "shape"):
        _agreed(name, covering, attrgetter(f"instead.{name}"))
    for name in TYPED:
        _agreed(f"dtypes.{name}", covering, partial(_declared_dtype, name))


def _declared_dtype(result: str, behaviour: Behaviour) -> str | None:
    return behaviour.instead.dtypes.get(result)


def layer_deviations(covering: Sequence[Covering], layers: int, dtype: str) -> tuple[Deviation, ...]:
    """
    Return how the arithmetic of each layer differs under the behaviours that cover a step.

    Args:
        covering: the behaviours.
        layers: the number of layers of the step's model.
        dtype: the dtype of the layers.

    Raises:
        Conflict: two behaviours give one field of one layer different values.
    """
    deviations = [(each.id, each.instead.deviation.in_dtype(dtype), covered) for each, covered in covering]
    return tuple(
        _combined_deviation([(name, deviation) for name, deviation, covered in deviations if layer in covered])
        for layer in range(layers)
    )


#: The fields of a deviation that map names to values, or are sets of names.
_MAPPINGS: Final = ("casts", "sums_in", "constants", "error")
_SETS: Final = ("rounds_each_product", "rounds_toward_zero")


def _combined_deviation(deviations: Sequence[tuple[str, Deviation]]) -> Deviation:
    """Return several deviations of one layer as one."""
    return _merged(deviations, NO_DEVIATION)


def _merged(deviations: Sequence[tuple[str, Part]], none: Part) -> Part:
    """
    Return several deviations, or the same part of several deviations, as one.

    - `deviations`: the id of the behaviour with each of them.
    - `none`: the one that is as the rule.
    """
    if len(deviations) < 2:
        return deviations[0][1] if deviations else none
    found: dict[str, Any] = {}
    for each in fields(none):
        values = [(name, getattr(deviation, each.name)) for name, deviation in deviations]
        if each.name == "activation":
            found[each.name] = _merged(values, NO_DEVIATION.activation)
        elif each.name in _SETS:
            found[each.name] = frozenset[str]().union(*(value for _, value in values))
        elif each.name in _MAPPINGS:
            merged: dict[str, object] = {}
            for _, value in values:
                for key, content in value.items():
                    if merged.setdefault(key, content) != content:
                        raise Conflict(f"{each.name}.{key}", [name for name, other in values if key in other])
            found[each.name] = merged
        else:
            default = getattr(none, each.name)
            own = [(name, value) for name, value in values if value != default]
            if len({value for _, value in own}) > 1:
                raise Conflict(each.name, [name for name, _ in own])
            found[each.name] = own[0][1] if own else default
    return type(none)(**found)


def _bounded(reference: Reference, dtype: str) -> Reference:
    """Return the reference without the bounds of elements that may or may not overflow. They are not compared."""
    maximum = FORMATS[dtype].maximum

    def without(each: Enclosure) -> Enclosure:
        if not each.exact.size:
            return each
        open_ended = np.isfinite(each.exact) & ~(each.largest <= maximum)
        if not open_ended.any():
            return each
        return replace(each, allowed=np.where(open_ended, np.inf, each.allowed), joint=None)

    layers = tuple((without(kernel), None if bias is None else without(bias)) for kernel, bias in reference.layers)
    return replace(reference, y=without(reference.y), dx=without(reference.dx), layers=layers)


def _with_elements(y: Enclosure, elements: Mapping[tuple[int, ...], float]) -> Enclosure:
    exact, allowed = y.exact.copy(), y.allowed.copy()
    for index, value in elements.items():
        exact[index], allowed[index] = value, 0.0
    return Enclosure(exact=exact, allowed=allowed)


def inferred_shapes(
    shapes: Sequence[tuple[int | None, ...]], how: str | None, input_shape: tuple[int | None, ...]
) -> Sequence[tuple[int | None, ...]]:
    """
    Return the shapes that should be inferred.

    Args:
        shapes: the shapes under the rule, one for each layer.
        how: how they differ, one of `conformance.ledger.behaviour.SHAPES`, or None. With `reversed_positions` each
            layer reverses the axes of the shape before it, so that two layers restore their order.
        input_shape: the shape of one sample.
    """
    if how == "reversed_positions":
        return tuple(
            shape if index % 2 else (shape[0], *reversed(shape[1:-1]), shape[-1]) for index, shape in enumerate(shapes)
        )
    if how == "fed":
        return tuple((shape[0], *input_shape) for shape in shapes)
    return shapes


def width(reference: Reference, call: str) -> float:
    """Return the width of a step: the root mean square of its bounds over that of its exact answer."""
    enclosures = [reference.y]
    if call == "gradient":
        weights = (each for pair in reference.layers for each in pair if each is not None)
        enclosures = [reference.dx, *weights]
    return max((_width(each) for each in enclosures if each.exact.size), default=0.0)


def _width(each: Enclosure) -> float:
    compared = np.isfinite(each.exact) & np.isfinite(each.allowed)
    if not compared.any():
        return float("inf")
    allowed, exact = (_root_mean_square(part[compared]) for part in (each.allowed, each.exact))
    return 0.0 if allowed == 0.0 else allowed / exact if exact else float("inf")


def _root_mean_square(numbers: Float64) -> float:
    """Return the root mean square of numbers whose squares may overflow or vanish."""
    largest = float(np.abs(numbers).max())
    return largest * float(np.sqrt(np.mean(np.square(numbers / largest)))) if largest else 0.0
