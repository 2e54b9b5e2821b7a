"""
The exact answer to a case, its gradients, and the error a right implementation may make, element by element.

A value and its enclosure travel together through a stack: an `Enclosure` is the exact answer (to the precision of
float64) and a radius within which every right implementation must lie, the reference's own error included. Each layer
takes the enclosure of its input, so that an error made early is followed to the end and never treated to first order.
This module knows no adapter and never sees what an implementation returned.

Notation: u is the unit roundoff, K the number of terms of a dot product, p = x·W and y = p + b the exact results,
B = |x||W| + |b|.

Sources: for the sum of products in any order, fused or not, |error| <= n u sum|x||w| without a restriction on n:
C.-P. Jeannerod and S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J. Matrix
Anal. Appl. 34(2), 2013. For exp, tanh and division, which no theory bounds: the OpenCL specification's table
"ULP Values for Math Instructions - Full Profile", Float32 column (`DECLARED_ULPS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conformance.formats import FORMATS, Format
from conformance.values import Draw, as_matrix

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """
    The answer to one draw of a case.

    `y` has shape (*leading, m), `dx` the shape of x; `layers` holds (dkernel of shape (d, m), dbias of shape (m,) or
    None) for each layer. `line` is the class of the bound: `exact`, `proven`, or `declared` where an activation's
    contract enters.
    """

    y: Enclosure
    dx: Enclosure
    layers: tuple[tuple[Enclosure, Enclosure | None], ...]
    line: str


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


def answer(draw: Draw, activations: Sequence[str], dtype: str) -> Reference:
    """
    Return the exact output and gradients of a stack for one draw, with the error allowed to each element.

    Raises:
        NotImplementedError: for float64, whose reference needs more precision than float64 has.
    """
    if dtype == "float64" and not draw.exact:
        raise NotImplementedError("float64 needs a reference beyond float64")
    arithmetic = Arithmetic(FORMATS[dtype], draw.exact)
    a = _exactly(as_matrix(draw.x))
    inputs, pre, post = [], [], []
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        inputs.append(a)
        z = _dense(arithmetic, a, _exactly(kernel), None if bias is None else _exactly(bias))
        a = _ACTIVATIONS[activation].forward(arithmetic, z)
        pre.append(z)
        post.append(a)
    da = _exactly(as_matrix(draw.dy))
    layers: list[tuple[Enclosure, Enclosure | None]] = []
    for index in reversed(range(len(activations))):
        dz = _ACTIVATIONS[activations[index]].backward(arithmetic, pre[index], post[index], da)
        dkernel = _product(arithmetic, inputs[index].transposed, dz)
        ones = _exactly(np.ones((1, dz.exact.shape[0])))
        dbias = None if draw.biases[index] is None else _product(arithmetic, ones, dz).reshape((-1,))
        layers.insert(0, (dkernel, dbias))
        da = _product(arithmetic, dz, _exactly(draw.kernels[index]).transposed)
    declared = any(_ACTIVATIONS[each].declared for each in activations)
    return Reference(
        y=a.reshape((*draw.x.shape[:-1], a.exact.shape[-1])),
        dx=da.reshape(draw.x.shape),
        layers=tuple(layers),
        line="exact" if draw.exact else "declared" if declared else "proven",
    )


def _exactly(array: npt.NDArray[np.generic]) -> Enclosure:
    """Return the enclosure of numbers that are given and therefore have no error."""
    exact = array.astype(np.float64)
    return Enclosure(exact=exact, allowed=np.zeros_like(exact))


def _dense(arithmetic: Arithmetic, x: Enclosure, kernel: Enclosure, bias: Enclosure | None) -> Enclosure:
    """Return the enclosure of x·W + b."""
    return _product(arithmetic, x, kernel, bias)


def _product(arithmetic: Arithmetic, left: Enclosure, right: Enclosure, bias: Enclosure | None = None) -> Enclosure:
    """
    Return the enclosure of left (P, K) times right (K, m), plus a bias (m,).

    The implementation multiplies members of both enclosures, which differ from the exact operands by their radii (first
    two terms), and rounds:

        |got - y| <= [ u_out |y| + e u_out |p| + (K+2) u_acc B ] (1 + u_out) + floor

    (K+2) u_acc B: K products, K-1 sums and the bias in any order, at most (K+1) u_acc B after Jeannerod and Rump, who
    count the bias as one more product by 1; the last unit covers forming B and y from members. e u_out |p|: the product
    rounded to the output format before the bias is added, which for float32 is one of the roundings already counted.
    floor: each operand, product and the result may be flushed to zero, and the result rounded below the normal range.
    """
    terms = left.exact.shape[1]
    p = left.exact @ right.exact
    y = p if bias is None else p + bias.exact
    magnitude = left.largest @ right.largest
    if bias is not None:
        magnitude = magnitude + np.abs(bias.exact)
    allowed = left.allowed @ right.largest + np.abs(left.exact) @ right.allowed
    if not arithmetic.exact and terms:  # Of no terms there is nothing to round: exactly zero, or exactly the bias.
        u = arithmetic.u
        product_rounded = u * (np.abs(p) + allowed) if bias is not None and u > arithmetic.u_accumulate else 0.0
        rounding = u * (np.abs(y) + allowed) + product_rounded + (terms + 2) * arithmetic.u_accumulate * magnitude
        floor = arithmetic.flushed * (terms + 1 + _flushable(arithmetic, left, right))
        floor = floor + 2.0 * arithmetic.format.half_smallest_subnormal
        own = (terms + 2) * U64 * magnitude
        # The radius itself was summed in float64: inflating it by its own worst relative error keeps it a bound.
        allowed = (allowed + rounding * (1.0 + u) + floor + own) * (1.0 + 4.0 * (terms + 8) * U64)
    return Enclosure(exact=y, allowed=allowed)


def _flushable(arithmetic: Arithmetic, left: Enclosure, right: Enclosure) -> Float64 | float:
    """Return the sum of |x| over subnormal w, plus the sum of |w| over subnormal x, for each element of the product."""
    subnormal_left, subnormal_right = _subnormal(arithmetic, left), _subnormal(arithmetic, right)
    total: Float64 | float = 0.0
    if subnormal_left.any():
        total = total + subnormal_left.astype(np.float64) @ right.largest
    if subnormal_right.any():
        total = total + left.largest @ subnormal_right.astype(np.float64)
    return total


def _subnormal(arithmetic: Arithmetic, numbers: Enclosure) -> npt.NDArray[np.bool_]:
    """Return where some member other than zero lies below the normal range."""
    return (np.abs(numbers.exact) - numbers.allowed < arithmetic.flushed) & (numbers.largest > 0.0)


class _Activation:
    """
    A function applied to pre-activations, with its derivative, both on enclosures.

    `declared` says that the bound rests on a contract of exp, tanh or division and not on a proof.
    """

    declared: bool = True

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        """Return the enclosure of the function over that of its argument, both (P, m)."""
        raise NotImplementedError

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        """Return the enclosure of the gradient with respect to z, from that with respect to y."""
        raise NotImplementedError


class _Linear(_Activation):
    """The identity: no operation, no error."""

    declared = False

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return z

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return dy


class _Relu(_Activation):
    """
    max(z, 0): exact, and never farther from the exact result than z from its own.

    The derivative is 0 or 1; where |z| <= its radius, a right implementation may be on either side of the kink, and the
    hull of both sides is allowed.
    """

    declared = False

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        exact = np.maximum(z.exact, 0.0)
        above, below = np.maximum(z.exact + z.allowed, 0.0), np.maximum(z.exact - z.allowed, 0.0)
        return Enclosure(exact=exact, allowed=np.maximum(above - exact, exact - below))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        exact = np.where(z.exact > 0.0, dy.exact, 0.0)
        on_kink = np.abs(z.exact) <= z.allowed
        return Enclosure(exact=exact, allowed=np.where(on_kink, dy.largest, np.where(z.exact > 0.0, dy.allowed, 0.0)))


class _Tanh(_Activation):
    """
    tanh, monotone: the enclosure of z is mapped at its ends, and the contract of tanh (5 ulp <= 10 u |y|) added.

    The derivative is formed from the implementation's own rounded y, as 1 - y² or (1 - y)(1 + y): its error is relative
    to 1 and not to itself. With y' = y + r, |(1 - y'²) - (1 - y²)| <= 2|y||r| + r²; the square, the difference, the
    sums of the factored form and the product by dy are at most four roundings of magnitudes up to 1 + y².
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return _monotone(np.tanh, arithmetic, z, arithmetic.ulps("tanh"))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        slope = 1.0 - y.exact**2
        error = 2.0 * np.abs(y.exact) * y.allowed + y.allowed**2
        error = error + 4.0 * (arithmetic.u + arithmetic.u_reference) * (1.0 + y.largest**2)
        return _scaled(arithmetic, dy, Enclosure(exact=slope, allowed=error))


