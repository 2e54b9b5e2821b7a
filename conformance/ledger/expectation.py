"""
What each step of a question should answer: under the rule, and under the behaviours that cover it.

The rule gives each step a kind of reply, dtypes, shapes and an enclosure; behaviours change them. Behaviours that cover
one step are applied together. This module judges no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np

from conformance.ledger.behaviour import TYPED, Behaviour, Refusal
from conformance.ledger.step import AskedStep
from conformance.reference import Reference, answer
from conformance.reference.deviation import NO_DEVIATION, Deviation
from conformance.reference.draw import Draw
from conformance.reference.enclosure import Enclosure, Float64
from conformance.reference.formats import FORMATS

#: A step of a behaviour, with the layers it applies to there.
Covering = tuple[Behaviour, frozenset[int]]
#: The value of a field of a behaviour.
Value = TypeVar("Value")


class Conflict(ValueError):
    """Two behaviours give one field of one layer different values; `names` says which."""

    def __init__(self, field_name: str, names: Sequence[str]) -> None:
        super().__init__(f"{' and '.join(names)} both set {field_name}, to different values")
        self.names = tuple(names)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """
    What one step should answer.

    `refuses` or `crashes` where it should not answer at all. `dtypes` maps parameters, output, dx and the gradients of
    weights (`weights`) to their dtype. `infers` says how inferred shapes differ. `reference` encloses output and
    gradients of a step that computes. Results in `undefined` are not compared. `behaviours` are the ids of what was
    applied.
    """

    dtypes: Mapping[str, str]
    reference: Reference | None = None
    refuses: Refusal | None = None
    crashes: tuple[str, ...] = ()
    accepts: str | None = None
    infers: str | None = None
    undefined: frozenset[str] = frozenset()
    behaviours: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether the step should have no answer."""
        return self.refuses is not None or bool(self.crashes)


def dtypes_of_rule(dtype: str, input_dtype: str | None) -> Mapping[str, str]:
    """Return the dtype of each result under the rule; an input of another dtype has a gradient of that dtype."""
    return {"parameters": dtype, "output": dtype, "dx": input_dtype or dtype, "weights": dtype}


def changed(rule: Expectation, asked: AskedStep, covering: Sequence[Covering], draw: Draw | None) -> Expectation:
    """
    Return what a step should answer under the behaviours that cover it.

    `draw` holds the numbers of a step that computes, None of another.

    Raises:
        Conflict: two behaviours contradict each other.
    """
    instead = [each.instead for each, _ in covering]
    dtypes = dict(rule.dtypes)
    # The output is the last layer's and dx the first one's: a behaviour of another layer says nothing of their dtype.
    owners = {"output": len(asked.stack.layers) - 1, "dx": 0}
    for behaviour, reached in covering:
        dtypes |= {
            name: each for name, each in behaviour.instead.dtypes.items() if owners.get(name, min(reached)) in reached
        }
    shape = _one("shape", covering, lambda each: each.instead.shape)
    reference = rule.reference
    if draw is not None and not any(each.ends for each in instead):
        reference = _changed_reference(reference, asked, covering, draw, shape is not None)
    return Expectation(
        dtypes=dtypes,
        reference=reference,
        refuses=_one("refuses", covering, lambda each: each.instead.refuses),
        crashes=_one("crashes", covering, lambda each: each.instead.crashes) or (),
        accepts=_one("accepts", covering, lambda each: each.instead.accepts),
        infers=_one("infers", covering, lambda each: each.instead.infers),
        undefined=frozenset[str]().union(*(each.undefined for each in instead)),
        behaviours=tuple(each.id for each, _ in covering),
    )


def _changed_reference(
    rule: Reference | None, asked: AskedStep, covering: Sequence[Covering], draw: Draw, has_shape_of_input: bool
) -> Reference | None:
    """Return the reference of a step that computes, under the behaviours that cover it."""
    instead, stack = [each.instead for each, _ in covering], asked.stack
    if asked.x is not None and any(each.deviation.reads_bits_as_integers for each in instead):
        draw = replace(draw, x=asked.x)  # its bits are those of the dtype that is fed
    reference = rule
    deviations = deviations_of(covering, len(stack.layers), stack.dtype)
    if any(each != NO_DEVIATION for each in deviations):
        activations = [layer.activation for layer in stack.layers]
        reference = _bounded(answer(draw, activations, stack.dtype, deviations), stack.dtype)
    if has_shape_of_input:
        # Another shape holds other numbers, of which nothing is known.
        zeros = np.zeros(draw.x.shape)
        y = Enclosure(exact=zeros, allowed=np.full_like(zeros, np.inf))
        reference = replace(reference or Reference(y=y, dx=y, layers=(), line="proven"), y=y)
    exactly = next((each.exactly for each in instead if each.exactly is not None), None)
    if exactly is not None and reference is not None:
        reference = replace(reference, y=_with_elements(reference.y, exactly.elements))
    return reference


def _one(name: str, covering: Sequence[Covering], value_of: Callable[[Behaviour], Value | None]) -> Value | None:
    """Return the value that the behaviours give a field, None where none gives one."""
    given = [(each.id, value) for each, _ in covering if (value := value_of(each))]
    if len({value for _, value in given}) > 1:
        raise Conflict(name, [name for name, _ in given])
    return given[0][1] if given else None


