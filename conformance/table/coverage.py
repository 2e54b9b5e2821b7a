"""
The pairs of values of two factors that the table covers, such as a rank and a dtype.

Some faults need two values at once and show only on a row that has both. So every pair is counted over the cases that
expect an answer. Pairs that the format excludes do not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conformance.table.case import ACTIVATIONS, DTYPES, EXACT_ACTIVATIONS, LAYOUTS, LINEAR_LANES, Case
from conformance.table.lane_names import LANES

#: A factor and one of its values.
Value = tuple[str, str]
Pair = tuple[Value, Value]


def _rank(case: Case) -> str:
    return str(len(case.input_shape)) if len(case.input_shape) < 5 else "5 and more"


def _batch(case: Case) -> str:
    if case.batch is None:
        return "none"
    if len(case.leading) > 1:
        return "several axes"
    (batch,) = case.leading
    return str(batch) if batch < 2 else "2 and more"


def _bias(case: Case) -> str:
    biases = {layer.use_bias for layer in case.layers}
    return "mixed" if len(biases) > 1 else "bias" if biases == {True} else "no bias"


def _activation(case: Case) -> str:
    activations = {layer.activation for layer in case.layers}
    return "mixed" if len(activations) > 1 else activations.pop()


def _depth(case: Case) -> str:
    return str(len(case.layers)) if len(case.layers) < 3 else "3 and more"


#: Every factor: its values, and the function that returns the value of a case.
FACTORS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Case], str]]]] = {
    "rank": (("1", "2", "3", "4", "5 and more"), _rank),
    "batch": (("none", "0", "1", "2 and more", "several axes"), _batch),
    "bias": (("bias", "no bias", "mixed"), _bias),
    "activation": ((*ACTIVATIONS, "mixed"), _activation),
    "dtype": (DTYPES, lambda case: case.dtype),
    "layout": (LAYOUTS, lambda case: case.layout),
    "lane": (tuple(each for each in LANES if each != "shapes"), lambda case: case.lane),
    "depth": (("1", "2", "3 and more"), _depth),
}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """All pairs, and those that some case has."""

    pairs: frozenset[Pair]
    covered: frozenset[Pair]

    @property
    def missing(self) -> tuple[Pair, ...]:
        """The pairs that no case has, in the order of the factors and their values."""
        return tuple(sorted(self.pairs - self.covered, key=_order))


def coverage(cases: Sequence[Case]) -> Coverage:
    """Return the coverage of the cases that expect an answer."""
    pairs = frozenset(_pairs())
    covered: set[Pair] = set()
    for case in cases:
        if not case.expect.error and case.lane != "shapes":
            values = [(factor, of(case)) for factor, (_, of) in FACTORS.items()]
            covered.update(itertools.combinations(values, 2))
    return Coverage(pairs=pairs, covered=pairs & covered)


def _pairs() -> Iterator[Pair]:
    """Yield every pair of values of two factors that a row could have."""
    for one, other in itertools.combinations(FACTORS, 2):
        for first, second in itertools.product(FACTORS[one][0], FACTORS[other][0]):
            if not _excluded({one: first, other: second}):
                yield (one, first), (other, second)


def _excluded(pair: Mapping[str, str]) -> bool:
    """Return whether the format has no row with both values."""
    lane, activation, depth = pair.get("lane"), pair.get("activation"), pair.get("depth")
    if lane == "exact" and activation not in (*EXACT_ACTIVATIONS, "mixed", None):
        return True
    if lane in LINEAR_LANES and activation not in ("linear", None):
        return True
    if depth == "1" and (activation == "mixed" or pair.get("bias") == "mixed"):
        return True
    # A vector without a batch has no axis before its last, along which these layouts permute or repeat.
    flat = pair.get("rank") == "1" or pair.get("batch") == "none"
    return flat and pair.get("layout") == "transposed" and pair.get("rank") in (None, "1") and pair.get("batch") is None


def _order(pair: Pair) -> tuple[int, ...]:
    names = list(FACTORS)
    return tuple(each for factor, value in pair for each in (names.index(factor), FACTORS[factor][0].index(value)))


def document(coverage: Coverage) -> str:
    """Return a text with the number of covered pairs for any two factors, and all pairs that are not covered."""
    lines = [f"{len(coverage.covered)} of {len(coverage.pairs)} pairs of values are covered by some case.", ""]
    for one, other in itertools.combinations(FACTORS, 2):
        pairs = {pair for pair in coverage.pairs if (pair[0][0], pair[1][0]) == (one, other)}
        lines.append(f"  {one + ' x ' + other:<22} {len(pairs & coverage.covered):>4} of {len(pairs):>4}")
    if coverage.missing:
        lines += ["", "Not covered:"]
    for (one, first, other), group in itertools.groupby(coverage.missing, key=lambda pair: (*pair[0], pair[1][0])):
        lines.append(f"  {one} {first}: {other} {', '.join(pair[1][1] for pair in group)}")
    return "\n".join(lines)
