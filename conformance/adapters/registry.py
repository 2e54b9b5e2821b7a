"""
The implementations there are, as plain data, readable without importing any of them.

An implementation is named `ADAPTER` or `ADAPTER:MODE`. Others add theirs through the entry-point group
`conformance.adapters` (an entry point names an `Implementation` or a sequence of them), or are named on the command
line as `module:Class`. An implementation has one environment, the one its users get; another environment is another
implementation.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

ENTRY_POINTS: Final = "conformance.adapters"


class UnknownImplementation(LookupError):
    """A name that is neither in the registry nor of the form `module:Class`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Implementation:
    """
    One way of computing a dense layer.

    `adapter` is `module:Class`, `packages` the import names its framework consists of (their absence makes its cells
    `not_run`, and an exception counts as a refusal when raised inside one of them), `environment` the variables its
    process is started with, `unanswerable` the checks it cannot answer, each with the reason.
    `reduces_in_output_dtype` maps a dtype of 16 bits to the gradients, of `dW` and `db`, that it adds up over positions
    in the dtype itself and not in float32: they are allowed the errors of such a sum. `tier` is the first tier in which
    it is asked without being named. `shapes_only` says that it holds no values: it is asked the lane `shapes` alone.
    """

    name: str
    adapter: str
    packages: tuple[str, ...]
    mode: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    unanswerable: Mapping[str, str] = field(default_factory=dict)
    reduces_in_output_dtype: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tier: str = "full"
    shapes_only: bool = False

    def missing_packages(self) -> tuple[str, ...]:
        """Return the packages that are not installed, found without importing any."""
        return tuple(each for each in self.packages if importlib.util.find_spec(each) is None)


#: Seen: the gradient of a broadcast bias is added up in its own dtype, by JAX in both, by TensorFlow in bfloat16 alone.
_JAX_SUMS: Final = {"float16": frozenset({"db"}), "bfloat16": frozenset({"db"})}
_TENSORFLOW_SUMS: Final = {"bfloat16": frozenset({"db"})}


def _keras(backend: str, *packages: str, reduces: Mapping[str, frozenset[str]] | None = None) -> Implementation:
    return Implementation(
        name=f"keras-{backend}",
        adapter="conformance.adapters.keras:KerasAdapter",
        packages=("keras", *packages),
        environment={"KERAS_BACKEND": backend},
        reduces_in_output_dtype=reduces or {},
    )


BUILT_IN: Final[tuple[Implementation, ...]] = (
    _keras("tensorflow", "tensorflow", reduces=_TENSORFLOW_SUMS),
    _keras("jax", "jax", reduces=_JAX_SUMS),
    _keras("torch", "torch"),
    Implementation(name="torch", adapter="conformance.adapters.torch:TorchAdapter", packages=("torch",)),
    Implementation(
        name="flax-linen",
        adapter="conformance.adapters.flax_linen:FlaxLinenAdapter",
        packages=("flax", "jax"),
        reduces_in_output_dtype=_JAX_SUMS,
    ),
    Implementation(
        name="flax-nnx",
        adapter="conformance.adapters.flax_nnx:FlaxNnxAdapter",
        packages=("flax", "jax"),
        reduces_in_output_dtype=_JAX_SUMS,
    ),
    Implementation(
        name="tensorflow-v1",
        adapter="conformance.adapters.tensorflow_v1:TensorFlowV1Adapter",
        packages=("tensorflow", "tf_keras"),
        environment={"TF_USE_LEGACY_KERAS": "1"},
        reduces_in_output_dtype=_TENSORFLOW_SUMS,
    ),
)


def registered() -> Mapping[str, Implementation]:
    """Return every implementation by name: the built-in ones, then those of installed entry points."""
    found = {each.name: each for each in BUILT_IN}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        loaded = point.load()
        for each in [loaded] if isinstance(loaded, Implementation) else loaded:
            found.setdefault(each.name, each)
    return found


def select(names: Iterable[str]) -> Sequence[Implementation]:
    """
    Return the implementations asked for, in the order asked for; a name may be a glob over the registry.

    Raises:
        UnknownImplementation: a name is not registered, matches nothing, and is not of the form `module:Class`.
    """
    known = registered()
    chosen: dict[str, Implementation] = {}
    for name in names:
        matches = [known[name]] if name in known else [known[each] for each in fnmatch.filter(known, name)]
        if not matches:
            matches = [_from_path(name, known)]
        chosen.update((each.name, each) for each in matches)
    return tuple(chosen.values())


def _from_path(name: str, known: Mapping[str, Implementation]) -> Implementation:
    """Return the implementation that `module:Class` names."""
    module, _, attribute = name.partition(":")
    if not (attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))) or module in known:
        near = get_close_matches(name, known, n=1)
        hint = (
            f"; did you mean {near[0]!r}?"
            if near
            else f"; there are {', '.join(sorted(known))}, or name a module:Class"
        )
        raise UnknownImplementation(f"no implementation is named {name!r}{hint}")
    return Implementation(name=name, adapter=name, packages=(module.partition(".")[0],))