class _Sigmoid(_Activation):
    """
    1 / (1 + exp(-z)), monotone: the enclosure of z is mapped at its ends, and the error of the formula added.

    With exp within 3 ulp the sum 1 + e is off by a relative 6u e/(1+e) + u, and the quotient by 2.5 ulp more: at most
    (6 + 1 + 5) u y. The derivative y (1 - y) is formed from the rounded y: with y' = y + r it is off by at most
    |1 - 2y||r| + r², and by four roundings of itself.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        relative = arithmetic.ulps("exp") + arithmetic.u + arithmetic.ulps("divide")
        return _monotone(_logistic, arithmetic, z, relative)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        slope = y.exact * (1.0 - y.exact)
        error = np.abs(1.0 - 2.0 * y.exact) * y.allowed + y.allowed**2
        error = error + 4.0 * (arithmetic.u + arithmetic.u_reference) * (slope + error)
        return _scaled(arithmetic, dy, Enclosure(exact=slope, allowed=error))


class _Softmax(_Activation):
    """
    exp(z_i - max z) / sum_j exp(z_j - max z), over the last axis.

    A change of z_i by at most r_i multiplies s_i by at most exp(r_i + max_j r_j). Rounding z_i - max z changes the
    argument of exp by at most u D_i, D_i = max z - z_i, in the numerator, and by at most u max D in the sum; each exp
    is off by 3 ulp <= 6u, the sum of n terms by (n-1) u, the quotient (or reciprocal and product) by 2.5 ulp + u <= 6u.
    All are relative and add in the exponent: s_i' / s_i lies within exp(±(r_i + max r + u (D_i + max D + n + 17))).

    The gradient s_i (dy_i - g), g = sum_j s_j dy_j, is formed from the rounded s, in this form or as s_i dy_i - s_i g:
    the products and sums are followed with n + 1 roundings for g and four for the rest, relative to s_i (|dy_i| + |g|).
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        if z.exact.shape[-1] == 0:
            return z
        top = z.exact.max(axis=-1, keepdims=True)
        e = np.exp(z.exact - top)
        exact = e / e.sum(axis=-1, keepdims=True)
        radius = z.allowed + z.allowed.max(axis=-1, keepdims=True)
        distance = (top - z.exact) + radius
        units = z.exact.shape[-1]
        spread = distance + distance.max(axis=-1, keepdims=True)
        exponent = (
            radius + (arithmetic.u + arithmetic.u_reference) * (spread + units + 17.0) + arithmetic.function_error
        )
        allowed = exact * np.expm1(exponent) * (1.0 + 16.0 * U64) + 3.0 * arithmetic.flushed
        return Enclosure(exact=exact, allowed=allowed)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        u = arithmetic.u + arithmetic.u_reference
        units = z.exact.shape[-1]
        g = (y.exact * dy.exact).sum(axis=-1, keepdims=True)
        magnitude = (y.largest * dy.largest).sum(axis=-1, keepdims=True)
        g_error = (y.allowed * dy.largest + y.exact * dy.allowed).sum(axis=-1, keepdims=True)
        g_error = g_error + (units + 1) * u * magnitude
        difference, difference_error = dy.exact - g, dy.allowed + g_error
        exact = y.exact * difference
        allowed = y.allowed * (np.abs(difference) + difference_error) + y.exact * difference_error
        allowed = allowed + 4.0 * u * y.largest * (dy.largest + np.abs(g) + g_error)
        return Enclosure(exact=exact, allowed=allowed * (1.0 + 32.0 * U64) + (units + 3) * arithmetic.flushed)


