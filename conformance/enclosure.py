"""
What a right implementation may answer: an exact value with a radius, and the arithmetic that makes the radius.

The common ground of `conformance.reference` and `conformance.activations`. Notation: u is the unit roundoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conformance.formats import FORMATS, Format

Float64 = npt.NDArray[np.float64]

#: Unit roundoff of the reference's own arithmetic.
U64: Final = 2.0**-53
#: What NumPy's float64 exp and tanh may be off by, in units of U64; generous: their SIMD forms state 4 ulp.
NUMPY_FUNCTION_ERROR: Final = 16.0

#: Largest error, in ulp of the result, that the OpenCL specification allows a full-profile device in single precision.
DECLARED_ULPS: Final = {"exp": 3.0, "tanh": 5.0, "divide": 2.5}


@dataclass(frozen=True, kw_only=True, slots=True)
class Enclosure:
    """The exact answer and a radius around it within which every right implementation's lies; float64, same shape."""

    exact: Float64
    allowed: Float64

    @property
    def largest(self) -> Float64:
        """The largest magnitude any member has."""
        return np.abs(self.exact) + self.allowed

    @property
    def transposed(self) -> Enclosure:
        """The enclosure of the transposed matrix."""
        return Enclosure(exact=self.exact.T, allowed=self.allowed.T)

    def reshape(self, shape: tuple[int, ...]) -> Enclosure:
        """The same numbers in another shape."""
        return Enclosure(exact=self.exact.reshape(shape), allowed=self.allowed.reshape(shape))


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """
    How the implementation under test may round: nothing on the exact lane, one format's errors elsewhere.

    With `exact` every product and partial sum is exact in the format (the draw was checked to be so), so that a right
    answer has no error at all; the reference's float64 is then exact too.
    """

    format: Format
    exact: bool

    @property
    def u(self) -> float:
        """Unit roundoff of inputs and results."""
        return 0.0 if self.exact else self.format.unit_roundoff

    @property
    def u_accumulate(self) -> float:
        """Unit roundoff of the format sums are accumulated in."""
        return 0.0 if self.exact else FORMATS[self.format.accumulator].unit_roundoff

    @property
    def u_reference(self) -> float:
        """Unit roundoff of the reference itself."""
        return 0.0 if self.exact else U64

    @property
    def flushed(self) -> float:
        """What a flush to zero of one operand, product or result may cost."""
        return 0.0 if self.exact else self.format.smallest_normal

    def ulps(self, function: str) -> float:
        """Relative error that the declared contract of a function allows: n ulp are at most 2 n u."""
        return 2.0 * DECLARED_ULPS[function] * self.u

    @property
    def function_error(self) -> float:
        """Relative error of NumPy's own float64 functions."""
        return NUMPY_FUNCTION_ERROR * self.u_reference
