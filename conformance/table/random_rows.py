"""
Random cases: rows drawn from a seed, the same on every machine, and read like the rows of the table.

The rows of the table show that faults are caught. Many random rows show that there are no false alarms, and that
frameworks have their declared behaviours on every row that a behaviour covers.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from conformance.stream import Stream
from conformance.table.case import ACTIVATIONS, EXACT_ACTIVATIONS, Case
from conformance.table.core_schema import dump
from conformance.table.loader import read_rows

T = TypeVar("T")

#: The largest length of an axis before the last, of the last, of a batch and of one of several leading axes, and units.
MOST_ALONG_AN_AXIS: Final = 12
MOST_FEATURES: Final = 1024
MOST_SAMPLES: Final = 64
MOST_LEADING: Final = 6
MOST_UNITS: Final = 512
#: The most multiplications of a case and elements of one array: a case takes about 1 second, the reference included.
MOST_PRODUCTS: Final = {"float64": 2**19, "float32": 2**23, "float16": 2**22, "bfloat16": 2**22}
MOST_ELEMENTS: Final = 2**16
#: The fewest results of the narrowest layer: with as many a draw is hardly ever all zero or all where relu is flat.
FEWEST_RESULTS: Final = 16
#: The most units of a 16-bit case on the exact lane: gradients are exact only if few of them are added up.
MOST_EXACT_IN_SHORT: Final = 48

#: Names with their weights: what is used most is computed in the most ways.
_DTYPES: Final = {"float32": 8, "bfloat16": 3, "float16": 3, "float64": 2}
_ACTIVATIONS: Final = {"linear": 12, "relu": 8} | dict.fromkeys(ACTIVATIONS[2:], 2) | {"softmax": 3}
_LAYOUTS: Final = {"contiguous": 8, "strided": 2, "broadcast": 1, "transposed": 2}
_BATCHES: Final = {"samples": 7, "leading axes": 2, "none": 1}
_LANES: Final = {"uniform": 3, "exact": 1}


def random_cases(count: int, seed: int) -> tuple[Case, ...]:
    """
    Return the first `count` random cases of a seed, the same on every machine. `row` of each is `random:SEED:I`.

    Raises:
        TableError: a row has a fault.
    """
    rows = random_rows(count, seed)
    return read_rows(rows, f"random:{seed}").cases if rows else ()


def random_rows(count: int, seed: int) -> tuple[Mapping[str, object], ...]:
    """Return the rows of `random_cases`, as a file of the table holds them; no two have the same question."""
    rows: list[Mapping[str, object]] = []
    texts: set[str] = set()
    for index in range(1, count + 1):
        digest = hashlib.sha256(f"random {seed} {index}".encode()).digest()
        candidates = (_row(digest, turn) for turn in itertools.count())
        row = next(each for each in candidates if repr(each) not in texts)
        texts.add(repr(row))
        rows.append({"id": f"random-{seed}-{index}", **row})
    return tuple(rows)


def document(count: int, seed: int) -> str:
    """Return a file of the table with the rows of `random_cases`."""
    description = f"{count} random rows of the seed {seed}, from `conformance list random`."
    return dump({"description": description, "rows": [dict(each) for each in random_rows(count, seed)]})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """The fields of a row that are chosen before its sizes, so that no kind is rare because its rows are large."""

    dtype: str
    lane: str
    layout: str
    #: Number of axes in front of a sample: 0 without a batch, 1 for a number of samples, or more.
    leading: int
    rank: int
    activations: tuple[str, ...]
    use_bias: tuple[bool, ...]


class _Choice:
    """Choices from a stream of bits. They use integers only, so that no machine rounds them differently."""

    def __init__(self, digest: bytes, *purpose: object) -> None:
        self._stream = Stream(digest, "random", *purpose)

    def integer(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return int(self._stream.integers(low, high, (1,))[0])

    def length(self, most: int) -> int:
        """
        Return a length from 1 to `most`; every octave has the same probability.

        One in four is a power of two and one in eight a power of two plus 1, as kernels treat the ends of vectors and
        tiles differently.
        """
        power: int = 1 << self.integer(0, most.bit_length() - 1)
        choice = self.integer(0, 7)
        if choice < 2:
            return power
        return min(most, power + 1 if choice == 2 else self.integer(power, 2 * power - 1))

    def of(self, weights: Mapping[T, int]) -> T:
        """Return one of the keys, each with a probability in proportion to its weight."""
        remaining = self.integer(0, sum(weights.values()) - 1)
        for name, weight in weights.items():
            remaining -= weight
            if remaining < 0:
                return name
        raise AssertionError("the weights have been used up")


def _row(digest: bytes, turn: int) -> Mapping[str, object]:
    """Return the row of a digest, with the first sizes that are within the bounds."""
    kind = _kind(_Choice(digest, "kind", turn))
    sizes = (_sizes(kind, _Choice(digest, "sizes", turn, attempt)) for attempt in itertools.count())
    shape, batch, units = next(each for each in sizes if _within(kind, *each))
    row: dict[str, object] = {"input_shape": shape, "units": _value_or_list(units)}
    if set(kind.activations) != {"linear"}:
        row["activation"] = _value_or_list(kind.activations)
    if not all(kind.use_bias):
        row["use_bias"] = _value_or_list(kind.use_bias)
    if kind.dtype != "float32":
        row["dtype"] = kind.dtype
    row["batch"] = batch
    row["values"] = kind.lane
    if kind.layout != "contiguous":
        row["layout"] = kind.layout
    return row


def _value_or_list(values: Sequence[T]) -> T | list[T]:
    """Return the value of a single layer, or the list of a stack's."""
    return values[0] if len(values) == 1 else list(values)


