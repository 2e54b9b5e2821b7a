"""
The implementations that come with the suite, as data.

The module must not import a framework or an adapter; `registry` finds an implementation by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.adapters.implementation import AxisLimit, Implementation, Participation

#: Takes part in the nightly tier, with all rows.
_NIGHTLY: Final = Participation(tier="nightly")
#: Takes part in the nightly tier, with the rows of the full tier: each question takes seconds.
_SLOW: Final = Participation(tier="nightly", rows="full")


def _keras(backend: str, *packages: str, mode: str | None = None, **fields: Any) -> Implementation:
    return Implementation(
        name=f"keras-{backend}" + (f":{mode}" if mode else ""),
        adapter="conformance.adapters.keras.keras3:KerasAdapter",
        mode=mode,
        packages=("keras", *packages),
        environment={"KERAS_BACKEND": backend},
        **fields,
    )


#: `predict` takes and returns NumPy arrays.
_PREDICTS: Final = {
    "gradients": "predict differentiates nothing",
    "weights_live": "predict differentiates nothing; outputs with new weights are compared",
}
#: Measured: half a second or more for a call, in which each shape and each set of weights is traced or compiled anew.
_SLOW_KERAS: Final = frozenset({"tensorflow:predict", "tensorflow:xla", "jax:time-distributed"})
#: Measured for two layers on x86-64, one thread, keras 3.15.1, jaxlib 0.10.2: a question takes 32 s of CPU time for 50
#: time steps, 103 s for 100 and 222 s for 128. The limit is 300 s, and other machines are slower.
_UNROLLED: Final = AxisLimit(
    longest=100,
    reason="TimeDistributed unrolls its time steps, and XLA takes 200 s of CPU time to compile the gradient of 128",
)
_ONE_RANK: Final = "the layer takes only samples of certain ranks"


def _keras_modes(backend: str, *packages: str) -> tuple[Implementation, ...]:
    """Return the modes that Keras has on every backend, and those of this one."""
    own: Mapping[str, tuple[str, ...]] = {"tensorflow": ("graph", "xla"), "jax": ("jit",), "torch": ()}
    fields: Mapping[str, Mapping[str, Any]] = {
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
            second_axis=_UNROLLED if f"{backend}:{mode}" == "jax:time-distributed" else None,
            mode=mode,
            participation=_SLOW if f"{backend}:{mode}" in _SLOW_KERAS else _NIGHTLY,
            **fields.get(mode, {}),
        )
        for mode in modes
    )


#: Checks that neither NumPy nor a function can answer.
_HAS_NO_WEIGHTS: Final = {
    "output_shape": "no shape is inferred without computing; the shapes of arrays are compared",
    "parameters": "the caller has the parameters",
    "refusal": "there is no layer that could refuse a shape; a refusal by native code looks like one by the adapter",
}
_NOT_DIFFERENTIABLE: Final = {
    "gradients": "NumPy does not differentiate",
    "weights_live": "NumPy does not differentiate; outputs with new weights are compared",
}
#: Activations that need no function of a framework.
_SIMPLE: Final = frozenset({"linear", "relu"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arrays:
    """What a function on the arrays of a framework cannot answer, and the environment of its process."""

    unanswerable: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


FRAMEWORKS: Final[Mapping[str, _Arrays]] = {
    "numpy": _Arrays(unanswerable=_NOT_DIFFERENTIABLE),
    "torch": _Arrays(),
    # A function takes float64 arrays for float64 rows; without x64 JAX would make them float32.
    "jax": _Arrays(environment={"JAX_ENABLE_X64": "1"}),
    "tensorflow": _Arrays(),
}


def of_function(path: str, framework: str = "numpy", *, name: str | None = None) -> Implementation:
    """Return the implementation by a function `(x, kernel, bias) -> y`, `module:function`, on a framework's arrays."""
    arrays = FRAMEWORKS[framework]
    return Implementation(
        name=name or f"{path}@{framework}",
        adapter="conformance.adapters.function.adapter:FunctionAdapter",
        mode=f"{path}@{framework}",
        packages=(path.partition(":")[0].partition(".")[0], framework),
        environment=arrays.environment,
        unanswerable=_HAS_NO_WEIGHTS | dict(arrays.unanswerable),
        activations=_SIMPLE,
    )


def _tensorflow(product: str) -> Implementation:
    return Implementation(
        name=f"tensorflow:{product}",
        adapter="conformance.adapters.tensorflow.module:TensorFlowModuleAdapter",
        mode=product,
        packages=("tensorflow",),
        # With oneDNN, its default on x86, tf.matmul writes out of bounds for some shapes, and a damaged heap then
        # spoils other rows too. A row about that turns it on.
        environment={"TF_ENABLE_ONEDNN_OPTS": "0"} if product == "matmul" else {},
        participation=_NIGHTLY,
    )


#: Checks that a runtime for inference cannot answer.
_INFERS_ALONE: Final = {
    "gradients": "a runtime for inference does not differentiate",
    "weights_live": "a runtime for inference does not differentiate; outputs with new weights are compared",
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
        participation=_SLOW,
    )


def _torch(
    mode: str, *, adapter: str = "linear:TorchAdapter", participation: Participation = _NIGHTLY, **fields: Any
) -> Implementation:
    return Implementation(
        name=f"torch:{mode}",
        adapter=f"conformance.adapters.torch.{adapter}",
        mode=mode,
        packages=("torch",),
        participation=participation,
        **fields,
    )


