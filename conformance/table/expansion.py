"""The cases of one row, whose fields have the right types already: one case for each lane."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from conformance.table.case import DEFAULT_LANES, EXACT_ACTIVATIONS, INTEGER_DTYPES, Case, Expect, Layer
from conformance.table.contradictions import as_list, contradictions, length_problems
from conformance.table.literal import data_of
from conformance.table.schema import Row
from conformance.table.yaml_document import Place

if TYPE_CHECKING:
    from conformance.adapters.protocol import Units

T = TypeVar("T")
Note = Callable[[Place, str], None]


def cases_of(row: Row, place: Place, note: Note, where: str) -> tuple[Case, ...]:
    """
    Return the cases of one row, one per lane; none after each problem of the row is passed to `note`.

    - `place`: where the row and its fields stand.
    - `where`: the row's `file:line`.
    """
    problems = [*length_problems(row, place)]
    cases: tuple[Case, ...] = ()
    if not problems:
        cases = tuple(_case_per_lane(row, where))
        problems = contradictions(cases, row, place)
    for problem in problems:
        note(*problem)
    return () if problems else cases


def _case_per_lane(row: Row, where: str) -> Iterator[Case]:
    units = as_list(row.units)
    activations = row.activation if isinstance(row.activation, list) else [row.activation] * len(units)
    biases = row.use_bias if isinstance(row.use_bias, list) else [row.use_bias] * len(units)
    case = Case(
        input_shape=tuple(row.input_shape),
        layers=_layers(units, activations, biases),
        dtype=row.dtype,
        input_dtype=row.input_dtype,
        data=None if row.data is None else data_of(row.data, len(units)),
        batch=_batch(row),
        layout=row.layout,
        environment=tuple(sorted((row.environment or {}).items())),
        needs=row.needs,
        feed_shape=_tuple(row.feed_shape),
        expect=_expect(row),
        implementations=tuple(row.implementations or ["*"]),
        checks=_tuple(row.checks),
        tier=row.tier,
        name=row.id,
        why=row.why,
        source=row.source,
        tags=tuple(row.tags or ()),
        row=where,
    )
    for lane in _lanes(row):
        if lane == "exact" and not set(activations) <= set(EXACT_ACTIVATIONS):
            linear = _layers(units, ["linear"] * len(units), biases)
            yield dataclasses.replace(case, lane=lane, twin=True, layers=linear)
        else:
            yield dataclasses.replace(case, lane=lane)


def _layers(units: Sequence[Units], activations: Sequence[str], biases: Sequence[bool]) -> tuple[Layer, ...]:
    fields = zip(units, activations, biases, strict=True)
    return tuple(Layer(units=m, activation=f, use_bias=b) for m, f, b in fields)


def _batch(row: Row) -> int | tuple[int, ...] | None:
    """Return the batch of a row. A row with `feed_shape` and without `batch` has the first axis fed."""
    if row.feed_shape and "batch" not in row.model_fields_set:
        return row.feed_shape[0]
    return tuple(row.batch) if isinstance(row.batch, list) else row.batch


def _lanes(row: Row) -> list[str]:
    """Return the lanes that a row names, or else those that follow from its other fields."""
    if row.expect is not None and row.expect.error:
        return ["uniform"]
    if row.values is not None:
        return as_list(row.values)
    if row.data is not None:
        return ["literal"]
    return ["exact"] if row.input_dtype in INTEGER_DTYPES else list(DEFAULT_LANES)


def _expect(row: Row) -> Expect:
    literals = row.expect
    if literals is None:
        return Expect()
    shapes = [literals.output_shape] if literals.output_shape is not None else literals.output_shapes
    return Expect(
        output_shapes=None if shapes is None else tuple(map(tuple, shapes)),
        parameters=_tuple(literals.parameters),
        total_parameters=literals.total_parameters,
        error=literals.error,
        nonfinite=literals.nonfinite,
        output=literals.output,
    )


def _tuple(value: list[T] | None) -> tuple[T, ...] | None:
    return None if value is None else tuple(value)