def _logistic(z: Float64) -> Float64:
    """Return 1 / (1 + exp(-z)) without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)


def _monotone(
    function: Callable[[Float64], Float64], arithmetic: Arithmetic, z: Enclosure, relative: float
) -> Enclosure:
    """Return the enclosure of a growing function whose implementation is within `relative` of the exact value."""
    exact, above, below = function(z.exact), function(z.exact + z.allowed), function(z.exact - z.allowed)
    reach = np.maximum(above - exact, exact - below)
    largest = np.maximum(np.abs(above), np.abs(below))
    allowed = reach + (relative + 3.0 * arithmetic.function_error) * largest + 2.0 * arithmetic.flushed
    return Enclosure(exact=exact, allowed=allowed)


def _scaled(arithmetic: Arithmetic, dy: Enclosure, slope: Enclosure) -> Enclosure:
    """Return the enclosure of dy times an elementwise derivative, up to two roundings."""
    u = arithmetic.u + arithmetic.u_reference
    allowed = np.abs(dy.exact) * slope.allowed + dy.allowed * slope.largest + 2.0 * u * dy.largest * slope.largest
    return Enclosure(exact=dy.exact * slope.exact, allowed=allowed * (1.0 + 16.0 * U64) + 2.0 * arithmetic.flushed)


_ACTIVATIONS: Final[dict[str, _Activation]] = {
    "linear": _Linear(),
    "relu": _Relu(),
    "sigmoid": _Sigmoid(),
    "softmax": _Softmax(),
    "tanh": _Tanh(),
}
