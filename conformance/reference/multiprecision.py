"""
The exact values of a stack and its gradients for float64, which cannot be its own reference.

They are computed in ball arithmetic of 256 bits: python-flint's Arb (F. Johansson, "Arb: efficient arbitrary-precision
midpoint-radius interval arithmetic", IEEE Trans. Computers 66(8), 2017). Each is returned as an unevaluated sum of two
float64, accurate to 106 bits. This module computes no radius, since radii need no more than float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import flint
import numpy as np
import numpy.typing as npt

from conformance.reference.draw import Draw, as_matrix
from conformance.reference.enclosure import Float64

#: Products of two float64 have 106 bits; the rest is for sums over a wide range of exponents, and for functions.
PRECISION: Final = 256

#: A number of Arb, `flint.arb`. python-flint comes without types.
Ball = Any
#: A matrix of Arb, `flint.arb_mat`.
BallMatrix = Any
#: An object array of `Ball`, (P, m).
Balls = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Numbers as `high` + `low`."""

    #: The nearest float64.
    high: Float64
    #: The difference from it, rounded to float64.
    low: Float64


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """Every intermediate value of a stack: for each layer one array."""

    #: The pre-activations, (P, m).
    z: tuple[Split, ...]
    #: The outputs, (P, m).
    y: tuple[Split, ...]
    #: The gradients of the pre-activations, (P, m).
    dz: tuple[Split, ...]
    #: The gradients of the kernels, (d, m).
    dkernel: tuple[Split, ...]
    #: The sums of `dz` over the positions, (1, m), also for a layer without a bias.
    dbias: tuple[Split, ...]
    #: The gradients of the inputs of the layers, (P, d).
    dx: tuple[Split, ...]


def solve(draw: Draw, activations: Sequence[str]) -> Solution:
    """
    Return the exact values for one draw.

    Raises:
        NotImplementedError: this module has no form of an activation.
    """
    missing = sorted({each for each in activations if each not in _ACTIVATIONS})
    if missing:
        raise NotImplementedError(f"float64 has no exact form of {', '.join(missing)}")
    with flint.ctx.workprec(PRECISION):
        return _solve(draw, activations)


def _solve(draw: Draw, activations: Sequence[str]) -> Solution:
    a = _balls(as_matrix(draw.x))
    # Kernels are only factors of products: a matrix takes them as they are, without an object for every number.
    kernels = [_matrix(each) for each in draw.kernels]
    inputs, z, y = [], [], []
    for kernel, bias, activation in zip(kernels, draw.biases, activations, strict=True):
        inputs.append(a)
        z.append(_product(a, kernel) if bias is None else _product(a, kernel) + _balls(bias))
        a = _ACTIVATIONS[activation].forward(z[-1])
        y.append(a)
    da = _balls(as_matrix(draw.dy))
    dz, dkernel, dbias, dx = [], [], [], []
    for layer in reversed(range(len(kernels))):
        dz.append(_ACTIVATIONS[activations[layer]].backward(z[layer], y[layer], da))
        dkernel.append(_product(inputs[layer].T, _as_matrix(dz[-1])))
        dbias.append(_product(_balls(np.ones((1, len(dz[-1])))), _as_matrix(dz[-1])))
        da = _product(dz[-1], kernels[layer].transpose())
        dx.append(da)

    def split(arrays: Iterable[Balls]) -> tuple[Split, ...]:
        return tuple(_split(each) for each in arrays)

    return Solution(
        z=split(z),
        y=split(y),
        dz=split(reversed(dz)),
        dkernel=split(reversed(dkernel)),
        dbias=split(reversed(dbias)),
        dx=split(reversed(dx)),
    )


def _balls(array: npt.NDArray[np.generic]) -> Balls:
    return _each(lambda number: flint.arb(float(number)), array)


def _each(function: Callable[..., Ball], *arrays: npt.NDArray[np.generic]) -> Balls:
    """Return the function of every element, as an object array also if there is none."""
    flat = [function(*elements) for elements in zip(*(each.flat for each in arrays), strict=True)]
    return _shaped(flat, arrays[0].shape)


def _shaped(flat: Sequence[Ball], shape: tuple[int, ...]) -> Balls:
    balls = np.empty(len(flat), object)
    balls[:] = flat
    return balls.reshape(shape)


def _matrix(array: npt.NDArray[np.generic]) -> BallMatrix:
    """Return numbers (K, m) as a matrix, also if there is none."""
    rows = array.astype(np.float64).tolist()
    return flint.arb_mat(*array.shape, [number for row in rows for number in row])


def _as_matrix(balls: Balls) -> BallMatrix:
    return flint.arb_mat(*balls.shape, list(balls.flat))


def _product(left: Balls, right: BallMatrix) -> Balls:
    """Return left (P, K) times the matrix right (K, m)."""
    product = _as_matrix(left) * right
    return _shaped(product.entries(), (left.shape[0], right.ncols()))


def _split(balls: Balls) -> Split:
    # float() of an Arb number rounds to nearest.
    middles: list[Ball] = [each.mid() for each in balls.reshape(-1).tolist()]
    high = [float(each) for each in middles]
    low = [float((middle - each).mid()) for middle, each in zip(middles, high, strict=True)]
    return Split(high=np.array(high).reshape(balls.shape), low=np.array(low).reshape(balls.shape))


