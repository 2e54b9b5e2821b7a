"""Whether the answer to one step is as expected, and whether any answer could be as both of two expectations."""

from __future__ import annotations

from typing import Final

import numpy as np

from conformance.adapters.protocol import Gradients
from conformance.case import Case
from conformance.checks.compare import compare
from conformance.checks.finding import VIOLATES
from conformance.checks.values import compared_step
from conformance.enclosure import Enclosure
from conformance.ledger.expectation import Expectation, inferred
from conformance.ledger.step import AskedStep
from conformance.reference import Reference
from conformance.rule import output_shapes
from conformance.steps import Inferred, Output, Parameters, Reply

#: The results whose dtype a call shows.
_TYPED: Final = {"parameters": ("parameters",), "forward": ("output",), "gradient": ("dx", "weights")}


def satisfies(
    case: Case, asked: AskedStep, reply: Reply | None, expectation: Expectation, output: Enclosure | None
) -> bool:
    """
    Return whether the answer to a step is as expected; `output` encloses the output of a forward step.

    A step that was not reached, in a process that had ended, is as anything.
    """
    if reply is None:
        return True
    answer = reply.answer
    if isinstance(answer, Output):
        if expectation.ends or expectation.accepts or str(answer.y.dtype) != expectation.dtypes["output"]:
            return False
        return output is not None and compare("", asked.label, answer.y, output, "").outcome != VIOLATES
    if isinstance(answer, Inferred):
        return expectation.infers is None or answer.shapes == tuple(
            inferred(answer.shapes, expectation.infers, case.input_shape)
        )
    if isinstance(answer, Parameters):
        return all(each.dtype == expectation.dtypes["parameters"] for each in answer.parameters)
    if isinstance(answer, Gradients) and expectation.reference is not None and not expectation.ends:
        return all(each.outcome != VIOLATES for each in compared_step("", asked.label, case, answer, expectation))
    return False


def are_apart(asked: AskedStep, one: Expectation, other: Expectation) -> bool:
    """Return whether no answer to a step could be as both say: they differ in kind, dtype, shape or value."""
    if one.ends != other.ends or (one.accepts is None) != (other.accepts is None):
        return True
    if any(one.dtypes[name] != other.dtypes[name] for name in _TYPED.get(asked.call, ())):
        return True
    if asked.call == "infer" and one.infers != other.infers:
        units = [layer.units for layer in asked.stack.layers]
        shapes = output_shapes(asked.stack.input_shape, units, leading_axes=1)
        return len({tuple(inferred(shapes, each.infers, asked.stack.input_shape)) for each in (one, other)}) > 1
    if one.reference is None or other.reference is None or one.ends:
        return False
    if one.undefined or other.undefined:
        return False
    return any(map(_apart, _enclosures(asked.call, one.reference), _enclosures(asked.call, other.reference)))


def _enclosures(call: str, reference: Reference) -> list[Enclosure | None]:
    if call == "forward":
        return [reference.y]
    return [reference.dx, *(each for pair in reference.layers for each in pair)] if call == "gradient" else []


def _apart(one: Enclosure | None, other: Enclosure | None) -> bool:
    if one is None or other is None:
        return (one is None) != (other is None)
    if one.exact.shape != other.exact.shape:
        return True
    with np.errstate(invalid="ignore"):
        judged = np.isfinite(one.allowed) & np.isfinite(other.allowed)
        distance = np.abs(one.exact - other.exact)
        same = (one.exact == other.exact) | (np.isnan(one.exact) & np.isnan(other.exact))
        far = np.isnan(distance) | (distance > one.allowed + other.allowed)
    return bool((judged & ~same & far).any())
