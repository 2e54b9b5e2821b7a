"""
Comparison of arrays with enclosures: each element with its own bound, and all elements together with a probable bound.

Every function returns a `Finding`, since a caller can forget to look at a bool.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from conformance.adapters.protocol import Array
from conformance.checks.finding import VIOLATES, Element, Finding
from conformance.reference.enclosure import Enclosure, Float64

#: An array together with what encloses it.
Enclosed = tuple[Array, Enclosure]


def compare(check: str, where: str, actual: Array, enclosure: Enclosure, line: str) -> Finding:
    """
    Return the finding of |actual - exact| <= allowed for every element.

    Shapes are compared first, then which elements are NaN or infinite and their signs, then all finite elements. +0
    equals -0. The margin is the largest ratio of error to allowed error, where 0/0 counts as 0. An element with an
    infinite allowed error is not compared; the fact `unbounded` counts such elements.

    Args:
        check: the name of the check.
        where: the name of the array in messages.
        actual: the array.
        enclosure: what encloses it.
        line: the class of the bound.
    """
    if actual.shape != enclosure.exact.shape:
        return shape_violation(check, where, actual.shape, enclosure.exact.shape, line)
    if actual.size == 0:
        return Finding(check=check, margin=0.0, where=where, line=line)
    values = actual.astype(np.float64)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        error = _error(values, enclosure)
        unbounded = np.isinf(enclosure.allowed)
        if unbounded.any():
            error = np.where(unbounded, 0.0, error)
        ratio = _ratio(error, enclosure.allowed)
    finding = _worst_element(check, where, values, enclosure, ratio, line)
    if unbounded.any():
        finding = replace(finding, facts={"unbounded": int(np.count_nonzero(unbounded))})
    if float(ratio.max()) <= 1.0:
        return _with_root_mean_square(finding, error, enclosure)
    worst = finding.worst
    assert worst is not None
    message = (
        f"{where}{list(worst.index)} = {worst.got!r}, expected {worst.exact!r} "
        f"(|difference| {float(error[worst.index]):.3g} > allowed {worst.allowed:.3g}); "
        f"{np.count_nonzero(ratio > 1.0)} of {ratio.size} elements are off"
    )
    return replace(finding, outcome=VIOLATES, message=message)


def _worst_element(check: str, where: str, values: Float64, enclosure: Enclosure, ratio: Float64, line: str) -> Finding:
    """Return a finding with the element that has the largest ratio of error to allowed error."""
    index = tuple(int(axis) for axis in np.unravel_index(int(ratio.argmax()), ratio.shape))
    worst = Element(
        index=index,
        got=float(values[index]),
        exact=float(enclosure.exact[index]),
        allowed=float(enclosure.allowed[index]),
    )
    return Finding(check=check, margin=float(ratio[index]), where=where, worst=worst, line=line)


def shape_violation(
    check: str, where: str, actual: tuple[int, ...], expected: tuple[int, ...], line: str | None = None
) -> Finding:
    """Return the violation of an array that has another shape than expected."""
    message = f"{where} has shape {actual}, expected {expected}"
    return Finding(
        check=check, outcome=VIOLATES, message=message, expected=expected, observed=actual, where=where, line=line
    )


def _ratio(error: Float64, allowed: Float64) -> Float64:
    """
    Return the ratio of error to allowed error: 0 if both are 0, infinite if the error is NaN.

    The ratio is more than 1 exactly if the error is more than the allowed error: the quotient of the next number above
    is more than 1 + u, which does not round to 1.
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
    Return the error of every element.

    It is 0 if actual and exact value are the same infinity or both NaN, and infinite if only one of them is finite or
    they are different infinities.
    """
    error = enclosure.error(values)
    if math.isfinite(error.max()):
        return error
    exact = enclosure.exact
    finite = np.isfinite(values) & np.isfinite(exact)
    same = (values == exact) | (np.isnan(values) & np.isnan(exact))
    return np.where(finite, error, np.where(same, 0.0, np.inf))


def _with_root_mean_square(finding: Finding, error: Float64, enclosure: Enclosure) -> Finding:
    """
    Return a finding without a violation together with the comparison of the root mean square of the errors.

    The root mean square shows small systematic faults that no single element shows. It is compared if the array has a
    bound for it.
    """
    joint = enclosure.joint
    if joint is None:
        return finding
    measured = joint.root_mean_square(error)
    finding = replace(finding, facts={**finding.facts, "rms": measured, "rms_allowed": joint.limit})
    if measured <= joint.limit:
        return finding
    message = (
        f"{finding.where}: the root mean square of {error.size} errors is {measured:.3g}, allowed {joint.limit:.3g} "
        f"(in units of the roundings of all partial sums, each error cut at {joint.clip:.3g})"
    )
    return replace(finding, outcome=VIOLATES, message=message)


def worst_of(check: str, findings: Sequence[Finding]) -> Finding:
    """
    Return the first violation, or else the finding with the largest margin.

    A violation because the model declined comes after all others, since the registry can excuse it. Without findings
    the check conforms: the ledger declares that there is no answer.
    """
    violations = [each for each in findings if each.outcome == VIOLATES]
    if violations:
        return next((each for each in violations if each.declined is None), violations[0])
    return max(findings, key=lambda each: each.margin or 0.0, default=Finding(check=check))


def bits_digest(output: Array) -> str:
    """
    Return a digest of 16 hex digits of an output's shape, dtype and bytes.

    Two outputs have the same digest if all their bits are equal: +0 and -0 differ.
    """
    header = f"{output.dtype.name} {output.shape} ".encode()
    return hashlib.blake2b(header + np.ascontiguousarray(output).tobytes(), digest_size=8).hexdigest()


def compare_answers(check: str, where: str, actual: Enclosed, other: Enclosed, line: str) -> Finding:
    """
    Return the finding of the comparison of two answers, each given together with its enclosure.

    They may differ by the difference of the exact answers, plus or minus the sum of both allowed errors.
    """
    (first, enclosure), (second, other_enclosure) = actual, other
    if second.shape != enclosure.exact.shape or other_enclosure.exact.shape != enclosure.exact.shape:
        return shape_violation(check, where, second.shape, enclosure.exact.shape, line)
    with np.errstate(invalid="ignore"):
        difference = enclosure.exact - other_enclosure.exact
        if enclosure.tail is not None and other_enclosure.tail is not None:
            difference = difference + (enclosure.tail - other_enclosure.tail)
    not_finite = ~np.isfinite(difference)
    # If an exact answer is not finite, both answers must be equal, or each must equal its own exact answer.
    moved = np.where(not_finite, 0.0, difference)
    has_own_value = not_finite & ~_same(enclosure.exact, other_enclosure.exact)
    exact = np.where(has_own_value, enclosure.exact, second.astype(np.float64) + moved)
    both = Enclosure(exact=exact, allowed=enclosure.allowed + other_enclosure.allowed)
    return compare(check, where, first, both, line)


def _same(one: Float64, other: Float64) -> npt.NDArray[np.bool_]:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))
