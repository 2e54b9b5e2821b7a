"""
What one layer of an implementation computes instead of the rule: other operands, other formats, another function.

A `Deviation` is plain data. `conformance.reference.answer` computes from it what the layer should then answer, with a
bound for each element; `docs/numerics.md` derives the bound of each field. The ledger decides which layer of which step
has which deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from conformance.reference.draw import Draw, is_exact
from conformance.reference.formats import FORMATS

#: The results of a layer, each the sum of products.
SUMS: Final = ("output", "dx", "dW", "db")
#: The operands of a layer that an implementation may convert. `x` and `dy` are those of the stack as a whole.
OPERANDS: Final = ("x", "kernel", "bias", "dy")
#: The layer's own dtype, as the format of sums.
OWN_DTYPE: Final = "own"
#: Which product with 0 an implementation adds to a sum (`Deviation.multiplies_padding`).
PADDINGS: Final = ("last_term", "last_sample", "next_position")


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """What one layer does instead of the rule; each field left out is as the rule has it."""

    #: Operand -> the format it is rounded to before anything is computed.
    casts: Mapping[str, str] = field(default_factory=dict)
    #: Infinities among the weights become the largest finite number of the format.
    clips_infinities: bool = False
    #: The bits of each number of x, read as a signed integer and rounded to the format of the layer, take its place.
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
    #: Name -> number of a constant of the activation, value and derivative.
    constants: Mapping[str, float] = field(default_factory=dict)
    #: The activation's other formula, by its name in `conformance.reference.formulas.FORMULAS`.
    formula: str | None = None
    #: The activation's further error: of the value, in unit roundoffs, absolute and relative to it.
    error: Mapping[str, float] = field(default_factory=dict)

    @property
    def widens_only(self) -> bool:
        """Whether the exact answer stays what the rule gives, so that only the error allowed is another."""
        widening = {"sums_in", "rounds_each_product", "rounds_toward_zero", "error"}
        return all(getattr(self, each.name) == _NONE[each.name] for each in fields(self) if each.name not in widening)

    def in_dtype(self, dtype: str) -> Deviation:
        """Return the deviation of a layer of a dtype, that dtype in place of `own`."""
        if OWN_DTYPE not in self.sums_in.values():
            return self
        sums = {name: dtype if each == OWN_DTYPE else each for name, each in self.sums_in.items()}
        return replace(self, sums_in=sums)

    @property
    def key(self) -> tuple[Any, ...]:
        """The same content in a form that can be a key."""
        return tuple(
            tuple(sorted(value.items())) if isinstance(value, Mapping) else value for value in vars(self).values()
        )

    def format_of(self, dtype: str, *, product: bool) -> str:
        """Return the format this layer computes in, or that of its products."""
        own = self.computes_in or dtype
        return (self.products_in or own) if product else own


_NONE: Final = {each.name: getattr(Deviation(), each.name) for each in fields(Deviation)}
NO_DEVIATION: Final = Deviation()


def operands(draw: Draw, deviations: tuple[Deviation, ...]) -> Draw:
    """
    Return the draw that the layers compute with: operands converted, infinities clipped, biases lost.

    The numbers keep the dtype of the draw where it holds them, and are float64 where it does not.
    """
    first, last = deviations[0], deviations[-1]
    x = draw.x
    if first.reads_bits_as_integers:
        integers = x.view(np.dtype(f"int{8 * x.dtype.itemsize}"))
        x = integers.astype(draw.kernels[0].dtype).astype(np.float64)
    kernels = []
    biases = []
    for kernel, bias, each in zip(draw.kernels, draw.biases, deviations, strict=True):
        weights = [kernel, bias]
        if each.clips_infinities:
            weights = [None if weight is None else _clipped(weight) for weight in weights]
        kernels.append(_cast(weights[0], each.casts.get("kernel"), each.computes_in, each.products_in))
        found = None if weights[1] is None or each.loses_bias else weights[1]
        biases.append(None if found is None else _cast(found, each.casts.get("bias"), each.computes_in))
    return Draw(
        name=draw.name,
        x=_cast(x, first.casts.get("x"), first.computes_in, first.products_in),
        kernels=tuple(kernels),
        biases=tuple(biases),
        dy=_cast(draw.dy, last.casts.get("dy"), last.computes_in),
        exact=draw.exact,
        by_chance=draw.by_chance,
        denormal=draw.denormal,
    )


def stays_exact(draw: Draw, activations: tuple[str, ...], dtype: str, deviations: tuple[Deviation, ...]) -> bool:
    """Return whether every sum over the operands of a draw is exact in each format that its layers compute in."""
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
    changed = any(each.formula or each.constants or each.error for each in deviations)
    return draw.exact and not changed and all(is_exact(finite, activations, FORMATS[each]) for each in formats)


def _cast(array: Any, *formats: str | None) -> Any:
    for each in formats:
        if each is not None:
            with np.errstate(over="ignore"):
                array = array.astype(FORMATS[each].dtype)
    return array


def _clipped(weight: Any) -> Any:
    name = weight.dtype.name
    largest = FORMATS[name].maximum
    return np.where(np.isinf(weight), np.copysign(largest, weight).astype(weight.dtype), weight)


def _finite(array: Any) -> Any:
    numbers = array.astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, 0.0)
