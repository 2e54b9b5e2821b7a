"""
The answers of right implementations: an exact value with a radius, and the arithmetic from which the radius follows.

Notation: u is the unit roundoff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from conformance.reference.formats import FORMATS, Format
from conformance.reference.sum_bounds import JointBound

Float64 = npt.NDArray[np.float64]

#: Unit roundoff of the reference's own arithmetic.
U64: Final = 2.0**-53
#: The largest error of NumPy's float64 exp and tanh, in units of U64. Their SIMD forms state 4 ulp, which is less.
NUMPY_FUNCTION_ERROR: Final = 16.0

#: The rows that the columns float64 and float32 of the table of `DECLARED_ULPS` have in common.
_FUNCTIONS: Final = {
    "exp": 3.0,
    "expm1": 3.0,
    "log": 3.0,
    "log1p": 2.0,
    "tanh": 5.0,
    "erf": 16.0,
    "erfc": 16.0,
    "pow": 16.0,
}
#: The largest error, in ulp of the result, that the OpenCL specification allows a full-profile device, by format. Its
#: table has no column for bfloat16: there a function is computed in float32 and rounded once (`Arithmetic.ulps`).
DECLARED_ULPS: Final = {
    "float64": _FUNCTIONS | {"divide": 0.5},
    "float32": _FUNCTIONS | {"divide": 2.5},
    "float16": dict.fromkeys(_FUNCTIONS, 2.0) | {"erf": 4.0, "erfc": 4.0, "pow": 4.0, "divide": 0.5},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Enclosure:
    """The exact answer and a radius within which every right answer lies: float64 arrays of one shape."""

    #: The exact answer, rounded to float64.
    exact: Float64
    #: The radius: the largest allowed error of each element.
    allowed: Float64
    #: The exact answer minus `exact`, where float64 is not accurate enough.
    tail: Float64 | None = None
    #: The bound of the errors of all elements together, if each is the error of one sum of products of given numbers.
    joint: JointBound | None = None

    @property
    def nbytes(self) -> int:
        """The memory that its arrays take, in bytes."""
        return sum(each.nbytes for each in (self.exact, self.allowed, self.tail) if each is not None)

    @property
    def largest(self) -> Float64:
        """The largest magnitude of a member."""
        return np.abs(self.exact) + self.allowed

    @property
    def transposed(self) -> Enclosure:
        """The enclosure of the transposed matrix."""
        return Enclosure(
            exact=self.exact.T,
            allowed=self.allowed.T,
            tail=None if self.tail is None else self.tail.T,
            joint=None if self.joint is None else replace(self.joint, unit=self.joint.unit.T),
        )

    def reshape(self, shape: tuple[int, ...]) -> Enclosure:
        """Return the enclosure with its arrays in another shape."""
        return Enclosure(
            exact=self.exact.reshape(shape),
            allowed=self.allowed.reshape(shape),
            tail=None if self.tail is None else self.tail.reshape(shape),
            joint=None if self.joint is None else replace(self.joint, unit=self.joint.unit.reshape(shape)),
        )

    def rounded(self, form: Format) -> Enclosure:
        """Return the enclosure of the members after they are rounded to a format."""
        allowed = self.allowed + form.unit_roundoff * self.largest + form.half_smallest_subnormal
        return Enclosure(exact=self.exact, allowed=allowed, tail=self.tail).overflowed(form)

    def overflowed(self, form: Format) -> Enclosure:
        """Return the enclosure with an infinity for each element whose members all overflow in a format."""
        if float(np.abs(self.exact).max(initial=0.0)) <= form.maximum:
            return self
        # Rounding to nearest overflows from half a unit in the last place beyond the largest number.
        half = math.ldexp(form.unit_roundoff, math.frexp(form.maximum)[1] - 1)
        with np.errstate(invalid="ignore"):
            over = np.isinf(self.exact) | (np.abs(self.exact) - self.allowed >= form.maximum + half)
        exact = np.where(over, np.copysign(np.inf, self.exact), self.exact)
        return Enclosure(exact=exact, allowed=np.where(over, 0.0, self.allowed))

    def error(self, got: Float64) -> Float64:
        """Return |got - exact answer|. If `got` is near, the first difference is exact, and then the tail matters."""
        difference = got - self.exact
        if self.tail is not None:
            difference -= self.tail
        return np.abs(difference, out=difference)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How the implementation under test may round."""

    format: Format
    #: Every product and partial sum is exact in the format, and in float64: a right answer has no error.
    exact: bool
    #: More accurate values than those of float64 replace the exact values: the error of float64 is not added.
    centred: bool = False
    #: The format in which sums are added up, if it is not the accumulator of the format.
    accumulator: Format | None = None
    #: Each product is rounded to the format before it is added to the others.
    rounds_each_product: bool = False
    #: Results are rounded toward zero, and not to nearest.
    rounds_toward_zero: bool = False

    @property
    def sums_in_format(self) -> bool:
        """Whether sums are rounded to nearest in the format itself, so that their errors are those of the results."""
        rounds_otherwise = self.rounds_each_product or self.rounds_toward_zero
        return not self.exact and self.u == self.u_accumulate and not rounds_otherwise

    @property
    def u_result(self) -> float:
        """The largest relative error of a rounded result: toward zero it is a whole unit in the last place."""
        return 2.0 * self.u if self.rounds_toward_zero else self.u

    @property
    def u(self) -> float:
        """Unit roundoff of inputs and results."""
        return 0.0 if self.exact else self.format.unit_roundoff

    @property
    def u_accumulate(self) -> float:
        """Unit roundoff of the format in which sums are added up."""
        if self.exact:
            return 0.0
        return (self.accumulator or FORMATS[self.format.accumulator]).unit_roundoff

    @property
    def u_reference(self) -> float:
        """Unit roundoff of the reference."""
        return 0.0 if self.exact else U64

    @property
    def flushed(self) -> float:
        """
        The largest error of a flush to zero of one operand or product.

        float16 is not flushed: its subnormals are normal numbers of the accumulator, and the conversions keep them
        under all flags (Intel SDM, VCVTPH2PS and VCVTPS2PH).
        """
        return 0.0 if self.exact else FORMATS[self.format.accumulator].smallest_normal

    @property
    def floor(self) -> float:
        """The largest error of one elementwise operation below the normal range: a flush and 2 ulp."""
        return 0.0 if self.exact else self.flushed + 4.0 * self.format.half_smallest_subnormal

    def ulps(self, function: str) -> float:
        """
        Return the relative error that the declared contract of a function allows: n ulp are at most 2 n u.

        A format that is not in the standard is computed in its accumulator and rounded once.
        """
        name = self.format.dtype.name
        if name in DECLARED_ULPS:
            return 2.0 * DECLARED_ULPS[name][function] * self.u
        wide = 2.0 * DECLARED_ULPS[self.format.accumulator][function] * FORMATS[self.format.accumulator].unit_roundoff
        return 0.0 if self.exact else self.u + wide * (1.0 + self.u)

    @property
    def function_error(self) -> float:
        """Relative error of NumPy's float64 functions."""
        return NUMPY_FUNCTION_ERROR * self.u_reference
