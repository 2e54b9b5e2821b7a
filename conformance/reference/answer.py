"""
The exact answer to a case, its gradients, and the largest error of each element that is allowed.

A value and its enclosure pass through a stack together. An `Enclosure` is the exact answer and a radius within which
every right implementation lies; the error of the reference itself is part of the radius. The exact answer is that of
float64. If float64 is the dtype under test it comes from `conformance.reference.multiprecision`. Each layer gets the
enclosure of its input, so that an early error is followed to the end and not only to first order. This module imports
no adapter and gets no answer of an implementation.

Notation: u is the unit roundoff, K the number of terms of a dot product, p = x·W and y = p + b the exact results,
B = |x||W| + |b|.

Sources: for products `conformance.reference.product`; for exp, tanh and division, whose errors no theory bounds, the
table "ULP Values for Math Instructions - Full Profile" of the OpenCL specification
(`conformance.reference.enclosure.DECLARED_ULPS`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.reference.activations.base import Activation
from conformance.reference.deviation import NO_DEVIATION, ActivationDeviation, Deviation, operands, stays_exact
from conformance.reference.draw import Draw, as_matrix
from conformance.reference.enclosure import U64, Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.formulas import activation_of
from conformance.reference.product import exact_enclosure, product, with_nan_rows
from conformance.reference.randomness import Randomness, of_features, of_positions, of_units
from conformance.reference.sum_bounds import SHORTEST_STATISTICAL

if TYPE_CHECKING:
    from conformance.reference.multiprecision import Solution, Split

#: (dkernel of shape (d, m), dbias of shape (m,) or None) of one layer.
WeightGradients = tuple[Enclosure, Enclosure | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The answer to one draw of a case."""

    #: The output, of shape (*leading, m).
    y: Enclosure
    #: The gradient of the input, of the shape of x.
    dx: Enclosure
    #: The gradients of the weights of each layer.
    layers: tuple[WeightGradients, ...]
    #: The class of the bound: `exact`, `proven`, `statistical` where a sum of the lane `uniform` is so long that the
    #: statistical bound can be the smaller one, or `declared` where the contract of a function enters.
    line: str

    @property
    def nbytes(self) -> int:
        """The memory that its numbers take, in bytes."""
        parts = (self.y, self.dx, *(each for pair in self.layers for each in pair if each is not None))
        return sum(each.nbytes for each in parts)


@np.errstate(over="ignore", invalid="ignore")
def answer(
    draw: Draw, activations: Sequence[str], dtype: str, deviations: Sequence[Deviation] | None = None
) -> Reference:
    """
    Return the exact output and gradients of a stack for one draw, with the error allowed to each element.

    - `deviations`: for each layer what is computed instead of the rule; None is the rule itself.

    Raises:
        NotImplementedError: float64 has no exact form of an activation.
    """
    layers = _layers(draw, activations, dtype, tuple(deviations or [NO_DEVIATION] * len(activations)))
    used = draw if deviations is None else operands(draw, tuple(deviations))
    centres = None
    if layers[0].is_centred and not draw.denormal and _is_finite(draw):
        # Imported here, since a process that lists, collects or shows cells needs no arithmetic of 256 bits.
        from conformance.reference.multiprecision import solve

        centres = solve(draw, activations)
    forward = _forward(used, layers, centres)
    gradients, dx = _backward(used, layers, forward, centres)
    y = forward[-1].y
    reference = Reference(
        y=y.reshape((*draw.x.shape[:-1], y.exact.shape[-1])),
        dx=dx.reshape(draw.x.shape),
        layers=gradients,
        line=_line(draw, layers),
    )
    return _with_flushes(reference, draw, FORMATS[dtype].smallest_normal) if draw.denormal else reference


@dataclass(frozen=True, kw_only=True, slots=True)
class _LayerValues:
    """What one layer computes in the forward pass: its input a (P, d), pre-activation z and output y (P, m)."""

    a: Enclosure
    z: Enclosure
    y: Enclosure


def _forward(draw: Draw, layers: Sequence[_Layer], centres: Solution | None) -> tuple[_LayerValues, ...]:
    """Return the values of each layer. `centres` has better centres for them."""
    a = exact_enclosure(as_matrix(draw.x))
    values = []
    for index, (kernel, bias, layer) in enumerate(zip(draw.kernels, draw.biases, layers, strict=True)):
        weights = exact_enclosure(kernel), None if bias is None else exact_enclosure(bias)
        z = layer.pre_activation(a, *weights, of_features(draw, index))
        z = _centred(z, centres.z[index] if centres else None)
        y = _centred(layer.activation.forward(layer.arithmetic, z), centres.y[index] if centres else None)
        y = layer.widened(y)
        values.append(_LayerValues(a=a, z=z, y=y))
        a = y
    return tuple(values)


