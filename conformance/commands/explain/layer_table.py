"""
A stack of dense layers in the format of Keras's `model.summary()`: layer, output shape, number of parameters.

The shapes and numbers come from `conformance.table.rule`, never from Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from conformance.table.rule import RuleError, Shape, output_shapes, parameter_counts

_HEADINGS: Final = ("Layer (type)", "Output Shape", "Param #")
_GAP: Final = "   "
#: Bytes of a float32, the default dtype of Keras's parameters.
_BYTES: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer; its shapes have no batch axis."""

    name: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    activation: str
    use_bias: bool

    @property
    def features(self) -> int:
        """The length of the last input axis."""
        return length(self.input_shape[-1])

    @property
    def units(self) -> int:
        """The length of the last output axis."""
        return length(self.output_shape[-1])


def stack(shape: tuple[int, ...], units: Sequence[int], activations: Sequence[str], use_bias: bool) -> list[Layer]:
    """
    Return the layers of a stack.

    - `shape`: the shape of one sample.
    - `units`, `activations`: one entry for each layer.
    - `use_bias`: whether every layer has a bias.

    Raises:
        ValueError: the rule forbids one of the layers.
    """
    try:
        shapes = output_shapes(shape, units)
        counts = parameter_counts(shape, units, use_bias)
    except RuleError as error:
        raise ValueError(f"no dense layer takes {words(shape)} with units {list(units)}: {error}") from None
    return [
        Layer(
            name=f"dense_{index}" if index else "dense",
            input_shape=shapes[index - 1] if index else shape,
            output_shape=shapes[index],
            parameters=counts[index],
            activation=activations[index],
            use_bias=use_bias,
        )
        for index in range(len(units))
    ]


def table(layers: Sequence[Layer]) -> list[str]:
    """Return the lines of a model's summary, in Keras's words."""
    rows = [(f"{each.name} (Dense)", words((None, *each.output_shape)), f"{each.parameters:,}") for each in layers]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    total = sum(each.parameters for each in layers)
    lines = [
        'Model: "sequential"',
        _rule("┏┳┓", "━", widths),
        _row("┃", _HEADINGS, widths),
        _rule("┡╇┩", "━", widths),
        _row("│", rows[0], widths),
    ]
    for row in rows[1:]:
        lines += [_rule("├┼┤", "─", widths), _row("│", row, widths)]
    return [
        *lines,
        _rule("└┴┘", "─", widths),
        f" Total params: {total:,} ({_memory(total)})",
        f" Trainable params: {total:,} ({_memory(total)})",
        f" Non-trainable params: 0 ({_memory(0)})",
    ]


def _rule(corners: str, line: str, widths: Sequence[int]) -> str:
    return corners[0] + corners[1].join(line * (width + 2) for width in widths) + corners[2]


def _row(edge: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    first, second, last = widths
    padded = (cells[0].ljust(first), cells[1].ljust(second), cells[2].rjust(last))
    return f"{edge} " + f" {edge} ".join(padded) + f" {edge}"


def _memory(parameters: int) -> str:
    """Return the size of float32 parameters as Keras writes it: two decimals, in steps of 1024."""
    size = float(parameters * _BYTES)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def side_by_side(tables: Sequence[list[str]], width: int) -> Iterator[str]:
    """Yield the lines of tables side by side, as many in a row as fit."""
    rows: list[list[list[str]]] = []
    for table in tables:
        room = width - sum(_width_of(each) + len(_GAP) for each in rows[-1]) if rows else -1
        if _width_of(table) <= room:
            rows[-1].append(table)
        else:
            rows.append([table])
    for index, row in enumerate(rows):
        if index:
            yield ""
        for lines in zip(*row, strict=True):
            padded = (line.ljust(_width_of(table)) for line, table in zip(lines, row, strict=True))
            yield _GAP.join(padded).rstrip()


def _width_of(table: Sequence[str]) -> int:
    return max(map(len, table))


def words(shape: Sequence[int | None]) -> str:
    """Return a shape as Python and Keras write it."""
    return str(tuple(shape))


def length(axis: int | None) -> int:
    """Return the length of an axis of a shape that has no unknown one."""
    assert axis is not None, "the shape of a sample has no unknown axis"
    return axis