def _kind(choice: _Choice) -> _Kind:
    dtype, lane, layout = choice.of(_DTYPES), choice.of(_LANES), choice.of(_LAYOUTS)
    rank, layers = choice.integer(1, 5), choice.of({1: 3, 2: 2, 3: 1})
    batch = choice.of(_BATCHES)
    leading = {"samples": 1, "leading axes": choice.integer(2, 3), "none": 0}[batch]
    allowed = {name: weight for name, weight in _ACTIVATIONS.items() if lane != "exact" or name in EXACT_ACTIVATIONS}
    activations = [choice.of(allowed) for _ in range(layers)]
    # An exponential of an exponential may not be finite.
    activations[:-1] = ["linear" if each == "exponential" else each for each in activations[:-1]]
    biases = tuple(choice.integer(0, 3) > 0 for _ in range(layers))
    # These layouts permute or repeat axes before the last, so there must be some.
    if leading + rank < {"transposed": 3, "broadcast": 2}.get(layout, 1):
        layout = "strided"
    return _Kind(
        dtype=dtype,
        lane=lane,
        layout=layout,
        leading=leading,
        rank=rank,
        activations=tuple(activations),
        use_bias=biases,
    )


def _sizes(kind: _Kind, choice: _Choice) -> tuple[list[int], int | list[int] | None, list[int]]:
    """Return the shape of a sample, the batch, and the units of every layer."""
    shape = [*(choice.length(MOST_ALONG_AN_AXIS) for _ in range(kind.rank - 1)), choice.length(MOST_FEATURES)]
    batch: int | list[int] | None = None
    if kind.leading == 1:
        batch = choice.length(MOST_SAMPLES)
    elif kind.leading:
        batch = [choice.length(MOST_LEADING) for _ in range(kind.leading)]
    return shape, batch, [choice.length(MOST_UNITS) for _ in kind.activations]


def _within(kind: _Kind, shape: list[int], batch: int | list[int] | None, units: list[int]) -> bool:
    """Return whether a row of these sizes is neither too expensive nor too small to show a fault."""
    leading = batch if isinstance(batch, list) else [1 if batch is None else batch]
    positions = math.prod((*leading, *shape[:-1]))
    widths = [shape[-1], *units]
    kernels = sum(features * width for features, width in itertools.pairwise(widths))
    # In the layout `broadcast` all elements along the first axis of the input are equal.
    repeated = (shape[0] if batch is None else leading[0]) if kind.layout == "broadcast" else 1
    if positions // repeated * min(units) < FEWEST_RESULTS:
        return False
    if kind.lane == "exact" and kind.dtype in ("float16", "bfloat16") and max(units) > MOST_EXACT_IN_SHORT:
        return False
    return positions * kernels <= MOST_PRODUCTS[kind.dtype] and positions * max(widths) <= MOST_ELEMENTS
