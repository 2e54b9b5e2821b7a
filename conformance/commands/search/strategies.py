"""
The Hypothesis strategies that draw the rows of a search.

Rows shrink towards the simplest row: one linear float32 layer on a small contiguous input. Sizes are bounded so that a
question takes about a second. Lengths near powers of two are frequent: kernels differ where vectors and tiles end.
"""

from __future__ import annotations

import itertools
import math
from typing import Final, Required, TypedDict, TypeVar

from hypothesis import assume
from hypothesis import strategies as st

from conformance.table.case import ACTIVATIONS, EXACT_ACTIVATIONS, INTEGER_DTYPES, LINEAR_LANES


class Row(TypedDict, total=False):
    """A row as a file of the table has it."""

    input_shape: Required[list[int]]
    units: Required[int | list[int]]
    #: The lane.
    values: Required[str]
    activation: str | list[str]
    use_bias: bool | list[bool]
    dtype: str
    batch: int | list[int] | None
    layout: str
    input_dtype: str
    expect: dict[str, bool]


T = TypeVar("T")

MOST_FEATURES: Final = 1100
MOST_UNITS: Final = 600
MOST_ALONG_AN_AXIS: Final = 17
MOST_SAMPLES: Final = 65
#: The most multiplications of a case. The reference computes float64 in 256 bits, number by number.
MOST_PRODUCTS: Final = {"float64": 2**17, "float32": 2**22, "float16": 2**21, "bfloat16": 2**21}
#: The most elements of one array.
MOST_ELEMENTS: Final = 2**15
#: The most units of a 16-bit format on the exact lane, where sums of more gradients are not exact.
MOST_EXACT_IN_SHORT: Final = 48

_DTYPES: Final = ("float32", "bfloat16", "float16", "float64")
_LANES: Final = ("uniform", "exact", "cancelling", "wide", "denormal", "special")
_LAYOUTS: Final = ("contiguous", "strided", "transposed", "broadcast")
#: Most inputs have the dtype of the layer: most frameworks refuse any other dtype.
_OWN_DTYPE: Final = (None,) * 80
#: Lengths at the ends of vectors and tiles, and next to them.
_EDGES: Final = tuple(sorted({power + step for power in (8, 16, 32, 64, 128, 256, 512, 1024) for step in (-1, 0, 1)}))


def lengths(most: int, least: int = 1) -> st.SearchStrategy[int]:
    """Return a strategy of lengths up to `most`: mostly short, often near a power of two."""
    short = st.integers(least, min(most, 9))
    if most < 16:
        return st.integers(least, most)
    return st.one_of(short, st.integers(least, most), st.sampled_from([each for each in _EDGES if each <= most]))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Draw one row. It has one lane, so that it is one case."""
    dtype = draw(st.sampled_from(_DTYPES))
    lane = draw(st.sampled_from(_LANES))
    inner = draw(st.lists(lengths(MOST_ALONG_AN_AXIS), max_size=3))
    # An axis of length 0 is rare.
    least = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 0]))
    features = draw(lengths(MOST_FEATURES, least))
    layer = st.tuples(lengths(MOST_UNITS), st.sampled_from(ACTIVATIONS), st.sampled_from([True, False]))
    layers = draw(st.lists(layer, min_size=1, max_size=3))[: 1 if lane in LINEAR_LANES else 3]
    units, activations, biases = (list(each) for each in zip(*layers, strict=True))
    activations = [_activation_on(lane, each) for each in activations]
    batch = draw(_batches())
    layout = draw(st.sampled_from(_LAYOUTS))
    input_dtype = draw(st.sampled_from([*_OWN_DTYPE, *INTEGER_DTYPES, *_DTYPES]))
    row: Row = {"input_shape": [*inner, features], "units": _single_or_list(units), "values": lane}
    if set(activations) != {"linear"}:
        row["activation"] = _single_or_list(activations)
    if not all(biases):
        row["use_bias"] = _single_or_list(biases)
    if dtype != "float32":
        row["dtype"] = dtype
    if batch != 2:
        row["batch"] = batch
    if layout != "contiguous":
        row["layout"] = layout
    if input_dtype not in (None, dtype) and lane in ("exact", *([] if input_dtype in INTEGER_DTYPES else ["uniform"])):
        row["input_dtype"] = input_dtype
    if lane == "special":
        row["expect"] = {"nonfinite": True}
    assume(_can_run(row))
    return row


def _activation_on(lane: str, activation: str) -> str:
    """
    Return the activation that a lane has in place of a drawn one.

    All lanes draw from all activations, so that Hypothesis can simplify the lane alone.
    """
    if lane in LINEAR_LANES:
        return "linear"
    return activation if lane != "exact" or activation in EXACT_ACTIVATIONS else "relu"


def _batches() -> st.SearchStrategy[int | list[int] | None]:
    """Return a strategy of batches: mostly a number of samples, else no batch axis, or several leading axes."""
    samples = st.one_of(st.just(2), lengths(MOST_SAMPLES), st.sampled_from([0, 1, 255, 256, 257]))
    leading = st.lists(st.integers(0, 5), min_size=2, max_size=3)
    return st.one_of(samples, samples, samples, st.none(), leading)


def _single_or_list(values: list[T]) -> T | list[T]:
    """Return the value of a single layer, or the list of values of a stack."""
    return values[0] if len(values) == 1 else values


def _can_run(row: Row) -> bool:
    """Return whether a row is small enough, and has values that its lane can draw."""
    units = row["units"] if isinstance(row["units"], list) else [row["units"]]
    batch = row.get("batch", 2)
    leading = batch if isinstance(batch, list) else [] if batch is None else [batch]
    shape = [*leading, *row["input_shape"]]
    positions = math.prod(shape[:-1])
    widths = [shape[-1], *units]
    dtype = row.get("dtype", "float32")
    if row["values"] == "exact" and dtype in ("float16", "bfloat16") and max(units) > MOST_EXACT_IN_SHORT:
        return False
    # These layouts permute or repeat the axes before the last, which must exist.
    if len(shape) < {"transposed": 3, "broadcast": 2}.get(row.get("layout", ""), 1):
        return False
    biases = row.get("use_bias", True)
    if row["values"] == "cancelling" and min(widths[:-1]) < 2 and biases is not True:
        return False
    products = positions * sum(one * other for one, other in itertools.pairwise(widths))
    kernels = sum(one * other for one, other in itertools.pairwise(widths))
    largest = max(positions * max(widths), kernels // 4)
    return bool(products <= MOST_PRODUCTS[dtype] and largest <= MOST_ELEMENTS)
