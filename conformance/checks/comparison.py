"""
Arrays beside what they should be: every element held to its enclosure, and all of them together to what chance allows.

Each function returns a `Finding`, never a bool a caller may forget. This module knows what was computed and what is
allowed, and neither case nor adapter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.checks.finding import VIOLATES, Element, Finding
from conformance.reference.enclosure import Enclosure, Float64
from conformance.reference.probabilistic_bound import FEWEST, root_mean_square

Array = npt.NDArray[Any]


def compare(check: str, where: str, got: Array, enclosure: Enclosure, line: str) -> Finding:
    """
    Hold every element of `got` to its enclosure: |got - exact| <= allowed.

    Shapes are compared first, then which elements are NaN or infinite, and of which sign, then every finite element. +0
    and -0 are equal. The margin is the largest error over the allowed, 0 where both are 0. An element without a bound,
    whose allowed error is infinite, is not judged; the finding says how many there are.
    """
    if got.shape != enclosure.exact.shape:
        message = f"{where} has shape {got.shape}, expected {enclosure.exact.shape}"
        return Finding(check=check, outcome=VIOLATES, message=message, observed=got.shape, where=where, line=line)
    if got.size == 0:
        return Finding(check=check, margin=0.0, where=where, line=line)
    values = got.astype(np.float64)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        error = _error(values, enclosure)
        unbounded = np.isinf(enclosure.allowed)
        if unbounded.any():
            error = np.where(unbounded, 0.0, error)
        ratio = _ratio(error, enclosure.allowed)
    index = tuple(int(axis) for axis in np.unravel_index(int(ratio.argmax()), ratio.shape))
    worst = Element(
        index=index,
        got=float(values[index]),
        exact=float(enclosure.exact[index]),
        allowed=float(enclosure.allowed[index]),
    )
    finding = Finding(
        check=check,
        margin=float(ratio[index]),
        where=where,
        worst=worst,
        line=line,
        facts={"unbounded": int(np.count_nonzero(unbounded))} if unbounded.any() else {},
    )
    if float(ratio[index]) <= 1.0:
        return _by_chance(finding, error, enclosure)
    message = (
        f"{where}{list(index)} = {worst.got!r}, expected {worst.exact!r} "
        f"(|difference| {float(error[index]):.3g} > allowed {worst.allowed:.3g}); "
        f"{np.count_nonzero(ratio > 1.0)} of {ratio.size} elements are off"
    )
    return replace(finding, outcome=VIOLATES, message=message)


def _ratio(error: Float64, allowed: Float64) -> Float64:
    """
    Return the error over the allowed: 0 where both are 0, infinite where the error is no number.

    It is more than 1 exactly where the error is more than the allowed: the next number above has a quotient of more
    than 1 + u, which is not rounded to 1.
    """
    if not error.any():
        return error
    ratio = error / allowed
    if not math.isfinite(ratio.max()):
        ratio[error == 0.0] = 0.0
        ratio[~np.isfinite(error)] = np.inf
    return ratio


def _error(values: Float64, enclosure: Enclosure) -> Float64:
    """
    Return the error of every element: infinite where one is finite and the other is not, or they are so differently.

    Where both are the same infinity, or both NaN, there is none.
    """
    error = enclosure.error(values)
    if math.isfinite(error.max()):
        return error
    exact = enclosure.exact
    finite = np.isfinite(values) & np.isfinite(exact)
    same = (values == exact) | (np.isnan(values) & np.isnan(exact))
    return np.where(finite, error, np.where(same, 0.0, np.inf))


def _by_chance(finding: Finding, error: Float64, enclosure: Enclosure) -> Finding:
    """
    Return a finding whose elements are each within their bounds, held to what they may be together.

    The root mean square of error/(u B) has the power against small systematic faults that no single element has; it is
    looked at where there are enough elements, all of them sums of products of given numbers.
    """
    if enclosure.unit is None or error.size < FEWEST:
        return finding
    unit = enclosure.unit
    if not unit.min() > 0.0:
        error, unit = error[unit > 0.0], unit[unit > 0.0]
    if error.size < FEWEST:
        return finding
    scaled = error / unit
    found = float(np.sqrt(np.mean(np.square(scaled, out=scaled))))
    allowed = root_mean_square(enclosure.terms, scaled.size)
    finding = replace(finding, facts={**finding.facts, "rms": found, "rms_allowed": allowed})
    if found <= allowed:
        return finding
    message = (
        f"{finding.where}: the root mean square of error/(u B) is {found:.3g} over {scaled.size} elements, "
        f"by chance it is at most {allowed:.3g}"
    )
    return replace(finding, outcome=VIOLATES, message=message)


def worst_of(check: str, findings: Sequence[Finding]) -> Finding:
    """
    Return the first violation, or else the finding with the largest margin.

    What the model declined to answer comes after any other violation: the registry may excuse it. Of no findings the
    check conforms: it is declared that there is nothing to judge.
    """
    violations = [each for each in findings if each.outcome == VIOLATES]
    if violations:
        return next((each for each in violations if each.declined is None), violations[0])
    return max(findings, key=lambda each: each.margin or 0.0, default=Finding(check=check))


def bits(output: Array) -> str:
    """
    Return 16 hex digits of an output's shape, dtype and bytes as they are: two outputs have equal ones where every bit
    is the same, so that +0 and -0 differ.
    """
    said = f"{output.dtype.name} {output.shape} ".encode()
    return hashlib.blake2b(said + np.ascontiguousarray(output).tobytes(), digest_size=8).hexdigest()


def between(check: str, where: str, got: tuple[Array, Enclosure], other: tuple[Array, Enclosure], line: str) -> Finding:
    """
    Check two answers against one another, each given with what encloses it.

    Their difference is that of the exact answers, up to the sum of both radii.
    """
    (answer, enclosure), (beside, of_other) = got, other
    if beside.shape != enclosure.exact.shape or of_other.exact.shape != enclosure.exact.shape:
        message = f"{where}: shape {beside.shape}, expected {enclosure.exact.shape}"
        return Finding(check=check, outcome=VIOLATES, message=message, observed=beside.shape, where=where, line=line)
    with np.errstate(invalid="ignore"):
        difference = enclosure.exact - of_other.exact
        if enclosure.tail is not None and of_other.tail is not None:
            difference = difference + (enclosure.tail - of_other.tail)
    apart = ~np.isfinite(difference)
    # Where one of the exact answers is no number both are the same, or each is compared with its own.
    moved = np.where(apart, 0.0, difference)
    exact = np.where(
        apart & ~_same(enclosure.exact, of_other.exact), enclosure.exact, beside.astype(np.float64) + moved
    )
    return compare(check, where, answer, Enclosure(exact=exact, allowed=enclosure.allowed + of_other.allowed), line)


def _same(one: Float64, other: Float64) -> npt.NDArray[np.bool_]:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))
