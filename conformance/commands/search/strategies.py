"""
Which rows a search may ask: Hypothesis strategies over what a row of the table may say.

What shrinks, shrinks towards the plainest row: one linear float32 layer on a small contiguous input. Sizes are bounded
so that a question takes about a second; lengths beside powers of two are frequent, since kernels differ where vectors
and tiles end. This module draws rows and knows nothing of what becomes of them.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

from hypothesis import assume
from hypothesis import strategies as st

from conformance.table.case import ACTIVATIONS, EXACT_ACTIVATIONS, INTEGER_DTYPES, LINEAR_LANES

Row = dict[str, Any]

MOST_FEATURES: Final = 1100
MOST_UNITS: Final = 600
MOST_ALONG_AN_AXIS: Final = 17
MOST_SAMPLES: Final = 65
#: Multiplications of a case, and elements of one array: float64 is worked out in 256 bits, number by number.
MOST_PRODUCTS: Final = {"float64": 2**17, "float32": 2**22, "float16": 2**21, "bfloat16": 2**21}
MOST_ELEMENTS: Final = 2**15
#: On the exact lane gradients of the 16-bit formats are exact only where few of them are added up.
MOST_EXACT_IN_SHORT: Final = 48

_DTYPES: Final = ("float32", "bfloat16", "float16", "float64")
_LANES: Final = ("uniform", "exact", "cancelling", "wide", "denormal", "special")
_LAYOUTS: Final = ("contiguous", "strided", "transposed", "broadcast")
#: Most frameworks refuse an input of another dtype, and there is little more to be found there.
_MOSTLY_ITS_OWN: Final = (None,) * 80
#: Lengths where something changes in a kernel: vectors, tiles, and what lies beside them.
_EDGES: Final = tuple(sorted({power + step for power in (8, 16, 32, 64, 128, 256, 512, 1024) for step in (-1, 0, 1)}))


def lengths(most: int, least: int = 1) -> st.SearchStrategy[int]:
    """Return a strategy of lengths up to `most`: mostly short, often near a power of two."""
    short = st.integers(least, min(most, 9))
    if most < 16:
        return st.integers(least, most)
    return st.one_of(short, st.integers(least, most), st.sampled_from([each for each in _EDGES if each <= most]))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Draw one row, as a file of the table would hold it; it names one lane, so that it is one case."""
    dtype = draw(st.sampled_from(_DTYPES))
    lane = draw(st.sampled_from(_LANES))
    inner = draw(st.lists(lengths(MOST_ALONG_AN_AXIS), max_size=3))
    # Nothing at all is rare, and belongs to shapes that are otherwise small.
    least = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 0]))
    features = draw(lengths(MOST_FEATURES, least))
    layer = st.tuples(lengths(MOST_UNITS), st.sampled_from(ACTIVATIONS), st.sampled_from([True, False]))
    layers = draw(st.lists(layer, min_size=1, max_size=3))[: 1 if lane in LINEAR_LANES else 3]
    units, activations, biases = (list(each) for each in zip(*layers, strict=True))
    activations = [_on(lane, each) for each in activations]
    batch = draw(_batches())
    layout = draw(st.sampled_from(_LAYOUTS))
    fed = draw(st.sampled_from([*_MOSTLY_ITS_OWN, *INTEGER_DTYPES, *_DTYPES]))
    row: Row = {"input_shape": [*inner, features], "units": _one_of_one(units), "values": lane}
    if set(activations) != {"linear"}:
        row["activation"] = _one_of_one(activations)
    if not all(biases):
        row["use_bias"] = _one_of_one(biases)
    if dtype != "float32":
        row["dtype"] = dtype
    if batch != 2:
        row["batch"] = batch
    if layout != "contiguous":
        row["layout"] = layout
    if fed not in (None, dtype) and lane in ("exact", *([] if fed in INTEGER_DTYPES else ["uniform"])):
        row["input_dtype"] = fed
    if lane == "special":
        row["expect"] = {"nonfinite": True}
    assume(_is_askable(row))
    return row


def _on(lane: str, activation: str) -> str:
    """
    Return what becomes of an activation on a lane.

    Every lane draws all of them, so that a row can be made plainer by its lane alone.
    """
    if lane in LINEAR_LANES:
        return "linear"
    return activation if lane != "exact" or activation in EXACT_ACTIVATIONS else "relu"


def _batches() -> st.SearchStrategy[int | list[int] | None]:
    """Return a strategy of batches: a number of samples mostly, none at all, or several leading axes."""
    samples = st.one_of(st.just(2), lengths(MOST_SAMPLES), st.sampled_from([0, 1, 255, 256, 257]))
    leading = st.lists(st.integers(0, 5), min_size=2, max_size=3)
    return st.one_of(samples, samples, samples, st.none(), leading)


def _one_of_one(values: list[Any]) -> Any:
    """Return the value of a single layer, or the list of a stack's."""
    return values[0] if len(values) == 1 else values


def _is_askable(row: Row) -> bool:
    """Return whether a row of these sizes is cheap enough, and not one that no lane draws."""
    units = row["units"] if isinstance(row["units"], list) else [row["units"]]
    batch = row.get("batch", 2)
    leading = batch if isinstance(batch, list) else [] if batch is None else [batch]
    fed = [*leading, *row["input_shape"]]
    positions = math.prod(fed[:-1])
    widths = [fed[-1], *units]
    dtype = row.get("dtype", "float32")
    if row["values"] == "exact" and dtype in ("float16", "bfloat16") and max(units) > MOST_EXACT_IN_SHORT:
        return False
    # What lies before the last axis is permuted, or repeated: there must be something.
    if len(fed) < {"transposed": 3, "broadcast": 2}.get(row.get("layout", ""), 1):
        return False
    biases = row.get("use_bias", True)
    if row["values"] == "cancelling" and min(widths[:-1]) < 2 and biases is not True:
        return False
    products = positions * sum(one * other for one, other in itertools.pairwise(widths))
    kernels = sum(one * other for one, other in itertools.pairwise(widths))
    largest = max(positions * max(widths), kernels // 4)
    return bool(products <= MOST_PRODUCTS[dtype] and largest <= MOST_ELEMENTS)
