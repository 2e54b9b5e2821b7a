"""
The variables of templates: layers, arrays and steps by name, and shapes as text.

`conformance.run.reproduce.family` selects the template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from conformance.adapters.protocol import Array, Stack
from conformance.sandbox.layouts import GAP


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, as templates read it."""

    index: int
    #: The index in a sequence of modules, in which an activation is a module.
    place: int
    #: As Python, because it may be illegal.
    units: str
    features: str
    use_bias: bool
    activation: str
    kernel: str
    bias: str


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An array, as templates read it: its name, its NumPy expression, and the dtype that the framework receives."""

    name: str
    expression: str = ""
    dtype: str = ""
    strided: bool = False
    rank: int = 0

    def __str__(self) -> str:
        return self.name


@dataclass(kw_only=True)
class Lines:
    """One step, as templates read it. A script has its `arrays` first, then its `tensors`, then the step."""

    kind: str
    model: str
    arrays: list[Tensor] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    shape: tuple[int | None, ...] = ()
    leading: int = 1
    given: bool = True
    x: Tensor | None = None
    y: str = ""
    dy: Tensor | None = None


def layers_of(stack: Stack) -> list[Layer]:
    """Return the layers of a stack, each with its number of features and the names of its arrays."""
    found: list[Layer] = []
    place = 0
    # A scalar has no last axis: one number, one feature.
    features: object = stack.input_shape[-1] if stack.input_shape else 1
    several = len(stack.layers) > 1
    for index, each in enumerate(stack.layers):
        number = str(index) if several else ""
        found.append(
            Layer(
                index=index,
                place=place,
                units=repr(each.units),
                features=repr(features),
                use_bias=each.use_bias,
                activation=each.activation,
                kernel=f"kernel{number}",
                bias=f"bias{number}",
            )
        )
        place += 1 if each.activation == "linear" else 2
        features = each.units
    return found


def arranged(expression: str, array: Array, layout: str) -> str:
    """Return the expression of an array in a memory layout of `conformance.sandbox.layouts.arrange`."""
    if layout == "transposed":
        leading = array.ndim - 1
        reverse = (*range(leading - 1, -1, -1), leading)
        return f"np.ascontiguousarray({expression}.transpose{reverse}).transpose{reverse}"
    if layout == "column_major":
        return f"np.asfortranarray({expression})"
    if layout == "padded":
        filler = "np.nan" if array.dtype.kind not in "iub" else "1"
        gaps = [(0, 0)] * (array.ndim - 1) + [(0, GAP)]
        return f"np.pad({expression}, {gaps}, constant_values={filler})[..., :-{GAP}]"
    if layout == "unaligned":
        return f"np.append({expression}.flat[:1], {expression})[1:].reshape({array.shape})"
    if layout == "expanded":
        return f"np.broadcast_to({expression}.flat[0], {array.shape})"
    if layout == "strided":
        return f"np.repeat({expression}, 2, axis=-1)[..., ::2]"
    if layout == "broadcast":
        return f"np.broadcast_to({expression}[:1], {array.shape})"
    return expression


def names_of(layers: Sequence[Layer]) -> dict[str, Callable[..., str]]:
    """Return the functions that templates call for names and shapes; `m` is the name of a model."""

    def name(m: str, layer: Layer) -> str:
        return ("" if m == "model" else f"{m}_") + "dense" + (str(layer.index) if len(layers) > 1 else "")

    def nested(m: str, x: str) -> str:
        for each in layers:
            x = f"{name(m, each)}({x})"
        return x

    def example(shape: Sequence[int | None], leading: int) -> str:
        """Return a shape with a length of its own for each unknown axis, none of them 0 or 1."""
        taken = {*map(str, shape), *(each.units for each in layers)}
        free = (size for size in count(2) if str(size) not in taken)
        return repr(tuple(next(free) if size is None else size for size in (*[None] * leading, *shape)))

    def unknown(shape: Sequence[int | None], leading: int) -> str:
        return repr((*[None] * leading, *shape))

    return {
        "name": name,
        "names": lambda m: ", ".join(name(m, each) for each in layers),
        "nested": nested,
        "example": example,
        "unknown": unknown,
        "ones": lambda shape, leading: repr((*[1] * leading, *(1 if each is None else each for each in shape))),
        "axes": lambda shape, leading: repr(
            [axis for axis, size in enumerate((*[None] * leading, *shape)) if size is None]
        ),
        "symbolic": lambda shape: "(batch, " + "".join(f"{each}, " for each in shape) + ")",
    }
