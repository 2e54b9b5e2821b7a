"""
From one row, its fields already of the right types, to its cases: one for each lane.

Nothing here knows files, defaults or other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from conformance.table.case import DEFAULT_LANES, EXACT_ACTIVATIONS, INTEGER_DTYPES, Case, Expect, Layer
from conformance.table.contradictions import contradictions, lengths, listed
from conformance.table.literal import data_of
from conformance.table.schema import Row
from conformance.table.yaml_document import Place

Note = Callable[[Place, str], None]


def cases_of(row: Row, place: Place, note: Note, where: str) -> tuple[Case, ...]:
    """
    Return the cases of one row, one per lane; none after having noted what is wrong with it.

    `where` is the row's own `file:line`.
    """
    problems = [*lengths(row, place)]
    cases: tuple[Case, ...] = ()
    if not problems:
        cases = tuple(_lanes(row, where))
        problems = contradictions(cases, row, place)
    for problem in problems:
        note(*problem)
    return () if problems else cases


def _lanes(row: Row, where: str) -> Iterator[Case]:
    units = listed(row.units)
    activations = row.activation if isinstance(row.activation, list) else [row.activation] * len(units)
    biases = row.use_bias if isinstance(row.use_bias, list) else [row.use_bias] * len(units)
    fields: dict[str, Any] = {
        "input_shape": tuple(row.input_shape),
        "dtype": row.dtype,
        "input_dtype": row.input_dtype,
        "data": None if row.data is None else data_of(row.data, len(units)),
        "batch": _batch(row),
        "layout": row.layout,
        "environment": tuple(sorted((row.environment or {}).items())),
        "needs": row.needs,
        "feed_shape": _tuple(row.feed_shape),
        "expect": _expect(row),
        "implementations": tuple(row.implementations or ["*"]),
        "checks": _tuple(row.checks),
        "tier": row.tier,
        "name": row.id,
        "why": row.why,
        "source": row.source,
        "tags": tuple(row.tags or ()),
        "row": where,
    }
    for lane in _lane_names(row):
        twin = lane == "exact" and not set(activations) <= set(EXACT_ACTIVATIONS)
        used = ["linear"] * len(units) if twin else activations
        layers = (Layer(units=m, activation=f, use_bias=b) for m, f, b in zip(units, used, biases, strict=True))
        yield Case(**fields, lane=lane, twin=twin, layers=tuple(layers))


def _batch(row: Row) -> int | tuple[int, ...] | None:
    """Return the batch of a row; one that gives none and says what is fed has the first axis of that."""
    if row.feed_shape and "batch" not in row.model_fields_set:
        return row.feed_shape[0]
    return tuple(row.batch) if isinstance(row.batch, list) else row.batch


def _lane_names(row: Row) -> list[str]:
    """Return the lanes a row asks for, or those that follow from what it is."""
    if row.expect is not None and row.expect.error:
        return ["uniform"]
    if row.values is not None:
        return listed(row.values)
    if row.data is not None:
        return ["literal"]
    return ["exact"] if row.input_dtype in INTEGER_DTYPES else list(DEFAULT_LANES)


def _expect(row: Row) -> Expect:
    given = row.expect
    if given is None:
        return Expect()
    shapes = [given.output_shape] if given.output_shape is not None else given.output_shapes
    return Expect(
        output_shapes=None if shapes is None else tuple(map(tuple, shapes)),
        parameters=_tuple(given.parameters),
        total_parameters=given.total_parameters,
        error=given.error,
        nonfinite=given.nonfinite,
        output=given.output,
    )


def _tuple(value: list[Any] | None) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)
