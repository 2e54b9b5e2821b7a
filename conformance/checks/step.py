"""Whether the answer to one step is as expected, and whether any answer could be as both of two expectations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from conformance.adapters.protocol import Gradients
from conformance.checks.comparison import compare
from conformance.checks.finding import VIOLATES, is_refused_as_declared
from conformance.checks.gradients import compared_step
from conformance.checks.outputs import of_shape
from conformance.ledger.expectation import Expectation, inferred
from conformance.ledger.step import AskedStep
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Inferred, Output, Parameters, Raised, Reply
from conformance.table.case import Case
from conformance.table.rule import output_shapes

#: The results whose dtype a call shows.
_TYPED: Final = {"parameters": ("parameters",), "forward": ("output",), "gradient": ("dx", "weights")}


def satisfies(
    case: Case,
    asked: AskedStep,
    reply: Reply | None,
    expectation: Expectation,
    output: Enclosure | None,
    packages: Sequence[str] = (),
) -> bool:
    """
    Return whether the answer to a step is as expected; `output` encloses the output of a forward step.

    A step that was not reached, in a process that had ended, is as anything. `packages` are those of the framework.
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
        found = of_shape("", "", answer.y, output) if is_undefined else compare("", "", answer.y, output, "")
        return found.outcome != VIOLATES
    if isinstance(answer, Inferred):
        if case.expect.error:
            return expectation.infers is None  # the rule gives what must be refused no shape
        wanted = inferred(_shapes_of_rule(asked), expectation.infers, asked.stack.input_shape)
        # The batch is for the check to judge.
        return [each[1:] for each in answer.shapes] == [each[1:] for each in wanted]
    if isinstance(answer, Parameters):
        return all(each.dtype == expectation.dtypes["parameters"] for each in answer.parameters)
    if isinstance(answer, Gradients) and expectation.reference is not None:
        return all(each.outcome != VIOLATES for each in compared_step("", asked.label, case, answer, expectation))
    return False


def are_apart(asked: AskedStep, one: Expectation, other: Expectation) -> bool:
    """Return whether no answer to a step could be as both say: they differ in kind, dtype, shape or value."""
    if one.ends != other.ends or (one.accepts is None) != (other.accepts is None):
        return True
    if any(one.dtypes[name] != other.dtypes[name] for name in _TYPED.get(asked.call, ())):
        return True
    if asked.call == "infer" and one.infers != other.infers:
        shapes = _shapes_of_rule(asked)
        return len({tuple(inferred(shapes, each.infers, asked.stack.input_shape)) for each in (one, other)}) > 1
    if one.reference is None or other.reference is None or one.ends:
        return False
    if one.undefined or other.undefined:
        return False
    return any(map(_apart, _enclosures(asked.call, one.reference), _enclosures(asked.call, other.reference)))


def _shapes_of_rule(asked: AskedStep) -> Sequence[tuple[int | None, ...]]:
    """Return the shapes that should be inferred for an unknown batch."""
    return output_shapes(asked.stack.input_shape, [layer.units for layer in asked.stack.layers], leading_axes=1)


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
