"""
The exact answer to a case, its gradients, and the error a right implementation may make, element by element.

A value and its enclosure travel together through a stack: an `Enclosure` is the exact answer (to the precision of
float64, and beyond it from `conformance.reference.multiprecision` where float64 is what is tested) and a radius within
which every right implementation must lie, the reference's own error included. Each layer takes the enclosure of its
input, so that an error made early is followed to the end and never treated to first order. This module knows no adapter
and never sees what an implementation returned.

Notation: u is the unit roundoff, K the number of terms of a dot product, p = x·W and y = p + b the exact results,
B = |x||W| + |b|.

Sources: for products, `conformance.reference.product`. For exp, tanh and division, which no theory bounds: the OpenCL
specification's table "ULP Values for Math Instructions - Full Profile"
(`conformance.reference.enclosure.DECLARED_ULPS`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.reference.activations.base import Activation
from conformance.reference.deviation import NO_DEVIATION, Deviation, operands, stays_exact
from conformance.reference.draw import Draw, as_matrix
from conformance.reference.enclosure import U64, Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.formulas import activation_of
from conformance.reference.probabilistic_bound import roundings
from conformance.reference.product import exactly, not_a_number, product

if TYPE_CHECKING:
    from conformance.reference.multiprecision import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """
    The answer to one draw of a case.

    `y` has shape (*leading, m), `dx` the shape of x; `layers` holds (dkernel of shape (d, m), dbias of shape (m,) or
    None) for each layer. `line` is the class of the bound: `exact`, `proven`,
    `statistical` where some sum is so long that chance allows less than proof, or `declared` where a contract enters.
    """

    y: Enclosure
    dx: Enclosure
    layers: tuple[tuple[Enclosure, Enclosure | None], ...]
    line: str

    @property
    def nbytes(self) -> int:
        """How much memory its numbers take."""
        parts = (self.y, self.dx, *(each for pair in self.layers for each in pair if each is not None))
        return sum(each.nbytes for each in parts)


@np.errstate(over="ignore", invalid="ignore")
def answer(
    draw: Draw, activations: Sequence[str], dtype: str, deviations: Sequence[Deviation] | None = None
) -> Reference:
    """
    Return the exact output and gradients of a stack for one draw, with the error allowed to each element.

    `deviations` says, layer by layer, what is computed instead of the rule; None is the rule itself.

    Raises:
        NotImplementedError: float64 has no exact form of an activation.
    """
    layers = _layers(draw, activations, dtype, tuple(deviations or [NO_DEVIATION] * len(activations)))
    given = draw if deviations is None else operands(draw, tuple(deviations))
    centres = None
    if layers[0].is_centred and not draw.denormal and _is_finite(draw):
        # Imported here: what lists, collects or shows cells needs no arithmetic of 256 bits.
        from conformance.reference.multiprecision import solve

        centres = solve(draw, activations)
    a = exactly(as_matrix(given.x))
    inputs, pre, post = [], [], []
    for index, (kernel, bias, layer) in enumerate(zip(given.kernels, given.biases, layers, strict=True)):
        inputs.append(a)
        z = layer.pre_activation(a, exactly(kernel), None if bias is None else exactly(bias))
        z = _centred(z, centres.z[index] if centres else None)
        a = _centred(layer.activation.forward(layer.arithmetic, z), centres.y[index] if centres else None)
        a = layer.widened(a)
        pre.append(z)
        post.append(a)
    da = exactly(as_matrix(given.dy))
    found: list[tuple[Enclosure, Enclosure | None]] = []
    for index in reversed(range(len(layers))):
        layer = layers[index]
        dz = layer.activation.backward(layer.arithmetic, pre[index], post[index], da)
        dz = _centred(dz, centres.dz[index] if centres else None)
        factor = layer.operand(dz)
        columns = layer.operand(inputs[index]).transposed
        apart = math.prod(draw.x.shape[1:-1]) if layer.deviation.multiplies_padding == "last_sample" else 1
        dkernel = layer.padded(product(layer.sums("dW"), columns, factor), columns, apart)
        dkernel = _centred(dkernel, centres.dkernel[index] if centres else None)
        dbias = None
        if draw.biases[index] is not None:
            ones = exactly(np.ones((1, dz.exact.shape[0])))
            dbias = product(layer.sums("db"), ones, dz)
            dbias = _centred(dbias, centres.dbias[index] if centres else None).reshape((-1,))
        found.insert(0, (dkernel, dbias))
        da = layer.padded(product(layer.sums("dx"), factor, exactly(given.kernels[index]).transposed), factor)
        da = _centred(da, centres.dx[index] if centres else None)
    declared = any(layer.activation.declared for layer in layers)
    longest = max(draw.dy.shape[-1], as_matrix(draw.x).shape[0], *(each.shape[0] for each in draw.kernels))
    by_chance = layers[0].arithmetic.sums_by_chance and roundings(longest) < longest + 2
    is_exact = layers[0].arithmetic.exact and not draw.denormal
    reference = Reference(
        y=a.reshape((*draw.x.shape[:-1], a.exact.shape[-1])),
        dx=da.reshape(draw.x.shape),
        layers=tuple(found),
        line="exact" if is_exact else "declared" if declared else "statistical" if by_chance else "proven",
    )
    return _from_zero(reference, draw, FORMATS[dtype].smallest_normal) if draw.denormal else reference


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    """One layer's arithmetic: `arithmetic` of bias and activation, `product` of x·W, both as it deviates."""

    activation: Activation
    arithmetic: Arithmetic
    product: Arithmetic
    deviation: Deviation

    @property
    def is_centred(self) -> bool:
        """Whether the exact answer is needed beyond float64, and is that of the rule."""
        return self.arithmetic.centred and not self.arithmetic.exact

    def sums(self, result: str) -> Arithmetic:
        """Return the arithmetic of the sums of products that make a result: output, dx, dW or db."""
        # The bias, and so the sum that is its gradient, is no product of operands.
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
        return exactly(numbers.exact.astype(form.dtype))

    def pre_activation(self, x: Enclosure, kernel: Enclosure, bias: Enclosure | None) -> Enclosure:
        """Return x·W + b."""
        apart = self.product.format != self.arithmetic.format
        z = product(self.sums("output"), self.operand(x), kernel, None if apart else bias)
        if self.deviation.multiplies_padding == "next_position":
            z = not_a_number(z, np.append(~np.isfinite(x.exact[1:]).all(axis=1), False))
        z = self.padded(z, x)
        if not apart or bias is None:
            return z
        y = z.exact + bias.exact
        allowed = (
            z.allowed + self.arithmetic.u * (np.abs(y) + z.allowed) + 4.0 * self.arithmetic.u_reference * np.abs(y)
        )
        return Enclosure(exact=y, allowed=allowed)

    def padded(self, found: Enclosure, left: Enclosure, sums: int = 1) -> Enclosure:
        """
        Return a product as it comes out where the last of an odd number of terms is multiplied by 0 as well.

        The terms of `sums` sums that are added up follow one another in turn.
        """
        if self.deviation.multiplies_padding not in ("last_term", "last_sample"):
            return found
        if not sums or left.exact.shape[1] // sums % 2 == 0:
            return found
        return not_a_number(found, np.asarray(~np.isfinite(left.exact[:, -sums:]).all(axis=1)))

    def widened(self, y: Enclosure) -> Enclosure:
        """Return the activation's value with its further error."""
        error = self.deviation.error
        if not error:
            return y
        u = self.arithmetic.format.unit_roundoff
        further = u * (error.get("absolute", 0.0) + error.get("relative", 0.0) * np.abs(y.exact))
        return Enclosure(exact=y.exact, allowed=y.allowed + further, tail=y.tail)


