"""Whether the answer to one step satisfies an expectation, and whether two expectations exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Gradients
from conformance.checks.comparison import compare
from conformance.checks.finding import VIOLATES, is_refused_as_declared
from conformance.checks.gradients import compared_step
from conformance.checks.outputs import shape_finding
from conformance.ledger.expectation import Expectation, inferred_shapes
from conformance.ledger.step import ModelStep
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Inferred, Output, Parameters, Raised, Reply
from conformance.table.case import Case
from conformance.table.rule import output_shapes

#: Call -> the results that it shows and that have a dtype.
_TYPED: Final = {"parameters": ("parameters",), "forward": ("output",), "gradient": ("dx", "weights")}


def satisfies(
    case: Case,
    step: ModelStep,
    reply: Reply | None,
    expectation: Expectation,
    output: Enclosure | None,
    packages: Sequence[str] = (),
) -> bool:
    """
    Return whether the answer to a step satisfies an expectation.

    Args:
        case: the case.
        step: the step.
        reply: the reply, None if the process had ended before: that satisfies every expectation.
        expectation: the expectation.
        output: what encloses the output of a forward step.
        packages: the import names of the framework.
    """
    if reply is None:
        return True
    answer = reply.answer
    if isinstance(answer, Raised) or expectation.ends:
        return is_refused_as_declared(reply, expectation, packages)
    if isinstance(answer, Output):
        if output is None or str(answer.y.dtype) != expectation.dtypes["output"]:
            return False
        is_undefined = "output" in expectation.undefined
        found = shape_finding("", "", answer.y, output) if is_undefined else compare("", "", answer.y, output, "")
        return found.outcome != VIOLATES
    if isinstance(answer, Inferred):
        if case.expect.error:
            return expectation.infers is None  # the rule has no shapes for what must be refused
        shapes = inferred_shapes(_shapes_of_rule(step), expectation.infers, step.stack.input_shape)
        return [each[1:] for each in answer.shapes] == [each[1:] for each in shapes]  # the check compares the batch
    if isinstance(answer, Parameters):
        return all(each.dtype == expectation.dtypes["parameters"] for each in answer.parameters)
    if isinstance(answer, Gradients) and expectation.reference is not None:
        of_model = case if step.stack.dtype == case.dtype else replace(case, dtype=step.stack.dtype)
        return all(each.outcome != VIOLATES for each in compared_step("", step.label, of_model, answer, expectation))
    return False


def are_disjoint(step: ModelStep, one: Expectation, other: Expectation) -> bool:
    """Return whether no answer satisfies both expectations: they differ in kind, dtype, shape or value."""
    if one.ends != other.ends or (one.accepts is None) != (other.accepts is None):
        return True
    if any(one.dtypes[name] != other.dtypes[name] for name in _TYPED.get(step.call, ())):
        return True
    if step.call == "infer" and one.infers != other.infers:
        shapes = _shapes_of_rule(step)
        return len({tuple(inferred_shapes(shapes, each.infers, step.stack.input_shape)) for each in (one, other)}) > 1
    if one.reference is None or other.reference is None or one.ends:
        return False
    if one.undefined or other.undefined:
        return False
    return any(map(_is_disjoint, _enclosures(step.call, one.reference), _enclosures(step.call, other.reference)))


def _shapes_of_rule(step: ModelStep) -> Sequence[tuple[int | None, ...]]:
    """Return the shapes under the rule for an unknown batch."""
    return output_shapes(step.stack.input_shape, [layer.units for layer in step.stack.layers], leading_axes=1)


def _enclosures(call: str, reference: Reference) -> list[Enclosure | None]:
    if call == "forward":
        return [reference.y]
    return [reference.dx, *(each for pair in reference.layers for each in pair)] if call == "gradient" else []


def _is_disjoint(one: Enclosure | None, other: Enclosure | None) -> bool:
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
