"""
The floating-point formats that a case can have: unit roundoff, significand, range and accumulator.

All numbers are constants of IEEE 754 and bfloat16, except the accumulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import ml_dtypes
import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A binary floating-point format."""

    dtype: np.dtype[np.generic]
    #: The precision in bits, the implicit one included.
    significand: int
    #: The exponent of the smallest normal number, 2**emin.
    emin: int
    #: The largest finite number.
    maximum: float
    #: The name of the format in which an implementation adds up sums.
    accumulator: str

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next number: the relative error of one rounding to nearest."""
        return 2.0**-self.significand

    @property
    def smallest_normal(self) -> float:
        """The smallest positive normal number. Smaller numbers may be flushed to zero."""
        return 2.0**self.emin

    @property
    def half_smallest_subnormal(self) -> float:
        """The largest error of one rounding to nearest below the normal range."""
        return 2.0 ** (self.emin - self.significand)


FORMATS: Final = {
    "float64": Format(
        dtype=np.dtype(np.float64),
        significand=53,
        emin=-1022,
        maximum=float(np.finfo(np.float64).max),
        accumulator="float64",
    ),
    "float32": Format(
        dtype=np.dtype(np.float32),
        significand=24,
        emin=-126,
        maximum=float(np.finfo(np.float32).max),
        accumulator="float32",
    ),
    "float16": Format(dtype=np.dtype(np.float16), significand=11, emin=-14, maximum=65504.0, accumulator="float32"),
    "bfloat16": Format(
        dtype=np.dtype(ml_dtypes.bfloat16),
        significand=8,
        emin=-126,
        maximum=float(ml_dtypes.finfo(ml_dtypes.bfloat16).max),
        accumulator="float32",
    ),
}


def dtype_of(name: str) -> np.dtype[np.generic]:
    """Return the NumPy dtype of a format or of an integer type by its name."""
    return FORMATS[name].dtype if name in FORMATS else np.dtype(name)
