"""
The implementations there are, as plain data, readable without importing any of them.

An implementation is named `ADAPTER` or `ADAPTER:MODE`. Others add theirs through the entry-point group
`conformance.adapters` (an entry point names an `Implementation` or a sequence of them), or are named on the command
line: as `module:Class`, or as `module:function` where a plain function of `(x, kernel, bias)` is to be held, with
`@torch`, `@jax` or `@tensorflow` after it where it takes other arrays than NumPy's. An implementation has one
environment, the one its users get; another environment is another implementation.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

ENTRY_POINTS: Final = "conformance.adapters"


class UnknownImplementation(LookupError):
    """A name that is neither in the registry nor of the form `module:Class` or `module:function@framework`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Implementation:
    """
    One way of computing a dense layer.

    `adapter` is `module:Class`, `packages` the import names its framework consists of (their absence makes its cells
    `not_run`, and an exception counts as a refusal when raised inside one of them), `programs` those of the system that
    its framework cannot do without (their absence does the same), `environment` the variables its process is started
    with, `unanswerable` the checks it cannot answer, each with the reason. `reduces_in_output_dtype`
    maps a dtype of 16 bits to the gradients, of `dW` and `db`, that it adds up over positions in the dtype itself and
    not in float32: they are allowed the errors of such a sum. `tier` is the first tier in which it is asked without
    being named. `shapes_only` says that it holds no values: it is asked the lane `shapes` alone. `by_name` says that it
    is a way known to be wrong, asked by rows that name it alone. `activations` are those it has, None for all: a row
    with another is not asked. `ranks` are the ranks of `input_shape` it can take, None for all: a row of another is not
    asked.
    """

    name: str
    adapter: str
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    mode: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    unanswerable: Mapping[str, str] = field(default_factory=dict)
    reduces_in_output_dtype: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tier: str = "full"
    by_name: bool = False
    shapes_only: bool = False
    activations: frozenset[str] | None = None
    ranks: tuple[int, ...] | None = None

    def missing_packages(self) -> tuple[str, ...]:
        """Return the packages that are not installed, found without importing any, and the programs that are not."""
        packages = [each for each in self.packages if importlib.util.find_spec(each) is None]
        return (*packages, *(each for each in self.programs if shutil.which(each) is None))


#: Seen: the gradient of a broadcast bias is added up in its own dtype, by JAX in both, by TensorFlow in bfloat16 alone.
_JAX_SUMS: Final = {"float16": frozenset({"db"}), "bfloat16": frozenset({"db"})}
_TENSORFLOW_SUMS: Final = {"bfloat16": frozenset({"db"})}
_BOTH_SUMS: Final = {"float16": frozenset({"db", "dW"}), "bfloat16": frozenset({"db", "dW"})}


def _keras(
    backend: str,
    *packages: str,
    reduces: Mapping[str, frozenset[str]] | None = None,
    mode: str | None = None,
    tier: str = "full",
    **said: Any,
) -> Implementation:
    return Implementation(
        name=f"keras-{backend}" + (f":{mode}" if mode else ""),
        adapter="conformance.adapters.keras:KerasAdapter",
        mode=mode,
        packages=("keras", *packages),
        environment={"KERAS_BACKEND": backend},
        reduces_in_output_dtype=reduces or {},
        tier=tier,
        **said,
    )


#: What `predict` says nothing of: it takes arrays of NumPy and gives some back.
_PREDICTS: Final = {
    "gradients": "predict differentiates nothing",
    "weights_live": "predict differentiates nothing; outputs with new weights are held",
}
_FLOAT16_KERNEL_SUMS: Final = {"float16": frozenset({"dW"})}
#: Seen: TensorFlow's einsum and torch's convolution add up the kernel's gradient in its own dtype, and gradients of
#: what is called once for each time step are added up over the steps in theirs.
_KERAS_SUMS: Final = {
    "tensorflow:einsum-dense": _BOTH_SUMS,
    **dict.fromkeys((f"{each}:time-distributed" for each in ("tensorflow", "jax", "torch")), _BOTH_SUMS),
    **dict.fromkeys(("torch:conv1d", "torch:conv2d"), _FLOAT16_KERNEL_SUMS),
}
_ONE_RANK: Final = "the layer is for samples of certain ranks, and has none of another rank beside it"


