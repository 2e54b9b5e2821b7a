"""
The power of the bounds of sums by size: `python -m tools.sum_bounds` writes the table of docs/numerics.md.

It compares them with the bounds that the suite had before: (K + 2) u B, or 10.6 sqrt(K + 2) u B where that is less, and
sqrt(K + 2) u B for the root mean square of 64 elements and more, with its tail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from conformance.reference import answer
from conformance.reference.draw import Draw, as_matrix
from conformance.reference.lanes.draws import draws
from conformance.reference.sum_bounds import JointBound
from conformance.table.case import Case, Layer

Float64 = npt.NDArray[np.float64]
DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "numerics.md"
BEGIN: Final = "<!-- power by size: python -m tools.sum_bounds -->\n"
END: Final = "<!-- end -->\n"
#: (features, units, batch) of the layers.
SIZES: Final = tuple(
    (features, side, side) for features in (8, 64, 128, 512, 4096, 16384) for side in (8, 32) if features * side < 2**18
)
U: Final = 2.0**-24


class Before:
    """The bounds before, of the elements and of their root mean square."""

    def __init__(self, draw: Draw, exact: Float64) -> None:
        bias = draw.biases[0]
        assert bias is not None
        x, kernel = as_matrix(draw.x).astype(np.float64), draw.kernels[0].astype(np.float64)
        terms = len(kernel) + 2.0
        unit = U * (np.abs(x) @ np.abs(kernel) + np.abs(bias.astype(np.float64)))
        self.allowed = min(terms, math.sqrt(2.0 * math.log(2e24) * terms)) * unit + U * np.abs(exact)
        tail = math.log(1e18) / exact.size
        limit = math.sqrt(terms * (1.0 + 2.0 * math.sqrt(tail) + 2.0 * tail))
        self.joint = JointBound(unit=unit, clip=math.inf, limit=limit)


def sequential(draw: Draw) -> Float64:
    """Return the output of a layer that adds up its products one after the other in float32."""
    bias, x = draw.biases[0], as_matrix(draw.x)
    assert bias is not None
    total = np.zeros((len(x), len(bias)), np.float32)
    for left, right in zip(x.T, draw.kernels[0], strict=True):
        total = total + left[:, None] * right[None]
    return (total + bias).astype(np.float64)


def smallest_found(exact: Float64, allowed: Float64, joint: JointBound | None) -> float:
    """Return the smallest relative error, the same in all elements, that is outside of the bounds."""
    single = float((allowed / np.abs(exact)).min())
    if joint is None:
        return single
    low, high = 0.0, single
    for _ in range(50):
        middle = (low + high) / 2.0
        is_found = joint.root_mean_square(middle * np.abs(exact)) > joint.limit
        low, high = (low, middle) if is_found else (middle, high)
    return high


def lines() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| features | outputs | element, before | now | together, before | now | smallest fault, before | now |"
    yield "|---|---|---|---|---|---|---|---|"
    for features, units, batch in SIZES:
        draw = draws(Case(input_shape=(features,), layers=(Layer(units=units),), batch=batch))[0]
        now = answer(draw, ["linear"], "float32").y
        before = Before(draw, now.exact)
        error = now.error(sequential(draw))
        seen = float(np.sqrt(np.mean(np.square(error))))
        together = [
            "" if each is None else _ratio(each.limit * float(np.median(each.unit)) / seen)
            for each in (before.joint, now.joint)
        ]
        yield (
            f"| {features:,} | {units * batch:,} | {_ratio(float(np.median(before.allowed)) / seen)} "
            f"| {_ratio(float(np.median(now.allowed)) / seen)} | {together[0]} | {together[1]} "
            f"| {smallest_found(now.exact, before.allowed, before.joint):.0e} "
            f"| {smallest_found(now.exact, now.allowed, now.joint):.0e} |"
        )


def _ratio(number: float) -> str:
    return f"{number:,.0f}" if number >= 10.0 else f"{number:.1f}"


def main() -> None:
    """Write the table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n" + "\n".join(lines()) + f"\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
