"""
The fields of a ledger entry's `when` that some cells have in common and others lack.

They come from the questions of a results file. Each chosen field excludes some of the other cells. A person decides
whether the fields are the cause.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from conformance.results.record import QuestionRecord

#: The name of a field, or of a group (`fed`, `input_shape`, `environment`) and a field in it.
Path = tuple[str, ...]
#: Field -> the values it has in a cell; a field of layers has one for each layer.
Facts = Mapping[Path, frozenset[Hashable]]

#: Fields in order of preference, where they exclude equally many cells.
_ORDER: Final = (
    *(("dtype",), ("activation",), ("fed", "dtype"), ("use_bias",), ("kernel_size",), ("input_shape", "rank")),
    *(("fed", "layout"), ("fed", "samples"), ("leading_axes",), ("units",), ("features",), ("input_shape", "last")),
)


def facts(question: QuestionRecord) -> Facts:
    """Return the facts of a cell's question, in the fields of `when`."""
    return {path: frozenset(values) for path, values in _facts(question)}


def _facts(question: QuestionRecord) -> Iterator[tuple[Path, Sequence[Hashable]]]:
    shape, units = question.input_shape or [], question.units or []
    leading = question.leading_axes
    samples = question.feed_shape[: len(leading)] if isinstance(question.feed_shape, list) else leading
    yield ("dtype",), [question.dtype]
    yield ("leading_axes",), [len(leading)]
    yield ("input_shape", "rank"), [len(shape)]
    yield ("input_shape", "last"), shape[-1:]
    yield ("fed", "dtype"), [question.input_dtype or question.dtype]
    yield ("fed", "layout"), [question.layout or "contiguous"]
    yield ("fed", "samples"), [math.prod(samples)]
    yield ("activation",), question.activation or []
    yield ("use_bias",), question.use_bias or []
    yield ("units",), units
    features = [*shape[-1:], *units[:-1]]
    yield ("features",), features
    sizes = [_product(one, other) for one, other in zip(features, units, strict=False)]
    if None not in sizes:
        yield ("kernel_size",), sizes
    for name, value in (question.environment or {}).items():
        yield ("environment", name), [value]


def _product(features: object, units: object) -> int | None:
    """Return the size of a kernel, None where a length is not an integer."""
    return features * units if type(features) is type(units) is int else None


def distinction(cells: Sequence[Facts], others: Iterable[Facts]) -> dict[str, object]:
    """
    Return a few fields of `when` that hold for all of `cells` and exclude `others`.

    Fields are nested as in an entry. The result is empty where no field excludes any of the others.
    """
    common = _common(cells)
    remaining = list(others)
    fields: dict[str, object] = {}
    while remaining and common:
        matching = {path: [each for each in remaining if value in each.get(path, ())] for path, value in common.items()}
        best = min(common, key=lambda path: (len(matching[path]), _rank(path), path))
        if len(matching[best]) == len(remaining):
            break
        _put(fields, best, common.pop(best))
        remaining = matching[best]
    return fields


def _common(cells: Sequence[Facts]) -> dict[Path, Hashable]:
    """Return the fields of which all cells have a value in common; of several values the first by text."""
    common: dict[Path, Hashable] = {}
    for path in cells[0] if cells else ():
        values = frozenset.intersection(*(each.get(path, frozenset()) for each in cells))
        if values:
            common[path] = min(values, key=repr)
    return common


def _rank(path: Path) -> int:
    """Return the place of a field in the order of preference; a variable of the environment comes first."""
    return -1 if path[0] == "environment" else _ORDER.index(path)


def _put(fields: dict[str, object], path: Path, value: Hashable) -> None:
    """Put a value at a path: a field, or a field of a group."""
    if len(path) == 1:
        fields[path[0]] = value
        return
    group = fields.setdefault(path[0], {})
    assert isinstance(group, dict)
    group[path[1]] = value