def _keras_modes(backend: str, *packages: str, reduces: Mapping[str, frozenset[str]]) -> tuple[Implementation, ...]:
    """Return the modes that Keras has on every backend, and those of this one."""
    own: Mapping[str, tuple[str, ...]] = {"tensorflow": ("graph", "xla"), "jax": ("jit",), "torch": ()}
    said: Mapping[str, Mapping[str, Any]] = {
        "predict": {"unanswerable": _PREDICTS},
        "symbolic": {"shapes_only": True},
        "time-distributed": {"ranks": tuple(range(2, 9)), "unanswerable": {"positions_independent": _ONE_RANK}},
        "conv1d": {"ranks": (2,), "unanswerable": dict.fromkeys(("positions_independent", "axes_merged"), _ONE_RANK)},
        "conv2d": {"ranks": (3,), "unanswerable": dict.fromkeys(("positions_independent", "axes_merged"), _ONE_RANK)},
    }
    modes = ("functional", "predict", "symbolic", "einsum-dense", "time-distributed", "conv1d", "conv2d", *own[backend])
    return tuple(
        _keras(
            backend,
            *packages,
            reduces=_KERAS_SUMS.get(f"{backend}:{mode}", reduces),
            mode=mode,
            tier="nightly",
            **said.get(mode, {}),
        )
        for mode in modes
    )


