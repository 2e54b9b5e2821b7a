"""
What rounding errors may amount to by chance: the constants of the statistical line, from a stated probability.

Assumption: the errors of one element's roundings are mean-independent and bounded (N. J. Higham and T. Mary, "A New
Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41(5), 2019; I. C. F. Ipsen and H. Zhou,
"Probabilistic Error Analysis for Inner Products", SIAM J. Matrix Anal. Appl. 41(4), 2020). It suits data of mixed signs
with many bits, which the `uniform` lane draws; it is not made on data that is given.

A dot product of K terms and a bias has K + 2 roundings at most (products, sums, the result), each off by at most u B
with B = |x||W| + |b|. Their sum is then sub-Gaussian with variance proxy (K + 2)(u B)² (Azuma and Hoeffding). Two tests
follow:

per element: P(|error| > lambda sqrt(K + 2) u B) <= 2 exp(-lambda²/2);

over the N elements of an array, of the root mean square r of error/(u B):
P(r² > (K + 2)(1 + 2 sqrt(t/N) + 2t/N)) <= exp(-t) (D. Hsu, S. M. Kakade and T. Zhang, "A tail inequality for quadratic
forms of subgaussian random vectors", Electron. Commun. Probab. 17, 2012).

The second one has the power against small systematic faults, such as TF32 operands at K = 1024, that no test of single
elements has.
"""

from __future__ import annotations

import math
from typing import Final

#: Probability of one false alarm in a whole run, of each of the two tests.
FALSE_ALARM: Final = 1e-12
#: Elements and arrays a run compares, at most.
ELEMENTS: Final = 1e12
ARRAYS: Final = 1e6
#: Outputs below which the root mean square is not looked at: it would have no power.
FEWEST: Final = 64

LAMBDA: Final = math.sqrt(2.0 * math.log(2.0 * ELEMENTS / FALSE_ALARM))


def roundings(terms: int) -> float:
    """Return f(K): how many u B one element may be off, proven or by chance, whichever is less."""
    return min(terms + 2.0, LAMBDA * math.sqrt(terms + 2.0))


def root_mean_square(terms: int, elements: int) -> float:
    """Return what the root mean square of error/(u B) over so many elements may be."""
    t = math.log(ARRAYS / FALSE_ALARM)
    return math.sqrt((terms + 2.0) * (1.0 + 2.0 * math.sqrt(t / elements) + 2.0 * t / elements))