def _backward(
    draw: Draw, layers: Sequence[_Layer], forward: Sequence[_LayerValues], centres: Solution | None
) -> tuple[tuple[WeightGradients, ...], Enclosure]:
    """Return the gradients of the weights of each layer, and that of the input of the stack (P, d)."""
    da = exact_enclosure(as_matrix(draw.dy))
    # Of each position of a sample on its own, where the gradient of the kernel is added up so.
    positions = math.prod(draw.x.shape[1:-1])
    names = [layer.function for layer in layers]
    over_positions = of_positions(draw, names)
    gradients: list[WeightGradients] = []
    for index in reversed(range(len(layers))):
        layer, values, kernel = layers[index], forward[index], exact_enclosure(draw.kernels[index])
        dz = layer.activation.backward(layer.arithmetic, values.z, values.y, da)
        dz = _centred(dz, centres.dz[index] if centres else None)
        factor = layer.operand(dz)
        dkernel = layer.kernel_gradient(values.a, factor, positions, over_positions)
        dkernel = _centred(dkernel, centres.dkernel[index] if centres else None)
        dbias = None
        if layer.use_bias:
            ones = exact_enclosure(np.ones((1, dz.exact.shape[0])))
            dbias = product(layer.sums("db"), ones, dz, None, over_positions)
            dbias = _centred(dbias, centres.dbias[index] if centres else None).reshape((-1,))
        gradients.insert(0, (dkernel, dbias))
        da = product(layer.sums("dx"), factor, kernel.transposed, None, of_units(draw, names, index))
        da = layer.padded(da, factor)
        da = _centred(da, centres.dx[index] if centres else None)
    return tuple(gradients), da


def _line(draw: Draw, layers: Sequence[_Layer]) -> str:
    """Return the class of the bound: `exact`, `proven`, `statistical` or `declared`."""
    if layers[0].arithmetic.exact and not draw.denormal:
        return "exact"
    if any(layer.activation.declared for layer in layers):
        return "declared"
    longest = max(draw.dy.shape[-1], as_matrix(draw.x).shape[0], *(each.shape[0] for each in draw.kernels))
    return "statistical" if draw.half_widths is not None and longest >= SHORTEST_STATISTICAL else "proven"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    """What one layer computes with, as it deviates from the rule."""

    #: The name of the activation.
    function: str
    activation: Activation
    use_bias: bool
    #: The arithmetic of the bias and the activation.
    arithmetic: Arithmetic
    #: The arithmetic of the product x·W.
    product: Arithmetic
    deviation: Deviation

    @property
    def is_centred(self) -> bool:
        """Whether the exact answer is that of the rule, and has to be more accurate than float64."""
        return self.arithmetic.centred and not self.arithmetic.exact

    def sums(self, result: str) -> Arithmetic:
        """Return the arithmetic of the sums of a result: output, dx, dW or db."""
        # The gradient of the bias is a sum, and no product of operands.
        base = self.arithmetic if result == "db" else self.product
        accumulator = self.deviation.sums_in.get(result)
        return replace(
            base,
            accumulator=base.accumulator if accumulator is None else FORMATS[accumulator],
            rounds_each_product=result in self.deviation.rounds_each_product,
            rounds_toward_zero=result in self.deviation.rounds_toward_zero,
        )

    def operand(self, numbers: Enclosure) -> Enclosure:
        """Return an operand of a product in the format of products."""
        form = self.product.format
        if form == self.arithmetic.format:
            return numbers
        if numbers.allowed.any():
            return numbers.rounded(form)
        return exact_enclosure(numbers.exact.astype(form.dtype))

    def pre_activation(
        self, x: Enclosure, kernel: Enclosure, bias: Enclosure | None, randomness: Randomness
    ) -> Enclosure:
        """Return x·W + b."""
        adds_bias_later = self.product.format != self.arithmetic.format
        z = product(self.sums("output"), self.operand(x), kernel, None if adds_bias_later else bias, randomness)
        if self.deviation.multiplies_padding == "next_position":
            z = with_nan_rows(z, np.append(~np.isfinite(x.exact[1:]).all(axis=1), False))
        z = self.padded(z, x)
        if not adds_bias_later or bias is None:
            return z
        y = z.exact + bias.exact
        allowed = (
            z.allowed + self.arithmetic.u * (np.abs(y) + z.allowed) + 4.0 * self.arithmetic.u_reference * np.abs(y)
        )
        return Enclosure(exact=y, allowed=allowed)

    def kernel_gradient(self, a: Enclosure, dz: Enclosure, positions: int, randomness: Randomness) -> Enclosure:
        """Return aᵀ·dz, where `positions` is the number of positions of a sample."""
        columns = self.operand(a).transposed
        sums = positions if self.deviation.multiplies_padding == "last_sample" else 1
        return self.padded(product(self.sums("dW"), columns, dz, None, randomness), columns, sums)

    def padded(self, result: Enclosure, left: Enclosure, sums: int = 1) -> Enclosure:
        """
        Return a product as it is if the last of an odd number of terms is also multiplied by 0.

        - `left`: the left operand of the product.
        - `sums`: the number of sums that are added up; their terms follow one another in turn.
        """
        if self.deviation.multiplies_padding not in ("last_term", "last_sample"):
            return result
        if not sums or left.exact.shape[1] // sums % 2 == 0:
            return result
        return with_nan_rows(result, np.asarray(~np.isfinite(left.exact[:, -sums:]).all(axis=1)))

    def widened(self, y: Enclosure) -> Enclosure:
        """Return the value of the activation with the further error that the deviation declares."""
        error = self.deviation.activation.error
        if not error:
            return y
        u = self.arithmetic.format.unit_roundoff
        further = u * (error.get("absolute", 0.0) + error.get("relative", 0.0) * np.abs(y.exact))
        return Enclosure(exact=y.exact, allowed=y.allowed + further, tail=y.tail)


