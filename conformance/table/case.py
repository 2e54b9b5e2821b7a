"""
A case: one fully specified question to a stack of dense layers.

A case is frozen data; its id, its canonical form and its digest follow from its fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from conformance.adapters.protocol import Units

ACTIVATIONS: Final = (
    "linear",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "silu",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "log_softmax",
    "exponential",
)
#: Activations that map integers to integers, so that a whole stack of them can be exact.
EXACT_ACTIVATIONS: Final = ("linear", "relu")
DTYPES: Final = ("float64", "float32", "float16", "bfloat16")
#: Integer dtypes of an input; the layer itself has a dtype of `DTYPES`.
INTEGER_DTYPES: Final = ("bool", "uint8", "int8", "int32", "int64")
INPUT_DTYPES: Final = (*DTYPES, *INTEGER_DTYPES)
#: The lanes of a row that names none.
DEFAULT_LANES: Final = ("exact", "uniform")
#: Environment variables that a row may set: switches of the frameworks that change what they compute.
SWITCHES: Final = (
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_ENABLE_X64",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_USE_LEGACY_KERAS",
)
#: The hardware that a row may need.
NEEDS: Final = ("cuda", "mps", "arm")
#: Lanes for linear layers only: their answers are derived for those.
LINEAR_LANES: Final = ("special", "denormal")
LAYOUTS: Final = ("contiguous", "transposed", "strided", "broadcast")
TIERS: Final = ("quick", "full", "nightly")

MAX_RANK: Final = 8
MAX_BYTES: Final = 2**30

#: An array as a row gives it: a number, or a tuple of them, or of tuples.
Numbers = float | tuple["Numbers", ...]


def shape_of(array: Numbers) -> tuple[int, ...]:
    """Return the shape of nested tuples, () for a number."""
    if not isinstance(array, tuple):
        return ()
    return (len(array), *(shape_of(array[0]) if array else ()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One dense layer of a stack."""

    #: Number of output features. Anything but an integer of 0 or more is legal only where the row expects an error.
    units: Units
    activation: str = "linear"
    use_bias: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """Literals worked by hand, which test the rule itself, or the expectation that the framework refuses."""

    #: The output shape of each layer; None in front of a shape is an unknown batch.
    output_shapes: tuple[tuple[int | None, ...], ...] | None = None
    #: The parameter count of each layer.
    parameters: tuple[int, ...] | None = None
    total_parameters: int | None = None
    #: The framework must refuse.
    error: bool = False
    #: The answer has infinities or NaN. The answers of all other cases are finite.
    nonfinite: bool = False
    #: The output for the data of the case, from another suite or a bug report.
    output: Numbers | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The arrays of a row: nested tuples, or one number that fills the array."""

    #: The input, of the shape of the call.
    x: Numbers
    #: One array of shape (d, m) per layer.
    kernels: tuple[Numbers, ...]
    #: One array of shape (m,) per layer, None for a layer without a bias.
    biases: tuple[Numbers | None, ...]
    #: The gradient of the output, of its shape. If None it is drawn.
    dy: Numbers | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Computation:
    """What a case computes: a model, its input, and how numbers are drawn."""

    #: Shape of one sample, without batch; None is an unknown axis.
    input_shape: tuple[int | None, ...]
    layers: tuple[Layer, ...]
    #: Dtype of weights, arithmetic and output, and of the input unless there is an `input_dtype`.
    dtype: str = "float32"
    #: Number of samples, a tuple of leading axes, or None for no batch axis at all.
    batch: int | tuple[int, ...] | None = 2
    input_dtype: str | None = None
    #: How inputs and weights are drawn.
    lane: str = "uniform"
    #: Inputs and weights of the lane `literal`.
    data: Data | None = None
    #: Memory layout of the input.
    layout: str = "contiguous"
    #: Environment variables of the process in addition to those of the implementation: pairs of name and value.
    environment: tuple[tuple[str, str], ...] = ()
    #: The full shape of the array of the call, batch included, if the model is built for another shape. The model is
    #: built for `input_shape` and `batch`.
    feed_shape: tuple[int, ...] | None = None

    @property
    def leading(self) -> tuple[int, ...]:
        """The leading axes of the input: `(2,)` for batch 2, `(2, 3)` for batch [2, 3], `()` for no batch."""
        if self.batch is None:
            return ()
        return self.batch if isinstance(self.batch, tuple) else (self.batch,)

    @property
    def leading_axes(self) -> int:
        """Number of axes before a sample: 0 for no batch, 1 normally, 2 for batch [2, 3]."""
        return len(self.leading)

    @property
    def call_shape(self) -> tuple[int, ...]:
        """The full shape of the array of the call; an unknown axis has the length 4."""
        if self.feed_shape is not None:
            return self.feed_shape
        return (*self.leading, *(4 if axis is None else axis for axis in self.input_shape))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case(Computation):
    """One fully specified question."""

    #: Hardware without which the case is not run.
    needs: str | None = None
    expect: Expect = field(default_factory=Expect)
    #: Globs of the names of implementations that have a cell of the case.
    implementations: tuple[str, ...] = ("*",)
    #: Names of the checks, None for all that apply.
    checks: tuple[str, ...] | None = None
    tier: str = "full"
    #: The row's own id.
    name: str | None = None
    why: str | None = None
    source: str | None = None
    tags: tuple[str, ...] = ()
    #: The place of the row, as `file:line`.
    row: str = ""
    #: Whether the case is the twin of a row with a nonlinear activation: all of its activations are linear.
    twin: bool = False

    def has_check(self, check: str) -> bool:
        """Return whether the row has a check. A row that names none has all that apply."""
        return self.checks is None or check in self.checks

    @property
    def id(self) -> str:
        """The case's id: its shape, units and lane, and each field that is not the default."""
        stem = self.name if self.name is not None else _content_id(self)
        if self.expect.error:
            return stem if self.name is not None else f"{stem}-error"
        twin = "-linear" if self.twin else ""
        return f"{stem}{twin}-{self.lane}"

    @property
    def question(self) -> Mapping[str, object]:
        """The canonical form of the question, without `why`, `source`, `tags`, selection and expected values."""
        fields: dict[str, object] = {
            "input_shape": list(self.input_shape),
            "units": [layer.units for layer in self.layers],
            "activation": [layer.activation for layer in self.layers],
            "use_bias": [layer.use_bias for layer in self.layers],
            "dtype": self.dtype,
            "batch": list(self.batch) if isinstance(self.batch, tuple) else self.batch,
            "lane": None if self.expect.error else self.lane,
            "layout": self.layout,
            "feed_shape": None if self.feed_shape is None else list(self.feed_shape),
            "error": self.expect.error,
        }
        # Cases without these fields keep the digest, and so the draw, that they had before the fields existed.
        if self.input_dtype is not None:
            fields["input_dtype"] = self.input_dtype
        if self.environment:
            fields["environment"] = dict(self.environment)
        if self.data is not None:
            fields["data"] = dataclasses.asdict(self.data)
        return fields

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form. It seeds the draw, so that all machines draw the same values."""
        text = json.dumps(self.question, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


def _content_id(case: Case) -> str:
    """Return the part of an id that follows from the fields, without the suffix for lane or error."""
    activations = [layer.activation for layer in case.layers]
    biases = [layer.use_bias for layer in case.layers]
    parts = ["x".join(_axis(axis) for axis in case.input_shape) or "scalar"]
    parts += [_units(layer.units) for layer in case.layers]
    if any(activation != "linear" for activation in activations):
        parts += activations[:1] if len(set(activations)) == 1 else activations
    if case.dtype != "float32":
        parts.append(case.dtype)
    if case.input_dtype is not None:
        parts.append(f"from{case.input_dtype}")
    if not all(biases):
        parts += ["nobias"] if not any(biases) else ["bias" if each else "nobias" for each in biases]
    if case.batch is None:
        parts.append("nobatch")
    elif case.batch != 2:
        parts.append("batch" + "x".join(map(str, case.leading)))
    if case.layout != "contiguous":
        parts.append(case.layout)
    if case.feed_shape is not None:
        parts.append("fed" + ("x".join(map(str, case.feed_shape)) or "scalar"))
    parts += [f"{switch.lower()}-{value}" for switch, value in case.environment]
    if case.data is not None:
        parts.append(f"data{case.digest.hex()[:8]}")
    return "-".join(parts)


def _axis(axis: int | None) -> str:
    return "any" if axis is None else _number(axis)


def _units(units: Units) -> str:
    if isinstance(units, bool) or units is None:
        return str(units).lower()
    return units if isinstance(units, str) else _number(units)


def _number(number: float) -> str:
    return f"minus{-number}" if number < 0 else str(number)
