"""
What one layer of an implementation computes instead of the rule: other operands, other formats, another function.

A `Deviation` is data. From it `conformance.reference.answer` computes the answer of the layer, with a bound for each
element; `docs/numerics.md` derives the bound of each field. The ledger decides which layer of which step has which
deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

import numpy as np

from conformance.reference.draw import Array, Draw, is_exact
from conformance.reference.formats import FORMATS

#: The results of a layer, each the sum of products.
SUMS: Final = ("output", "dx", "dW", "db")
#: The operands of a layer that an implementation may convert. `x` and `dy` are those of the stack as a whole.
OPERANDS: Final = ("x", "kernel", "bias", "dy")
#: The layer's own dtype, as the format of sums or functions.
OWN_DTYPE: Final = "own"
#: Which product with 0 an implementation adds to a sum (`Deviation.multiplies_padding`).
PADDINGS: Final = ("last_term", "last_sample", "next_position")


@dataclass(frozen=True, kw_only=True)
class ActivationDeviation:
    """How the activation of one layer differs from the rule; a field that is left out is as in the rule."""

    #: The format in which each operation is rounded, `own` for that of the layer.
    functions_in: str | None = None
    #: Name -> number of a constant of the activation, for value and derivative.
    constants: Mapping[str, float] = field(default_factory=dict)
    #: The other formula of the activation, by its name in `conformance.reference.formulas.FORMULAS`.
    formula: str | None = None
    #: The further error of the value, in unit roundoffs: `absolute`, and `relative` to the value.
    error: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """What one layer does instead of the rule; a field that is left out is as in the rule."""

    #: Operand -> the format it is rounded to before anything is computed.
    casts: Mapping[str, str] = field(default_factory=dict)
    #: Infinities among the weights become the largest finite number of the format, with their sign.
    clips_infinities: bool = False
    #: The bits of each float16 operand that is not contiguous are read as signed integers, in the dtype of the layer.
    reads_bits_as_integers: bool = False
    #: The bias is not added.
    loses_bias: bool = False
    #: The format of operands, products, sums and functions alike.
    computes_in: str | None = None
    #: The format of the operands and the result of each product x·W; the bias and the activation stay as they are.
    products_in: str | None = None
    #: Result -> the format in which its products are added up, `own` for that of the layer.
    sums_in: Mapping[str, str] = field(default_factory=dict)
    #: The results whose products are each rounded to the format of the layer before they are added up.
    rounds_each_product: frozenset[str] = frozenset()
    #: The results that are rounded toward zero, in place of to nearest.
    rounds_toward_zero: frozenset[str] = frozenset()
    #: A number of the left operand is also multiplied by 0, so that an infinity there makes the sum NaN. `last_term`:
    #: the last of an odd number of terms of any product. `last_sample`: as `last_term`, but the gradient of the kernel
    #: is a sum for each position of a sample. `next_position`: x at the next position, in the output alone.
    multiplies_padding: str | None = None
    activation: ActivationDeviation = ActivationDeviation()

    @property
    def widens_only(self) -> bool:
        """Whether the exact answer is that of the rule, and only the allowed error is larger."""
        widening = {"sums_in", "rounds_each_product", "rounds_toward_zero", "activation"}
        others = (each.name for each in fields(self) if each.name not in widening)
        changes_answer = any(getattr(self, name) != getattr(NO_DEVIATION, name) for name in others)
        return not changes_answer and replace(self.activation, error={}, functions_in=None) == ActivationDeviation()

    def in_dtype(self, dtype: str) -> Deviation:
        """Return the deviation of a layer of a dtype: `own` is replaced by that dtype."""
        if OWN_DTYPE not in (*self.sums_in.values(), self.activation.functions_in):
            return self
        sums = {name: dtype if each == OWN_DTYPE else each for name, each in self.sums_in.items()}
        functions_in = dtype if self.activation.functions_in == OWN_DTYPE else self.activation.functions_in
        return replace(self, sums_in=sums, activation=replace(self.activation, functions_in=functions_in))

    def format_of(self, dtype: str, *, product: bool) -> str:
        """Return the format in which a layer of a dtype computes, or with `product` that of its products."""
        own = self.computes_in or dtype
        return (self.products_in or own) if product else own


#: The rule itself.
NO_DEVIATION: Final = Deviation()


def operands(draw: Draw, deviations: tuple[Deviation, ...]) -> Draw:
    """
    Return the draw that the layers compute with: operands are converted, infinities clipped, biases removed.

    An array keeps the dtype of the draw if that represents its numbers, and is float64 otherwise.
    """
    first, last = deviations[0], deviations[-1]
    kernels = []
    biases = []
    for kernel, bias, each in zip(draw.kernels, draw.biases, deviations, strict=True):
        if each.clips_infinities:
            kernel, bias = _clipped(kernel), None if bias is None else _clipped(bias)
        kernels.append(_cast(kernel, each.casts.get("kernel"), each.computes_in, each.products_in))
        bias = None if each.loses_bias else bias
        biases.append(None if bias is None else _cast(bias, each.casts.get("bias"), each.computes_in))
    return Draw(
        name=draw.name,
        x=_cast(draw.x, first.casts.get("x"), first.computes_in, first.products_in),
        kernels=tuple(kernels),
        biases=tuple(biases),
        dy=_cast(draw.dy, last.casts.get("dy"), last.computes_in),
        exact=draw.exact,
        half_widths=draw.half_widths,
        denormal=draw.denormal,
    )


def stays_exact(draw: Draw, activations: tuple[str, ...], dtype: str, deviations: tuple[Deviation, ...]) -> bool:
    """Return whether every sum over the operands of a draw is exact in each format in which its layers compute."""
    formats = {each.format_of(dtype, product=product) for each in deviations for product in (True, False)}
    formats |= {name for each in deviations for name in each.sums_in.values()}
    finite = Draw(
        name=draw.name,
        x=_finite(draw.x),
        kernels=tuple(map(_finite, draw.kernels)),
        biases=tuple(None if each is None else _finite(each) for each in draw.biases),
        dy=_finite(draw.dy),
        exact=draw.exact,
    )
    follows_rule = all(each.activation == ActivationDeviation() for each in deviations)
    return draw.exact and follows_rule and all(is_exact(finite, activations, FORMATS[each]) for each in formats)


def _cast(array: Array, *formats: str | None) -> Array:
    for each in formats:
        if each is not None:
            with np.errstate(over="ignore"):
                array = array.astype(FORMATS[each].dtype)
    return array


def _clipped(weight: Array) -> Array:
    largest = FORMATS[weight.dtype.name].maximum
    return np.where(np.isinf(weight), np.copysign(largest, weight).astype(weight.dtype), weight)


def _finite(array: Array) -> Array:
    numbers = array.astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, 0.0)
