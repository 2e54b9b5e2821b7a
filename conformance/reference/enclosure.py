"""
What a right implementation may answer: an exact value with a radius, and the arithmetic that makes the radius.

The common ground of `conformance.reference` and `conformance.reference.activations.basic`. Notation: u is the unit
roundoff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conformance.reference.formats import FORMATS, Format

Float64 = npt.NDArray[np.float64]

#: Unit roundoff of the reference's own arithmetic.
U64: Final = 2.0**-53
#: What NumPy's float64 exp and tanh may be off by, in units of U64; generous: their SIMD forms state 4 ulp.
NUMPY_FUNCTION_ERROR: Final = 16.0

#: What the columns of float64 and float32 have in common, in the table that `DECLARED_ULPS` follows.
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
#: Largest error, in ulp of the result, that the OpenCL specification allows a full-profile device, per format it knows.
#: Its table has no column for bfloat16: there a function is computed in float32 and rounded once (`Arithmetic.ulps`).
DECLARED_ULPS: Final = {
    "float64": _FUNCTIONS | {"divide": 0.5},
    "float32": _FUNCTIONS | {"divide": 2.5},
    "float16": dict.fromkeys(_FUNCTIONS, 2.0) | {"erf": 4.0, "erfc": 4.0, "pow": 4.0, "divide": 0.5},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Enclosure:
    """
    The exact answer and a radius around it within which every right implementation's lies; float64, same shape.

    `tail` is what the exact answer is beyond `exact`, where float64 alone does not hold it well enough. `unit` is u B
    of each element and `terms` their K, where the error is that of one sum of products of given numbers, so that it can
    be judged by chance as well (`conformance.reference.probabilistic_bound`).
    """

    exact: Float64
    allowed: Float64
    tail: Float64 | None = None
    unit: Float64 | None = None
    terms: int = 0

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        return sum(each.nbytes for each in (self.exact, self.allowed, self.tail, self.unit) if each is not None)

    @property
    def largest(self) -> Float64:
        """The largest magnitude any member has."""
        return np.abs(self.exact) + self.allowed

    @property
    def transposed(self) -> Enclosure:
        """The enclosure of the transposed matrix."""
        return Enclosure(
            exact=self.exact.T,
            allowed=self.allowed.T,
            tail=None if self.tail is None else self.tail.T,
            unit=None if self.unit is None else self.unit.T,
            terms=self.terms,
        )

    def reshape(self, shape: tuple[int, ...]) -> Enclosure:
        """The same numbers in another shape."""
        return Enclosure(
            exact=self.exact.reshape(shape),
            allowed=self.allowed.reshape(shape),
            tail=None if self.tail is None else self.tail.reshape(shape),
            unit=None if self.unit is None else self.unit.reshape(shape),
            terms=self.terms,
        )

    def rounded(self, form: Format) -> Enclosure:
        """The enclosure of what members become when they are rounded to another format."""
        allowed = self.allowed + form.unit_roundoff * self.largest + form.half_smallest_subnormal
        return Enclosure(exact=self.exact, allowed=allowed, tail=self.tail).overflowed(form)

    def overflowed(self, form: Format) -> Enclosure:
        """The enclosure in which what every implementation rounds to an infinity of a format is one."""
        if float(np.abs(self.exact).max(initial=0.0)) <= form.maximum:
            return self
        # Rounding to nearest overflows from half a unit in the last place beyond the largest number; float64 has it.
        half = math.ldexp(form.unit_roundoff, math.frexp(form.maximum)[1] - 1)
        with np.errstate(invalid="ignore"):
            over = np.isinf(self.exact) | (np.abs(self.exact) - self.allowed >= form.maximum + half)
        exact = np.where(over, np.copysign(np.inf, self.exact), self.exact)
        return Enclosure(exact=exact, allowed=np.where(over, 0.0, self.allowed))

    def error(self, got: Float64) -> Float64:
        """Return |got - exact answer|; where `got` is near, the first difference is exact and the tail decides."""
        difference = got - self.exact
        if self.tail is not None:
            difference -= self.tail
        return np.abs(difference, out=difference)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """
    How the implementation under test may round: nothing on the exact lane, one format's errors elsewhere.

    With `exact` every product and partial sum is exact in the format (the draw was checked to be so), so that a right
    answer has no error at all; the reference's float64 is then exact too. With `by_chance` rounding errors may be taken
    for independent.
    """

    format: Format
    exact: bool
    by_chance: bool = False
    #: The exact values are replaced by better ones than float64 gives, so that float64's own error is not added.
    centred: bool = False
    #: The format sums are accumulated in, where it is another than the format's own accumulator.
    accumulator: Format | None = None
    #: Each product is rounded to the format before it is added to the others.
    rounds_each_product: bool = False
    #: Results are rounded toward zero, and not to nearest.
    rounds_toward_zero: bool = False

    @property
    def sums_by_chance(self) -> bool:
        """Whether a sum is held to what chance allows: its terms are rounded in the format itself, independently."""
        return self.by_chance and not self.exact and self.u == self.u_accumulate

    @property
    def u(self) -> float:
        """Unit roundoff of inputs and results."""
        return 0.0 if self.exact else self.format.unit_roundoff

    @property
    def u_accumulate(self) -> float:
        """Unit roundoff of the format sums are accumulated in."""
        if self.exact:
            return 0.0
        return (self.accumulator or FORMATS[self.format.accumulator]).unit_roundoff

    @property
    def u_reference(self) -> float:
        """Unit roundoff of the reference itself."""
        return 0.0 if self.exact else U64

    @property
    def flushed(self) -> float:
        """
        What a flush to zero of one operand or product may cost.

        float16 is not flushed: its subnormals are normal numbers of the accumulator, and the conversions keep them
        whatever the flags say (Intel SDM, VCVTPH2PS and VCVTPS2PH).
        """
        return 0.0 if self.exact else FORMATS[self.format.accumulator].smallest_normal

    @property
    def floor(self) -> float:
        """What one elementwise operation may cost below the normal range, where n ulp are 2 n halves of a subnormal."""
        return 0.0 if self.exact else self.flushed + 4.0 * self.format.half_smallest_subnormal

    def ulps(self, function: str) -> float:
        """
        Relative error that the declared contract of a function allows: n ulp are at most 2 n u.

        A format that the standard knows nothing of is computed in its accumulator, and rounded once.
        """
        name = self.format.dtype.name
        if name in DECLARED_ULPS:
            return 2.0 * DECLARED_ULPS[name][function] * self.u
        wide = 2.0 * DECLARED_ULPS[self.format.accumulator][function] * FORMATS[self.format.accumulator].unit_roundoff
        return 0.0 if self.exact else self.u + wide * (1.0 + self.u)

    @property
    def function_error(self) -> float:
        """Relative error of NumPy's own float64 functions."""
        return NUMPY_FUNCTION_ERROR * self.u_reference
