"""
A case: one fully specified question about a stack of dense layers.

Frozen data and the names that follow from it: its id, its canonical form, its digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

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
#: What an input may be where it is not of the layer's own dtype.
INTEGER_DTYPES: Final = ("bool", "uint8", "int8", "int32", "int64")
INPUT_DTYPES: Final = (*DTYPES, *INTEGER_DTYPES)
LANES: Final = ("exact", "uniform", "wide", "cancelling", "special", "denormal", "literal", "shapes")
#: The lanes of a row that names none.
DEFAULT_LANES: Final = ("exact", "uniform")
#: Environment variables a row may set: switches of the frameworks that change what is computed, and no others.
SWITCHES: Final = (
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_ENABLE_X64",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_USE_LEGACY_KERAS",
)
#: What a row may need of the machine to say anything.
NEEDS: Final = ("cuda", "mps", "arm")
#: Lanes whose answers are worked out for layers without an activation alone.
LINEAR_LANES: Final = ("special", "denormal")
LAYOUTS: Final = ("contiguous", "transposed", "strided", "broadcast")
TIERS: Final = ("quick", "full", "nightly")
CHECKS: Final = (
    "output_shape",
    "parameters",
    "output_dtype",
    "placement",
    "output",
    "gradients",
    "repeatable",
    "weights_live",
    "positions_independent",
    "positions_permuted",
    "axes_merged",
    "weights_read_back",
    "linear_in_x",
    "memory_layouts",
    "refusal",
)
"""Every check, in the order in which a cell reports them; `refusal` is asked of rows that expect an error, alone."""
#: The checks of the lane `shapes`, for which nothing is computed.
SHAPE_CHECKS: Final = ("output_shape", "parameters")

MAX_RANK: Final = 8
MAX_BYTES: Final = 2**30

#: An array as a row gives it: a number, or a tuple of them, or of tuples.
Numbers = float | tuple["Numbers", ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One dense layer of a stack: how many units, what is applied to its pre-activation, and whether it has a bias."""

    units: Units
    activation: str = "linear"
    use_bias: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """
    Literals worked by hand that pin the rule itself, or `error`: the framework must refuse.

    `nonfinite` says that the answer holds infinities or NaN, without which no case may have any. `output` is the output
    that another suite or a bug report gives for the case's data, as nested tuples.
    """

    output_shapes: tuple[tuple[int | None, ...], ...] | None = None
    parameters: tuple[int, ...] | None = None
    total_parameters: int | None = None
    error: bool = False
    nonfinite: bool = False
    output: Numbers | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """
    Arrays given by a row itself: nested tuples, or one number that fills the array.

    `x` has the shape fed, `kernels` one (d, m) per layer, `biases` one (m,) per layer or None, `dy` the output's shape;
    without it dy is drawn.
    """

    x: Numbers
    kernels: tuple[Numbers, ...]
    biases: tuple[Numbers | None, ...]
    dy: Numbers | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """
    One fully specified question.

    `input_shape` is the shape of one sample without batch, `batch` an integer, a tuple of leading axes, or None for no
    batch axis at all. `lane` says how values are drawn, `data` holds them where the lane is `literal`. `input_dtype` is
    that of the input where it is not `dtype`, which is that of weights, arithmetic and output. `feed_shape` is the full
    shape fed at the call, batch included, where the row is about feeding something else than the layer was built for:
    how the model is built follows from `input_shape` and `batch` alone.
    `environment` holds switches the process is started with beside the implementation's own, as (name, value). `name`
    is the row's own id, if it has one. `row` is where the case comes from, as `file:line`.
    """

    input_shape: tuple[int | None, ...]
    layers: tuple[Layer, ...]
    dtype: str = "float32"
    batch: int | tuple[int, ...] | None = 2
    input_dtype: str | None = None
    lane: str = "uniform"
    data: Data | None = None
    layout: str = "contiguous"
    environment: tuple[tuple[str, str], ...] = ()
    needs: str | None = None
    feed_shape: tuple[int, ...] | None = None
    expect: Expect = field(default_factory=Expect)
    implementations: tuple[str, ...] = ("*",)
    checks: tuple[str, ...] | None = None
    tier: str = "full"
    name: str | None = None
    why: str | None = None
    source: str | None = None
    tags: tuple[str, ...] = ()
    row: str = ""
    twin: bool = False
    """True where a row with another activation was given an exact twin, all of its activations set to linear."""

    @property
    def leading(self) -> tuple[int, ...]:
        """The leading axes the case is fed with: `(2,)` for batch 2, `(2, 3)` for batch [2, 3], `()` for none."""
        if self.batch is None:
            return ()
        return self.batch if isinstance(self.batch, tuple) else (self.batch,)

    @property
    def leading_axes(self) -> int:
        """How many axes the model is built with before a sample: 0 for no batch, 1 normally, 2 for batch [2, 3]."""
        return len(self.leading)

    @property
    def fed_shape(self) -> tuple[int, ...]:
        """The full shape of the array fed at the call; an unknown axis is fed as 4."""
        if self.feed_shape is not None:
            return self.feed_shape
        return (*self.leading, *(4 if axis is None else axis for axis in self.input_shape))

    def asks(self, check: str) -> bool:
        """Return whether the row asks a check: all that apply, unless it names some."""
        return self.checks is None or check in self.checks

    @property
    def id(self) -> str:
        """The case's id: every way in which it is not the default, and always its shape, units and lane."""
        stem = self.name if self.name is not None else _content_id(self)
        if self.expect.error:
            return stem if self.name is not None else f"{stem}-error"
        twin = "-linear" if self.twin else ""
        return f"{stem}{twin}-{self.lane}"

    @property
    def question(self) -> Mapping[str, Any]:
        """The canonical form of what is asked, without words, selection or expectation of values."""
        asked: dict[str, Any] = {
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
        # Left out where they say nothing, so that cases without them draw what they always drew.
        if self.input_dtype is not None:
            asked["input_dtype"] = self.input_dtype
        if self.environment:
            asked["environment"] = dict(self.environment)
        if self.data is not None:
            asked["data"] = dataclasses.asdict(self.data)
        return asked

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form: seeds the draw, so that any two machines ask the same question."""
        text = json.dumps(self.question, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


def _content_id(case: Case) -> str:
    """Return the part of an id that follows from content, without lane or error suffix."""
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