def check_agreement(covering: Sequence[Covering], layers: int, dtype: str) -> None:
    """
    Check that behaviours that cover one step, of a stack of `layers` of a `dtype`, can be applied together.

    Raises:
        Conflict: two of them contradict each other.
    """
    deviations_of(covering, layers, dtype)
    for name in ("refuses", "crashes", "accepts", "infers", "shape"):
        _one(name, covering, attrgetter(f"instead.{name}"))
    for name in TYPED:
        _one(f"dtypes.{name}", covering, partial(_declared_dtype, name))


def _declared_dtype(result: str, behaviour: Behaviour) -> str | None:
    return behaviour.instead.dtypes.get(result)


def deviations_of(covering: Sequence[Covering], layers: int, dtype: str) -> tuple[Deviation, ...]:
    """
    Return what each layer of a stack of `layers` of a `dtype` does instead of the rule.

    Raises:
        Conflict: two behaviours give one field of one layer different values.
    """
    return tuple(
        _together([(each.id, each.instead.deviation.in_dtype(dtype)) for each, reached in covering if layer in reached])
        for layer in range(layers)
    )


#: The fields of a deviation that map names to values, or are sets of names.
_MAPPINGS: Final = ("casts", "sums_in", "constants", "error")
_SETS: Final = ("rounds_each_product", "rounds_toward_zero")


def _together(given: Sequence[tuple[str, Deviation]]) -> Deviation:
    """Return several deviations of one layer as one."""
    if len(given) < 2:
        return given[0][1] if given else NO_DEVIATION
    found: dict[str, Any] = {}
    for each in fields(Deviation):
        values = [(name, getattr(deviation, each.name)) for name, deviation in given]
        if each.name in _SETS:
            found[each.name] = frozenset[str]().union(*(value for _, value in values))
        elif each.name in _MAPPINGS:
            merged: dict[str, Any] = {}
            for _, value in values:
                for key, content in value.items():
                    if merged.setdefault(key, content) != content:
                        raise Conflict(f"{each.name}.{key}", [name for name, other in values if key in other])
            found[each.name] = merged
        else:
            none = getattr(NO_DEVIATION, each.name)
            said = [(name, value) for name, value in values if value != none]
            if len({value for _, value in said}) > 1:
                raise Conflict(each.name, [name for name, _ in said])
            found[each.name] = said[0][1] if said else none
    return Deviation(**found)


def _bounded(reference: Reference, dtype: str) -> Reference:
    """Return the reference in which an element that may overflow or may not has no bound, and so is not judged."""
    maximum = FORMATS[dtype].maximum

    def without(each: Enclosure) -> Enclosure:
        if not each.exact.size:
            return each
        open_ended = np.isfinite(each.exact) & ~(each.largest <= maximum)
        if not open_ended.any():
            return each
        return replace(each, allowed=np.where(open_ended, np.inf, each.allowed), unit=None)

    layers = tuple((without(kernel), None if bias is None else without(bias)) for kernel, bias in reference.layers)
    return replace(reference, y=without(reference.y), dx=without(reference.dx), layers=layers)


def _with_elements(y: Enclosure, elements: Mapping[tuple[int, ...], float]) -> Enclosure:
    exact, allowed = y.exact.copy(), y.allowed.copy()
    for index, value in elements.items():
        exact[index], allowed[index] = value, 0.0
    return Enclosure(exact=exact, allowed=allowed)


def inferred(
    shapes: Sequence[tuple[int | None, ...]], how: str | None, input_shape: tuple[int | None, ...]
) -> Sequence[tuple[int | None, ...]]:
    """
    Return the shapes that should be inferred: the rule's, or as a behaviour has them.

    Each layer reverses the axes of what the layer before it gave: after two of them they are in order again.
    """
    if how == "reversed_positions":
        return tuple(
            shape if index % 2 else (shape[0], *reversed(shape[1:-1]), shape[-1]) for index, shape in enumerate(shapes)
        )
    if how == "fed":
        return tuple((shape[0], *input_shape) for shape in shapes)
    return shapes


def width(reference: Reference, call: str) -> float:
    """Return how wide a step's bounds are: the root mean square of what is allowed over that of the exact answer."""
    enclosures = [reference.y]
    if call == "gradient":
        weights = (each for pair in reference.layers for each in pair if each is not None)
        enclosures = [reference.dx, *weights]
    return max((_width(each) for each in enclosures if each.exact.size), default=0.0)


def _width(each: Enclosure) -> float:
    judged = np.isfinite(each.exact) & np.isfinite(each.allowed)
    if not judged.any():
        return float("inf")
    allowed, exact = (_root_mean_square(part[judged]) for part in (each.allowed, each.exact))
    return 0.0 if allowed == 0.0 else allowed / exact if exact else float("inf")


def _root_mean_square(numbers: Float64) -> float:
    """Return the root mean square of numbers whose squares may overflow or vanish."""
    largest = float(np.abs(numbers).max())
    return largest * float(np.sqrt(np.mean(np.square(numbers / largest)))) if largest else 0.0