def _torch_equivalent(mode: str, **fields: Any) -> Implementation:
    return _torch(mode, adapter="equivalents:TorchEquivalentsAdapter", **fields)


def _flax(interface: str, mode: str | None = None) -> Implementation:
    module, adapter = {
        "linen": ("jax.flax_linen", "FlaxLinenAdapter"),
        "nnx": ("jax.flax_nnx", "FlaxNnxAdapter"),
    }[interface]
    return Implementation(
        name=f"flax-{interface}" + (f":{mode}" if mode else ""),
        adapter=f"conformance.adapters.{module}:{adapter}",
        mode=mode,
        packages=("flax", "jax"),
        participation=_NIGHTLY if mode else Participation(),
        shapes_only=mode == "abstract",
    )


def _on_jax(name: str, adapter: str, *packages: str, unanswerable: Mapping[str, str] | None = None) -> Implementation:
    return Implementation(
        name=name,
        adapter=f"conformance.adapters.{adapter}",
        packages=(*packages, "jax"),
        unanswerable=unanswerable or {},
        participation=_NIGHTLY,
    )


#: The activations of MLX.
_ALL_BUT_HARD_SIGMOID: Final = (
    _SIMPLE
    | {"sigmoid", "softmax", "log_softmax", "tanh", "leaky_relu", "elu", "selu", "softplus", "softsign"}
    | {"silu", "gelu", "gelu_tanh", "exponential"}
)

BUILT_IN: Final[tuple[Implementation, ...]] = (
    _keras("tensorflow", "tensorflow"),
    _keras("jax", "jax"),
    _keras("torch", "torch"),
    *_keras_modes("tensorflow", "tensorflow"),
    _keras("tensorflow", "tensorflow", mode="decorated", participation=Participation(by_name=True)),
    *_keras_modes("jax", "jax"),
    *_keras_modes("torch", "torch"),
    _keras(
        "openvino",
        "openvino",
        unanswerable={each: _INFERS_ALONE[each] for each in ("gradients", "weights_live")},
        participation=_SLOW,
    ),
    Implementation(name="torch", adapter="conformance.adapters.torch.linear:TorchAdapter", packages=("torch",)),
    # Its compiler would start processes of its own.
    _torch("compile", participation=_SLOW, environment={"TORCHINDUCTOR_COMPILE_THREADS": "1"}),
    _torch("export"),
    _torch("meta", shapes_only=True),
    _torch_equivalent("lazy"),
    _torch_equivalent("functional", unanswerable={each: _HAS_NO_WEIGHTS[each] for each in ("parameters", "refusal")}),
    _torch_equivalent(
        "conv1d",
        ranks=(2,),
        unanswerable={"axes_merged": _ONE_RANK},
    ),
    _onnxruntime("torch", "onnxscript", "torch"),
    # Keras exports to ONNX by itself from torch alone; from its other backends it needs further packages.
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
    _on_jax("equinox", "jax.equinox:EquinoxAdapter", "equinox"),
    _on_jax("haiku", "jax.haiku:HaikuAdapter", "haiku"),
    _on_jax(
        "jax-numpy",
        "jax.numpy:JaxNumPyAdapter",
        unanswerable={"parameters": _HAS_NO_WEIGHTS["parameters"]},
    ),
    Implementation(
        name="mlx",
        adapter="conformance.adapters.mlx:MlxAdapter",
        packages=("mlx",),
        unanswerable={"output_shape": "no axis can be unknown to MLX; the shapes of arrays are compared"},
        participation=_NIGHTLY,
        activations=_ALL_BUT_HARD_SIGMOID,
    ),
    Implementation(
        name="tinygrad",
        adapter="conformance.adapters.tinygrad:TinygradAdapter",
        packages=("tinygrad",),
        programs=("clang",),
        environment={"CC": "clang", "DEV": "CPU"},
        participation=_SLOW,
    ),
    Implementation(
        name="litert",
        adapter="conformance.adapters.litert:LiteRtAdapter",
        packages=("ai_edge_litert", "tensorflow", "keras"),
        environment={"KERAS_BACKEND": "tensorflow"},
        unanswerable=_INFERS_ALONE,
        participation=_SLOW,
    ),
    Implementation(
        name="tensorflow-v1",
        adapter="conformance.adapters.tensorflow.v1:TensorFlowV1Adapter",
        packages=("tensorflow", "tf_keras"),
        environment={"TF_USE_LEGACY_KERAS": "1"},
    ),
    _tensorflow("matmul"),
    _tensorflow("tensordot"),
    _tensorflow("einsum"),
    Implementation(
        name="keras2",
        adapter="conformance.adapters.keras.keras2:Keras2Adapter",
        packages=("tf_keras", "tensorflow"),
        environment={"TF_USE_LEGACY_KERAS": "1"},
        participation=_NIGHTLY,
    ),
    Implementation(
        name="numpy",
        adapter="conformance.adapters.numpy:NumPyAdapter",
        packages=("numpy",),
        unanswerable=_HAS_NO_WEIGHTS | _NOT_DIFFERENTIABLE,
        participation=_NIGHTLY,
        activations=_SIMPLE,
    ),
)
