"""
The contradictions of a row whose fields are each right: between its fields, or between a field and the rule.

A row may have what the rule forbids only if it expects an error. A literal worked by hand must be the value of the
rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Final, TypeVar

from conformance.table.case import EXACT_ACTIVATIONS, INTEGER_DTYPES, LINEAR_LANES, MAX_BYTES, Case
from conformance.table.check_names import SHAPE_CHECKS
from conformance.table.literal import data_problems
from conformance.table.rule import RuleError, output_shapes, parameter_counts
from conformance.table.schema import MAX_ID, SAFE_ID, Row
from conformance.table.validation import excerpt
from conformance.table.yaml_document import Place

if TYPE_CHECKING:
    from conformance.adapters.protocol import Units

T = TypeVar("T")
Problem = tuple[Place, str]
#: Bytes of one element as a framework gets it.
_ITEM_BYTES: Final = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
#: Number of axes before the last without which a layout is the same as a simpler one.
_AXES_NEEDED: Final = {"strided": 0, "broadcast": 1, "transposed": 2}
#: Longest id of a case: lane and twin add to the id of its row.
_MAX_CASE_ID: Final = MAX_ID + len("-linear-cancelling")
#: Checks that need no gradient.
_WITHOUT_GRADIENTS: Final = (*SHAPE_CHECKS, "output_dtype", "placement", "output")
_ONLY_ERRORS: Final = "only a row that expects an error may say so"


def contradictions(cases: Sequence[Case], row: Row, place: Place) -> list[Problem]:
    """
    Return the contradictions of a row. `cases` has one case for each lane.

    Literals and sizes are examined only if there is no other contradiction.
    """
    # The cases of a row differ only in id and lane; `_ids` and `_lane` examine those.
    case = cases[0]
    problems = [
        *_contradicting_batch(case, row, place),
        *_legality(case, row, place),
        *_layout_and_checks(case, place),
        *_ids(cases, place),
        *(problem for each in cases for problem in _lane(each, place)),
        *_without_effect(cases, row, place),
    ]
    return problems or [*_literals(case, row, place), *_sizes(case, place), *data_problems(case, place)]


def length_problems(row: Row, place: Place) -> Iterator[Problem]:
    """Yield the fields of a row that differ from its units in the number of entries."""
    layers = len(as_list(row.units))
    for name, value in (("activation", row.activation), ("use_bias", row.use_bias)):
        if isinstance(value, list) and len(value) != layers:
            yield place.at(name), f"{name} has {_entries(len(value))}, units has {_entries(layers)}"


def _lane(case: Case, place: Place) -> Iterator[Problem]:
    """Yield why a case cannot have its lane."""
    values, expect = place.at("values"), place.at("expect")
    if (case.lane == "literal") != (case.data is not None):
        where = place.at("data") if case.data is not None else values
        yield where, "the lane literal needs data, and data needs the lane literal"
    if case.lane in LINEAR_LANES and any(layer.activation != "linear" for layer in case.layers):
        yield values, f"the lane {case.lane} exists for linear layers only"
    if case.lane == "special" and not case.expect.nonfinite:
        yield values, "the lane special needs expect: {nonfinite: true}"
    if case.expect.nonfinite and case.lane not in ("special", "literal"):
        yield expect.at("nonfinite"), f"on the lane {case.lane} all values are finite"
    if case.lane == "cancelling" and not _can_cancel(case):
        yield values, "nothing can cancel: a layer without a bias needs two features or more"
    if case.expect.output is not None and case.data is None:
        yield expect.at("output"), "an output is expected of data, and the row gives none"
    yield from _input(case, place)
    yield from _shapes_lane(case, place)


def _without_effect(cases: Sequence[Case], row: Row, place: Place) -> Iterator[Problem]:
    """Yield the fields of a row that have no effect because of its other fields."""
    case, names = cases[0], row.model_fields_set
    for each in cases:
        if each.twin and row.values is not None:
            index = as_list(row.values).index("exact")
            name = next(name for name in as_list(row.activation) if name not in EXACT_ACTIVATIONS)
            advice = "leave values out for uniform and an exact twin of linear layers, or name other values"
            message = f"exact exists for {' and '.join(EXACT_ACTIVATIONS)} alone, not for {name}: {advice}"
            yield place.at("values", index), message
    unused = {"values", "layout", "input_dtype"} if case.expect.error else set()
    for name in sorted(unused & names):
        yield place.at(name), f"{name} has no effect on a row that expects an error: leave it out"
    if case.expect.error:
        return
    leading = case.leading if "batch" in names else (Row.model_fields["batch"].default,)
    if case.feed_shape is not None and case.feed_shape == (*leading, *case.input_shape):
        yield place.at("feed_shape"), "batch and input_shape say the same: leave it out"
    checks = set(case.checks or ())
    if case.layout != "contiguous" and (
        all(each.lane == "shapes" for each in cases) or _is_within(checks, SHAPE_CHECKS)
    ):
        yield place.at("layout"), "layout has no effect where nothing is computed: leave it out"
    if case.data is not None and case.data.dy is not None and _is_within(checks, _WITHOUT_GRADIENTS):
        yield place.at("data", "dy"), "dy has no effect: none of these checks asks for gradients"


def _is_within(checks: Set[str], names: Sequence[str]) -> bool:
    """Return whether a row names checks, and all of them are among `names`."""
    return bool(checks) and checks <= set(names)


def _input(case: Case, place: Place) -> Iterator[Problem]:
    """Yield why a case cannot have an input of its `input_dtype`."""
    if case.input_dtype == case.dtype:
        yield place.at("input_dtype"), f"the layer's own dtype is {case.dtype} already"
    if case.input_dtype is not None and case.lane not in ("exact", "uniform", "literal"):
        yield place.at("values"), f"{case.lane} exists for inputs of the layer's own dtype alone"
    if case.input_dtype in INTEGER_DTYPES and case.lane not in ("exact", "literal"):
        yield place.at("values"), f"{case.input_dtype} holds integers: its lanes are exact and literal"


def _shapes_lane(case: Case, place: Place) -> Iterator[Problem]:
    """Yield why a case cannot have the lane `shapes`."""
    if case.lane != "shapes":
        return
    if case.leading_axes != 1 or None in case.input_shape:
        yield place.at("values"), "shapes are inferred for one batch axis, and axes that are known"
    for index, check in enumerate(case.checks or ()):
        if check not in SHAPE_CHECKS:
            yield place.at("checks", index), f"{check} needs values, and the lane shapes has none"


def _can_cancel(case: Case) -> bool:
    """Return whether every layer has two terms that can cancel: products of two features, or one and the bias."""
    features = [case.input_shape[-1], *_units(case)]
    return all(
        layer.use_bias or (isinstance(count, int) and count > 1)
        for layer, count in zip(case.layers, features, strict=False)
    )


def _legality(case: Case, row: Row, place: Place) -> Iterator[Problem]:
    forbidden = _forbidden(case, place)
    if not case.expect.error:
        if forbidden:
            yield forbidden
        elif case.feed_shape is None and None in case.input_shape:
            axis = place.at("input_shape", case.input_shape.index(None))
            yield axis, "an unknown axis needs a feed_shape that says its length"
        else:
            yield from _feed_shape(case, place.at("feed_shape"))
        return
    if row.expect and row.expect.model_fields_set != {"error"}:
        yield place.at("expect"), "a row that expects an error expects nothing else"
    if not forbidden:
        yield place.at("expect", "error"), "expects an error, and the rule forbids nothing of this row"


def _feed_shape(case: Case, place: Place) -> Iterator[Problem]:
    """
    Yield where a legal input has a shape that the model is not built for.

    The rule gives an output for every input with the right last axis. Whether a model accepts another rank, or another
    length of an axis that it knows, is not a property of a dense layer.
    """
    fed, built = case.call_shape, (*(None,) * case.leading_axes, *case.input_shape)
    if len(fed) != len(built):
        axes = f"{list(fed)} has {_entries(len(fed), 'axis', 'axes')}, and the model is built for {len(built)}"
        yield place, f"{axes}: batch and input_shape say what it is built for"
        return
    for index, (length, known) in enumerate(zip(fed, built, strict=True)):
        if known not in (None, length):
            yield (
                place.at(index),
                f"{length} is fed, and the model is built for {known}: null in input_shape takes any length",
            )


def _contradicting_batch(case: Case, row: Row, place: Place) -> Iterator[Problem]:
    """Yield where a batch contradicts the shape fed."""
    if case.feed_shape is None or "batch" not in row.model_fields_set:
        return
    fed = case.feed_shape[: len(case.leading)]
    if fed != case.leading[: len(fed)]:
        yield place.at("batch"), f"contradicts feed_shape, which begins with {excerpt(list(fed))}"


def _forbidden(case: Case, place: Place) -> Problem | None:
    """Return the first thing in a case that the rule forbids, or None."""
    try:
        output_shapes(case.input_shape, _units(case))
    except RuleError as error:
        return place.at("input_shape", len(case.input_shape) - 1), f"{error}; {_ONLY_ERRORS}"
    fed, built = case.feed_shape, case.input_shape[-1]
    if fed is not None and fed[-1:] != (built,):
        last = f"the last axis fed is {fed[-1]}" if fed else "rank 0 is fed"
        return place.at("feed_shape", len(fed) - 1), f"{last}, and the layer is built for {built}; {_ONLY_ERRORS}"
    return None


def _layout_and_checks(case: Case, place: Place) -> Iterator[Problem]:
    """Yield what is wrong with the layout and the checks of a case."""
    before_last = len(case.call_shape) - 1
    if before_last < (needed := _AXES_NEEDED.get(case.layout, before_last)):
        yield (
            place.at("layout"),
            f"{case.layout} needs {needed} axes before the last, {list(case.call_shape)} has fewer",
        )
    for index, check in enumerate(case.checks or ()):
        if (check == "refusal") != case.expect.error:
            expects = "an error has the check refusal only"
            if check == "refusal":
                expects = "no error cannot have the check refusal"
            yield place.at("checks", index), f"a row that expects {expects}"


def _ids(cases: Sequence[Case], place: Place) -> Iterator[Problem]:
    for case in cases:
        if not re.fullmatch(SAFE_ID, case.id):
            yield (
                place.at("units"),
                f"makes the id {excerpt(case.id)}, which is not safe everywhere: give the row an id",
            )
            return
        if len(case.id) > _MAX_CASE_ID:
            yield place, f"makes an id of {len(case.id)} characters: give the row an id of up to {MAX_ID}"
            return


def _literals(case: Case, row: Row, place: Place) -> Iterator[Problem]:
    """Yield where a literal of the row is not the value that the rule gives."""
    expect, place = case.expect, place.at("expect")
    if row.expect is None or expect.error:
        return
    if row.expect.output_shape is not None and (row.expect.output_shapes is not None or len(case.layers) > 1):
        yield place.at("output_shape"), "output_shape is for one layer; output_shapes has one for each of a stack's"
        return
    biases = [layer.use_bias for layer in case.layers]
    counts = parameter_counts(case.input_shape, _units(case), biases)
    if expect.output_shapes is not None:
        shapes = output_shapes(case.input_shape, _units(case), leading_axes=len(case.leading))
        if row.expect.output_shape is not None:
            yield from _difference(place.at("output_shape"), shapes[0], expect.output_shapes[0])
        else:
            yield from _differences(place.at("output_shapes"), shapes, expect.output_shapes)
    if expect.parameters is not None:
        yield from _differences(place.at("parameters"), counts, expect.parameters)
    if expect.total_parameters is not None:
        yield from _difference(place.at("total_parameters"), sum(counts), expect.total_parameters)


def _differences(place: Place, values: Sequence[object], literals: Sequence[object]) -> Iterator[Problem]:
    if len(values) != len(literals):
        yield from _difference(place, values, literals)
    else:
        for index, (value, literal) in enumerate(zip(values, literals, strict=True)):
            yield from _difference(place.at(index), value, literal)


def _difference(place: Place, value: object, literal: object) -> Iterator[Problem]:
    if value != literal:
        yield place, f"the rule gives {excerpt(value)}, the row says {excerpt(literal)}"


def _sizes(case: Case, place: Place) -> Iterator[Problem]:
    """Yield the arrays of a case that would be too large. A layer that the rule forbids has no arrays."""
    if case.lane == "shapes":
        return
    item = _ITEM_BYTES[case.dtype]
    fed = case.call_shape
    if math.prod(fed) * item > MAX_BYTES:
        yield place.at("input_shape" if case.feed_shape is None else "feed_shape"), _too_large("the input", fed)
        return
    features = 4 if not case.input_shape or case.input_shape[-1] is None else case.input_shape[-1]
    for index, units in enumerate(_units(case)):
        if not isinstance(units, int) or isinstance(units, bool) or units < 0:
            return
        for what, shape in (("the kernel", (features, units)), ("the output", (*fed[:-1], units))):
            if math.prod(shape) * item > MAX_BYTES:
                yield place.at("units", index), _too_large(what, shape)
                return
        features = units


def _too_large(what: str, shape: Sequence[int]) -> str:
    return f"{what}, {excerpt(list(shape))}, would take more than {MAX_BYTES // 2**20} MiB"


def _units(case: Case) -> list[Units]:
    return [layer.units for layer in case.layers]


def as_list(value: T | list[T]) -> list[T]:
    """Return the value of a field as a list: a field may have one value for all layers."""
    return value if isinstance(value, list) else [value]


def _entries(count: int, one: str = "entry", more: str = "entries") -> str:
    return f"{count} {one if count == 1 else more}"
