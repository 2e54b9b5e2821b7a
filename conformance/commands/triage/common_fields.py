"""
What some cells have in common that others lack, in the fields of a ledger entry's `when`.

Read from the questions of a results file. A few fields are chosen, each because it leaves out cells that behave
otherwise; a person decides whether they are the cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

#: The name of a field, or of a group (`fed`, `input_shape`, `environment`) and a field in it.
Path = tuple[str, ...]
#: Field -> the values it has in a cell; a field of layers has one for each layer.
Facts = Mapping[Path, frozenset[Any]]

#: Fields in the order in which they are preferred where they leave out equally many cells.
_ORDER: Final = (
    *(("dtype",), ("activation",), ("fed", "dtype"), ("use_bias",), ("kernel_size",), ("input_shape", "rank")),
    *(("fed", "layout"), ("fed", "samples"), ("leading_axes",), ("units",), ("features",), ("input_shape", "last")),
)


def facts(question: Mapping[str, Any]) -> Facts:
    """Return the facts of a cell's question, in the fields of `when`."""
    return {path: frozenset(values) for path, values in _facts(question)}


def _facts(question: Mapping[str, Any]) -> Iterator[tuple[Path, list[Any]]]:
    shape, units = list(question.get("input_shape", ())), list(question.get("units", ()))
    batch, fed = question.get("batch"), question.get("feed_shape")
    leading = [] if batch is None else batch if isinstance(batch, list) else [batch]
    samples = leading if fed is None else fed[: len(leading)]
    yield ("dtype",), [question.get("dtype")]
    yield ("leading_axes",), [len(leading)]
    yield ("input_shape", "rank"), [len(shape)]
    yield ("input_shape", "last"), shape[-1:]
    yield ("fed", "dtype"), [question.get("input_dtype", question.get("dtype"))]
    yield ("fed", "layout"), [question.get("layout", "contiguous")]
    yield ("fed", "samples"), [math.prod(samples)]
    yield ("activation",), list(question.get("activation", ()))
    yield ("use_bias",), list(question.get("use_bias", ()))
    yield ("units",), units
    features = [*shape[-1:], *units[:-1]]
    yield ("features",), features
    counts = [type(one) is type(other) is int for one, other in zip(features, units, strict=False)]
    if all(counts):
        yield ("kernel_size",), [one * other for one, other in zip(features, units, strict=False)]
    for name, value in (question.get("environment") or {}).items():
        yield ("environment", str(name)), [value]


def distinction(cells: Sequence[Facts], others: Iterable[Facts]) -> dict[str, Any]:
    """
    Return the fields of `when` that hold for all of `cells` and leave out `others`, as few as do.

    Fields are nested as in an entry. Nothing is returned where no field leaves out any of the others.
    """
    common = _common(cells)
    left = list(others)
    found: dict[str, Any] = {}
    while left and common:
        kept = {path: [each for each in left if value in each.get(path, ())] for path, value in common.items()}
        best = min(common, key=lambda path: (len(kept[path]), _rank(path), path))
        if len(kept[best]) == len(left):
            break
        _put(found, best, common.pop(best))
        left = kept[best]
    return found


def _common(cells: Sequence[Facts]) -> dict[Path, Any]:
    """Return the fields of which all cells have one value in common; of several the first in the order of text."""
    found: dict[Path, Any] = {}
    for path in cells[0] if cells else ():
        values = frozenset.intersection(*(each.get(path, frozenset()) for each in cells))
        if values:
            found[path] = min(values, key=repr)
    return found


def _rank(path: Path) -> int:
    """Return the place of a field in the order of preference; a variable of the environment comes first."""
    return -1 if path[0] == "environment" else _ORDER.index(path)


def _put(found: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        found = found.setdefault(name, {})
    found[path[-1]] = value
