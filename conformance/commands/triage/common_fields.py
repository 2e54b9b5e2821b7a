"""
What some cells have in common that others lack, in the fields of a ledger entry's `when`.

Read from the questions of a results file. A few fields are chosen, each because it leaves out cells that behave
otherwise; a person decides whether they are the cause.
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

#: Fields in the order in which they are preferred where they leave out equally many cells.
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
    """Return the size of a kernel, None where a number is none that a kernel can have."""
    return features * units if type(features) is type(units) is int else None


def distinction(cells: Sequence[Facts], others: Iterable[Facts]) -> dict[str, object]:
    """
    Return the fields of `when` that hold for all of `cells` and leave out `others`, as few as do.

    Fields are nested as in an entry. Nothing is returned where no field leaves out any of the others.
    """
    common = _common(cells)
    left = list(others)
    found: dict[str, object] = {}
    while left and common:
        kept = {path: [each for each in left if value in each.get(path, ())] for path, value in common.items()}
        best = min(common, key=lambda path: (len(kept[path]), _rank(path), path))
        if len(kept[best]) == len(left):
            break
        _put(found, best, common.pop(best))
        left = kept[best]
    return found


def _common(cells: Sequence[Facts]) -> dict[Path, Hashable]:
    """Return the fields of which all cells have one value in common; of several the first in the order of text."""
    found: dict[Path, Hashable] = {}
    for path in cells[0] if cells else ():
        values = frozenset.intersection(*(each.get(path, frozenset()) for each in cells))
        if values:
            found[path] = min(values, key=repr)
    return found


def _rank(path: Path) -> int:
    """Return the place of a field in the order of preference; a variable of the environment comes first."""
    return -1 if path[0] == "environment" else _ORDER.index(path)


def _put(found: dict[str, object], path: Path, value: Hashable) -> None:
    """Put a value at a path: a field, or a field of a group."""
    if len(path) == 1:
        found[path[0]] = value
        return
    group = found.setdefault(path[0], {})
    assert isinstance(group, dict)
    group[path[1]] = value