@dataclass(frozen=True, slots=True)
class _Activation:
    """y from z, and dz from z, y and dy, all of shape (P, m)."""

    forward: Callable[[Balls], Balls]
    backward: Callable[[Balls, Balls, Balls], Balls]


def _elementwise(function: Callable[[Ball], Ball], slope: Callable[[Ball, Ball], Ball]) -> _Activation:
    """Return the activation with y = function(z), whose derivative is slope(z, y)."""
    return _Activation(
        forward=lambda z: _each(function, z),
        backward=lambda z, y, dy: _each(lambda one, value, upstream: upstream * slope(one, value), z, y, dy),
    )


def _softmax(z: Balls) -> Balls:
    if z.shape[1] == 0:
        return z
    e = _each(lambda one: one.exp(), z)
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _softmax_backward(z: Balls, y: Balls, dy: Balls) -> Balls:
    return np.asarray(y * (dy - (y * dy).sum(axis=1, keepdims=True))) if z.shape[1] else dy


def _log_softmax(z: Balls) -> Balls:
    if z.shape[1] == 0:
        return z
    total = _each(lambda one: one.exp(), z).sum(axis=1, keepdims=True)
    return np.asarray(z - _each(lambda one: one.log(), total))


def _log_softmax_backward(z: Balls, y: Balls, dy: Balls) -> Balls:
    return np.asarray(dy - _softmax(z) * dy.sum(axis=1, keepdims=True)) if z.shape[1] else dy


def _in_pieces(above: Callable[[Ball], Ball], below: Callable[[Ball], Ball]) -> Callable[..., Ball]:
    """Return the function that is `above` for z > 0 and `below` elsewhere; at 0 the radius allows both."""
    return lambda z, *rest: above(z) if z.mid() > 0 else below(z)


def _logistic(z: Ball) -> Ball:
    return 1 / (1 + (-z).exp())


def _normal_cdf(z: Ball) -> Ball:
    return (-z / _number("2").sqrt()).erfc() / 2


def _inner(z: Ball) -> Ball:
    """Return the argument of the tanh in gelu_tanh."""
    return (2 / flint.arb.pi()).sqrt() * (z + _number("0.044715") * z**3)


def _gelu_tanh_slope(z: Ball, y: Ball) -> Ball:
    tanh = _inner(z).tanh()
    inner_slope = (2 / flint.arb.pi()).sqrt() * (1 + 3 * _number("0.044715") * z**2)
    return (1 + tanh) / 2 + z / 2 * (1 - tanh**2) * inner_slope


def _number(decimal: str) -> Ball:
    # Converted when it is used, since Arb rounds it to the precision of that moment.
    return flint.arb(decimal)


def _exponential_linear(scale: str, alpha: str) -> _Activation:
    return _elementwise(
        _in_pieces(lambda z: _number(scale) * z, lambda z: _number(scale) * _number(alpha) * z.expm1()),
        _in_pieces(lambda z: _number(scale), lambda z: _number(scale) * _number(alpha) * z.exp()),
    )


#: The definitions of docs/numerics.md, each with its derivative.
_ACTIVATIONS: Final = {
    "elu": _exponential_linear("1", "1"),
    "exponential": _elementwise(lambda z: z.exp(), lambda z, y: y),
    "gelu": _elementwise(
        lambda z: z * _normal_cdf(z),
        lambda z, y: _normal_cdf(z) + z * (-z * z / 2).exp() / (2 * flint.arb.pi()).sqrt(),
    ),
    "gelu_tanh": _elementwise(lambda z: z / 2 * (1 + _inner(z).tanh()), _gelu_tanh_slope),
    "hard_sigmoid": _elementwise(
        lambda z: (z + 3).max(flint.arb(0)).min(flint.arb(6)) / 6,
        lambda z, y: flint.arb(1) / 6 if abs(z.mid()) < 3 else flint.arb(0),
    ),
    "leaky_relu": _elementwise(
        _in_pieces(lambda z: z, lambda z: z / 100), _in_pieces(lambda z: flint.arb(1), lambda z: flint.arb(1) / 100)
    ),
    "linear": _elementwise(lambda z: z, lambda z, y: flint.arb(1)),
    "log_softmax": _Activation(_log_softmax, _log_softmax_backward),
    "relu": _elementwise(
        _in_pieces(lambda z: z, lambda z: flint.arb(0)), _in_pieces(lambda z: flint.arb(1), lambda z: flint.arb(0))
    ),
    "selu": _exponential_linear("1.0507009873554804934193349852946", "1.6732632423543772848170429916717"),
    "sigmoid": _elementwise(_logistic, lambda z, y: y * (1 - y)),
    "silu": _elementwise(lambda z: z * _logistic(z), lambda z, y: _logistic(z) * (1 + z * _logistic(-z))),
    "softmax": _Activation(_softmax, _softmax_backward),
    "softplus": _elementwise(lambda z: z.exp().log1p(), lambda z, y: _logistic(z)),
    "softsign": _elementwise(lambda z: z / (1 + abs(z)), lambda z, y: 1 / (1 + abs(z)) ** 2),
    "tanh": _elementwise(lambda z: z.tanh(), lambda z, y: 1 - y * y),
}