#: What neither NumPy nor a function can be asked, whatever it computes.
_HOLDS_NOTHING: Final = {
    "output_shape": "no shape is inferred without computing; those of arrays are held",
    "parameters": "no parameters are held: the caller does",
    "refusal": "no layer is there to refuse a shape; what refuses in native code cannot be told from the adapter",
}
_NOT_DIFFERENTIABLE: Final = {
    "gradients": "NumPy does not differentiate",
    "weights_live": "NumPy does not differentiate; outputs with new weights are held",
}
#: Activations that need no function of a framework.
_SIMPLE: Final = frozenset({"linear", "relu"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arrays:
    """What follows from whose arrays a function takes."""

    unanswerable: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    reduces: Mapping[str, frozenset[str]] = field(default_factory=dict)


_FRAMEWORKS: Final[Mapping[str, _Arrays]] = {
    "numpy": _Arrays(unanswerable=_NOT_DIFFERENTIABLE),
    "torch": _Arrays(),
    # A function is handed float64 where that is asked; without x64 JAX would make it float32 before.
    "jax": _Arrays(environment={"JAX_ENABLE_X64": "1"}, reduces=_JAX_SUMS),
    "tensorflow": _Arrays(reduces=_TENSORFLOW_SUMS),
}


def of_function(path: str, framework: str = "numpy", *, name: str | None = None) -> Implementation:
    """Return the implementation by a function `(x, kernel, bias) -> y`, `module:function`, on a framework's arrays."""
    arrays = _FRAMEWORKS[framework]
    return Implementation(
        name=name or f"{path}@{framework}",
        adapter="conformance.adapters.function:FunctionAdapter",
        mode=f"{path}@{framework}",
        packages=(path.partition(":")[0].partition(".")[0], framework),
        environment=arrays.environment,
        unanswerable=_HOLDS_NOTHING | dict(arrays.unanswerable),
        reduces_in_output_dtype=arrays.reduces,
        activations=_SIMPLE,
    )


def _tensorflow(product: str, *summed: str) -> Implementation:
    return Implementation(
        name=f"tensorflow:{product}",
        adapter="conformance.adapters.tensorflow_module:TensorFlowModuleAdapter",
        mode=product,
        packages=("tensorflow",),
        # With oneDNN, its default on x86, tf.matmul writes beyond its memory for some shapes, and a damaged heap then
        # answers for other rows too. A row about that turns it on.
        environment={"TF_ENABLE_ONEDNN_OPTS": "0"} if product == "matmul" else {},
        # Seen: what is added to or multiplied with a whole batch has a gradient that is added up in its own dtype.
        reduces_in_output_dtype={"float16": frozenset(summed), "bfloat16": frozenset(summed)},
        tier="nightly",
    )


#: What a runtime for inference cannot be asked, whatever it runs.
_INFERS_ALONE: Final = {
    "gradients": "a runtime for inference does not differentiate",
    "weights_live": "a runtime for inference does not differentiate; outputs with new weights are held",
    "parameters": "what was exported or converted holds constants, folded and transposed, and no parameters of layers",
}


def _onnxruntime(exporter: str, *packages: str, environment: Mapping[str, str] | None = None) -> Implementation:
    return Implementation(
        name=f"onnxruntime:{exporter}",
        adapter="conformance.adapters.onnxruntime:OnnxRuntimeAdapter",
        mode=exporter,
        packages=("onnxruntime", "onnx", *packages),
        environment=environment or {},
        unanswerable=_INFERS_ALONE,
        tier="nightly",
    )


def _torch(mode: str, **said: Any) -> Implementation:
    return Implementation(
        name=f"torch:{mode}",
        adapter="conformance.adapters.torch:TorchAdapter",
        mode=mode,
        packages=("torch",),
        tier="nightly",
        **said,
    )


def _torch_equivalent(mode: str, **said: Any) -> Implementation:
    return Implementation(
        name=f"torch:{mode}",
        adapter="conformance.adapters.torch_equivalents:TorchEquivalentsAdapter",
        mode=mode,
        packages=("torch",),
        tier="nightly",
        **said,
    )


def _flax(interface: str, mode: str | None = None) -> Implementation:
    module, adapter = {
        "linen": ("flax_linen", "FlaxLinenAdapter"),
        "nnx": ("flax_nnx", "FlaxNnxAdapter"),
    }[interface]
    return Implementation(
        name=f"flax-{interface}" + (f":{mode}" if mode else ""),
        adapter=f"conformance.adapters.{module}:{adapter}",
        mode=mode,
        packages=("flax", "jax"),
        reduces_in_output_dtype={} if mode == "abstract" else _JAX_SUMS,
        tier="nightly" if mode else "full",
        shapes_only=mode == "abstract",
    )


def _on_jax(name: str, adapter: str, *packages: str, unanswerable: Mapping[str, str] | None = None) -> Implementation:
    return Implementation(
        name=name,
        adapter=f"conformance.adapters.{adapter}",
        packages=(*packages, "jax"),
        unanswerable=unanswerable or {},
        reduces_in_output_dtype=_JAX_SUMS,
        tier="nightly",
    )


#: What MLX has of the table's activations: it lacks one.
_ALL_BUT_HARD_SIGMOID: Final = (
    _SIMPLE
    | {"sigmoid", "softmax", "log_softmax", "tanh", "leaky_relu", "elu", "selu", "softplus", "softsign"}
    | {"silu", "gelu", "gelu_tanh", "exponential"}
)

BUILT_IN: Final[tuple[Implementation, ...]] = (
    _keras("tensorflow", "tensorflow", reduces=_TENSORFLOW_SUMS),
    _keras("jax", "jax", reduces=_JAX_SUMS),
    _keras("torch", "torch"),
    *_keras_modes("tensorflow", "tensorflow", reduces=_TENSORFLOW_SUMS),
    _keras("tensorflow", "tensorflow", reduces=_TENSORFLOW_SUMS, mode="decorated", by_name=True),
    *_keras_modes("jax", "jax", reduces=_JAX_SUMS),
    *_keras_modes("torch", "torch", reduces={}),
    _keras(
        "openvino",
        "openvino",
        unanswerable={each: _INFERS_ALONE[each] for each in ("gradients", "weights_live")},
        tier="nightly",
    ),
    Implementation(name="torch", adapter="conformance.adapters.torch:TorchAdapter", packages=("torch",)),
    # Its compiler would start processes of its own.
    _torch("compile", environment={"TORCHINDUCTOR_COMPILE_THREADS": "1"}),
    _torch("export"),
    _torch("meta", shapes_only=True),
    _torch_equivalent("lazy"),
    _torch_equivalent("functional", unanswerable={each: _HOLDS_NOTHING[each] for each in ("parameters", "refusal")}),
    # Seen: over a batch, the gradient of a convolution's float16 kernel is added up in float16.
    _torch_equivalent(
        "conv1d",
        ranks=(2,),
        unanswerable={"axes_merged": _ONE_RANK},
        reduces_in_output_dtype=_FLOAT16_KERNEL_SUMS,
    ),
    _onnxruntime("torch", "onnxscript", "torch"),
    # Keras exports to ONNX by itself from torch alone; from its other backends it asks for further packages.
    _onnxruntime("keras", "keras", "torch", environment={"KERAS_BACKEND": "torch"}),
    _flax("linen"),
    _flax("nnx"),
    _flax("linen", "jit"),
    _flax("linen", "abstract"),
    _flax("linen", "dense-general"),
    _flax("linen", "einsum"),
    _flax("nnx", "jit"),
    _flax("nnx", "abstract"),
    _flax("nnx", "linear-general"),
    _flax("nnx", "einsum"),
    _on_jax("equinox", "equinox:EquinoxAdapter", "equinox"),
    _on_jax("haiku", "haiku:HaikuAdapter", "haiku"),
    _on_jax(
        "jax-numpy",
        "jax_numpy:JaxNumPyAdapter",
        unanswerable={"parameters": _HOLDS_NOTHING["parameters"]},
    ),
    Implementation(
        name="mlx",
        adapter="conformance.adapters.mlx:MlxAdapter",
        packages=("mlx",),
        unanswerable={"output_shape": "no axis can be unknown to MLX; the shapes of arrays are held"},
        tier="nightly",
        activations=_ALL_BUT_HARD_SIGMOID,
    ),
    Implementation(
        name="tinygrad",
        adapter="conformance.adapters.tinygrad:TinygradAdapter",
        packages=("tinygrad",),
        programs=("clang",),
        environment={"CC": "clang", "DEV": "CPU"},
        tier="nightly",
    ),
    Implementation(
        name="litert",
        adapter="conformance.adapters.litert:LiteRtAdapter",
        packages=("ai_edge_litert", "tensorflow", "keras"),
        environment={"KERAS_BACKEND": "tensorflow"},
        unanswerable=_INFERS_ALONE,
        tier="nightly",
    ),
    Implementation(
        name="tensorflow-v1",
        adapter="conformance.adapters.tensorflow_v1:TensorFlowV1Adapter",
        packages=("tensorflow", "tf_keras"),
        environment={"TF_USE_LEGACY_KERAS": "1"},
        reduces_in_output_dtype=_TENSORFLOW_SUMS,
    ),
    _tensorflow("matmul", "db", "dW"),
    _tensorflow("tensordot", "db"),
    _tensorflow("einsum", "db", "dW"),
    Implementation(
        name="keras2",
        adapter="conformance.adapters.keras2:Keras2Adapter",
        packages=("tf_keras", "tensorflow"),
        environment={"TF_USE_LEGACY_KERAS": "1"},
        reduces_in_output_dtype=_TENSORFLOW_SUMS,
        tier="nightly",
    ),
    Implementation(
        name="numpy",
        adapter="conformance.adapters.numpy_arrays:NumPyAdapter",
        packages=("numpy",),
        unanswerable=_HOLDS_NOTHING | _NOT_DIFFERENTIABLE,
        tier="nightly",
        activations=_SIMPLE,
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
        UnknownImplementation: a name is not registered, matches nothing, and is not of the form `module:Class` or
            `module:function@framework`.
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
    """Return the implementation that `module:Class` or `module:function@framework` names."""
    path, at, framework = name.partition("@")
    module, _, attribute = path.partition(":")
    adapters = {each.partition(":")[0] for each in known}
    if not (attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))) or module in adapters:
        near = get_close_matches(name, known, n=1)
        hint = (
            f"; did you mean {near[0]!r}?"
            if near
            else f"; there are {', '.join(sorted(known))}, or name a module:Class or module:function"
        )
        raise UnknownImplementation(f"no implementation is named {name!r}{hint}")
    if at and framework not in _FRAMEWORKS:
        raise UnknownImplementation(f"{name!r}: a function is one of {', '.join(_FRAMEWORKS)}, not of {framework!r}")
    if at or _is_function(module, attribute):
        return of_function(path, framework or "numpy", name=name)
    return Implementation(name=name, adapter=name, packages=(module.partition(".")[0],))


def _is_function(module: str, attribute: str) -> bool:
    """
    Return whether the source of a module defines a function that can be called with x, kernel and bias.

    A class, and a function without required arguments, make an adapter. The module is read and not imported, since it
    may import a framework; what it only imports from elsewhere, or builds, has to be named with its framework.
    """
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    for end in range(1, len(parts)):
        spec = spec and PathFinder.find_spec(".".join(parts[: end + 1]), spec.submodule_search_locations)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    try:
        source = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError):
        return False  # the process that imports it will say so
    for each in source.body:
        if isinstance(each, ast.FunctionDef) and each.name == attribute:
            positional = len(each.args.posonlyargs) + len(each.args.args)
            required = positional - len(each.args.defaults)
            return 0 < required <= 3 <= positional
    return False
