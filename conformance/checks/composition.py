"""
The question of a case: the steps of every case, and the steps of its checks.

`conformance.checks.references` adds the reference of each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.catalogue import checks_of
from conformance.checks.question import (
    OTHER_BATCH,
    REPEATED,
    GradientProbe,
    OutputProbe,
    Probe,
    Question,
    Setup,
    stack_of,
)
from conformance.checks.refusal import refusal
from conformance.reference.formats import dtype_of
from conformance.reference.lanes.draws import Draw, draws
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights
from conformance.table.case import Case


def question_without_references(
    case: Case, device: str, index: int = 0, drawn: Sequence[Draw] | None = None
) -> Question:
    """
    Return the question of a case without references.

    Args:
        case: the case.
        device: the device.
        index: the number of the draw, from 0.
        drawn: draws in place of the case's own.

    Raises:
        NoDraw: no values of the lane exist for the case.
    """
    if case.expect.error:
        return refusal(case, device)
    if case.lane == "shapes":
        return _question_of_shapes(case, device)
    first, *others = draws(case, index) if drawn is None else drawn
    setup = Setup(case=case, device=device, stack=stack_of(case, first), first=first, others=tuple(others))
    probes = [*_main_steps(setup), *_new_weights(setup)]
    for check in checks_of(case):
        probes += check.steps(setup)
    probes.sort(key=lambda each: each.after_new_weights)  # A stable sort: the order is kept otherwise.
    return Question(probes=tuple(_with_input_dtype(case.input_dtype, probes)), row_output=_row_output(case, first))


def _question_of_shapes(case: Case, device: str) -> Question:
    """Return the question of a case of the lane `shapes`, for which nothing is computed."""
    (batch,) = case.leading
    steps = (
        Build(label="build", stack=stack_of(case, None), device=device),
        InferShapes(label="infer", batch=None),
        InferShapes(label=f"infer, batch {batch}", batch=batch),
        ReadParameters(label="parameters"),
    )
    return Question(probes=tuple(Probe(step=each) for each in steps))


def _main_steps(setup: Setup) -> Iterator[Probe]:
    """Yield the steps of the first draw. Every case has them, whichever checks its row names."""
    case, first = setup.case, setup.first
    yield Probe(step=Build(label="build", stack=setup.stack, device=setup.device))
    if case.leading_axes == 1:
        (batch,) = case.leading
        yield Probe(step=InferShapes(label=f"infer, batch {batch}", batch=batch))
        yield Probe(step=InferShapes(label="infer", batch=None))
    yield Probe(step=ReadParameters(label="parameters"))
    for label in REPEATED:
        yield OutputProbe(step=Forward(label=label, x=first.x, layout=case.layout), draw=first)
    gradients = Differentiate(label="gradients", x=first.x, dy=first.dy, layout=case.layout)
    yield GradientProbe(step=gradients, draw=first)
    if case.leading_axes:
        other = _other_batch(first)
        yield OutputProbe(step=Forward(label=OTHER_BATCH, x=other.x, layout="contiguous"), draw=other)


def _new_weights(setup: Setup) -> Iterator[Probe]:
    """Yield the steps that replace the weights of the main model and compute with the new ones."""
    case = setup.case
    for draw in setup.others:
        replaced = SetWeights(label=f"new weights, {draw.name}", stack=stack_of(case, draw))
        output = Forward(label=f"output, {draw.name}", x=draw.x, layout=case.layout)
        gradients = Differentiate(label=f"gradients, {draw.name}", x=draw.x, dy=draw.dy, layout=case.layout)
        yield Probe(step=replaced, after_new_weights=True)
        yield OutputProbe(step=output, draw=draw, after_new_weights=True)
        yield GradientProbe(step=gradients, draw=draw, after_new_weights=True)
    if setup.others:
        yield Probe(step=ReadParameters(label="parameters, new weights"), after_new_weights=True)


def _row_output(case: Case, draw: Draw) -> Array | None:
    """Return the output that the row itself has, None if it has none."""
    output = case.expect.output
    return None if output is None else np.broadcast_to(np.array(output, np.float64), draw.dy.shape)


def _with_input_dtype(dtype: str | None, probes: Sequence[Probe]) -> Iterator[Probe]:
    """Yield the probes with their inputs converted to a dtype. Steps that share an array share the converted one."""
    converted: dict[int, Array] = {}
    for probe in probes:
        step = probe.step
        if dtype is not None and isinstance(step, Forward | Differentiate):
            x = converted.setdefault(id(step.x), step.x.astype(dtype_of(dtype)))
            yield replace(probe, step=replace(step, x=x))
        else:
            yield probe


def _other_batch(draw: Draw) -> Draw:
    """Return the draw at another batch size: its first sample, or two where it has one or none."""
    batch = draw.x.shape[0]
    if batch > 1:
        x, dy = draw.x[:1], draw.dy[:1]
    elif batch == 1:
        x, dy = np.concatenate([draw.x, draw.x]), np.concatenate([draw.dy, draw.dy])
        # Terms of equal samples are not independent.
        draw = replace(draw, half_widths=None)
    else:
        x = np.zeros((2, *draw.x.shape[1:]), draw.x.dtype)
        dy = np.zeros((2, *draw.dy.shape[1:]), draw.dy.dtype)
    return replace(draw, x=x, dy=dy)