def _layers(
    draw: Draw, activations: Sequence[str], dtype: str, deviations: tuple[Deviation, ...]
) -> tuple[_Layer, ...]:
    """Return the arithmetic of every layer."""
    centred = dtype == "float64" and all(each.widens_only for each in deviations)
    exact = draw.exact
    if any(each is not NO_DEVIATION for each in deviations):
        exact = stays_exact(operands(draw, deviations), tuple(activations), dtype, deviations)

    def arithmetic(name: str) -> Arithmetic:
        return Arithmetic(FORMATS[name], exact, by_chance=draw.by_chance, centred=centred)

    return tuple(
        _Layer(
            activation=activation_of(activation, each.formula, each.constants),
            arithmetic=arithmetic(each.format_of(dtype, product=False)),
            product=arithmetic(each.format_of(dtype, product=True)),
            deviation=each,
        )
        for activation, each in zip(activations, deviations, strict=True)
    )


def _is_finite(draw: Draw) -> bool:
    operands = (draw.x, draw.dy, *draw.kernels, *(each for each in draw.biases if each is not None))
    return all(bool(np.isfinite(each.astype(np.float64)).all()) for each in operands)


def _from_zero(kept: Reference, draw: Draw, smallest_normal: float) -> Reference:
    """
    Return the reference that allows all from 0 to what comes out where nothing is flushed to zero.

    All terms are positive, so flushing any of them, or a result, makes the answer smaller and never negative. A number
    beyond the reach of terms that could be flushed is made of others, and has to be right. Halves are exact: results
    are even multiples of the smallest subnormal, or too large for it to matter.
    """
    reach = smallest_normal * _reach(draw)

    def widened(enclosure: Enclosure) -> Enclosure:
        half = np.where(enclosure.exact > reach, 0.0, enclosure.exact / 2.0)
        return Enclosure(exact=enclosure.exact - half, allowed=enclosure.allowed + half)

    layers = tuple((widened(kernel), None if bias is None else widened(bias)) for kernel, bias in kept.layers)
    return replace(kept, y=widened(kept.y), dx=widened(kept.dx), layers=layers)


def _reach(draw: Draw) -> float:
    """
    Return how many times the smallest normal number a result is at most, if any of its terms could be flushed.

    The largest number of an operand is at most `spread` times the smallest, so where one could be flushed all are near
    it, and a product of two of them; what these are multiplied by, and how many are added, is bounded over the stack.
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
    Return the enclosure around a better centre, where there is one.

    Its radius was formed from numbers that were right to a relative U64 each, in terms that are all positive: inflating
    it by some of them keeps it a bound. The error the reference made in its own centre is gone, and its share of the
    radius, left where an activation put it, is slack.
    """
    if centre is None:
        return enclosure
    allowed = enclosure.allowed * (1.0 + 16.0 * U64)
    return replace(enclosure, exact=centre.high, allowed=allowed, tail=centre.low)