def _activation(name: str, deviation: ActivationDeviation) -> Activation:
    return activation_of(name, deviation.formula, deviation.constants, deviation.functions_in)


def _layers(
    draw: Draw, activations: Sequence[str], dtype: str, deviations: tuple[Deviation, ...]
) -> tuple[_Layer, ...]:
    """Return the arithmetic of every layer."""
    centred = dtype == "float64" and all(each.widens_only for each in deviations)
    exact = draw.exact
    if any(each is not NO_DEVIATION for each in deviations):
        exact = stays_exact(operands(draw, deviations), tuple(activations), dtype, deviations)

    def arithmetic(name: str) -> Arithmetic:
        return Arithmetic(FORMATS[name], exact, centred=centred)

    return tuple(
        _Layer(
            function=activation,
            activation=_activation(activation, each.activation),
            use_bias=bias is not None,
            arithmetic=arithmetic(each.format_of(dtype, product=False)),
            product=arithmetic(each.format_of(dtype, product=True)),
            deviation=each,
        )
        for activation, bias, each in zip(activations, draw.biases, deviations, strict=True)
    )


def _is_finite(draw: Draw) -> bool:
    arrays = (draw.x, draw.dy, *draw.kernels, *(each for each in draw.biases if each is not None))
    return all(bool(np.isfinite(each.astype(np.float64)).all()) for each in arrays)


def _with_flushes(unflushed: Reference, draw: Draw, smallest_normal: float) -> Reference:
    """
    Return the reference that allows everything from 0 to the answer without a flush to zero.

    All terms are positive, so that a flush of a term or a result makes the answer smaller and never negative. A number
    beyond the reach of terms that could be flushed consists of other terms and has to be right. Halves are exact:
    results are even multiples of the smallest subnormal, or too large for it to matter.
    """
    reach = smallest_normal * _reach(draw)

    def widened(enclosure: Enclosure) -> Enclosure:
        half = np.where(enclosure.exact > reach, 0.0, enclosure.exact / 2.0)
        return Enclosure(exact=enclosure.exact - half, allowed=enclosure.allowed + half)

    layers = tuple((widened(kernel), None if bias is None else widened(bias)) for kernel, bias in unflushed.layers)
    return replace(unflushed, y=widened(unflushed.y), dx=widened(unflushed.dx), layers=layers)


def _reach(draw: Draw) -> float:
    """
    Return how many times the smallest normal number a result with a term that could be flushed is at most.

    The largest number of an operand is at most `spread` times the smallest one. So if one number could be flushed, all
    of that operand are near it, and so is a product of two. The factors and the number of terms are bounded over the
    stack.
    """
    numbers = [np.abs(each.astype(np.float64)).ravel() for each in (draw.x, draw.dy, *draw.kernels)]
    numbers = [each[each > 0.0] for each in numbers if each.any()]
    spread = max((float(each.max() / each.min()) for each in numbers), default=1.0)
    reach = spread**2 * max(math.prod(draw.x.shape[:-1]), 1)
    for each in numbers:
        reach *= max(float(each.max()), 1.0)
    for features, units in (kernel.shape for kernel in draw.kernels):
        reach *= (features + 1.0) * (units + 1.0)
    return reach


def _centred(enclosure: Enclosure, centre: Split | None) -> Enclosure:
    """
    Return the enclosure around a more accurate centre, or as it is if there is none.

    The radius was computed from numbers with a relative error of U64 each, in terms that are all positive; inflating it
    by a few U64 keeps it a bound. The error of the old centre is gone, and its share of the radius is slack.
    """
    if centre is None:
        return enclosure
    allowed = enclosure.allowed * (1.0 + 16.0 * U64)
    return replace(enclosure, exact=centre.high, allowed=allowed, tail=centre.low)
