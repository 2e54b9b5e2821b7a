"""The template that writes the layers of an implementation, and the steps that it supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from conformance.adapters.registry import Implementation
from conformance.run.reproduce.symptom import NotReproducible
from conformance.sandbox.steps import Differentiate, InferShapes, ReadParameters, Step

#: Module of a built-in adapter -> the template of its framework.
_FAMILIES: Final = {
    "keras.keras3": "keras",
    "keras.keras2": "keras2",
    "torch.linear": "torch",
    "torch.equivalents": "torch",
    "jax.flax_linen": "flax_linen",
    "jax.flax_nnx": "flax_nnx",
    "jax.equinox": "equinox",
    "jax.haiku": "haiku",
    "jax.numpy": "arrays",
    "numpy": "arrays",
    "function.adapter": "arrays",
    "onnxruntime": "onnxruntime",
    "tensorflow.module": "tensorflow",
    "tensorflow.v1": "tensorflow_v1",
}
#: Modes without values: a script would repeat the adapter.
SHAPE_ONLY_MODES: Final = ("symbolic", "meta", "abstract")
#: Templates without lines for shape inference with an unknown batch.
_WITHOUT_INFERENCE: Final = ("torch", "equinox", "haiku", "arrays", "onnxruntime")
_WITHOUT_PARAMETERS: Final = ("arrays", "onnxruntime")


def check_template(family: str, implementation: Implementation, steps: Sequence[Step]) -> None:
    """
    Check that a template supports all steps.

    Raises:
        NotReproducible: it does not support one of them.
    """
    kinds = {type(each) for each in steps}
    if family in _WITHOUT_INFERENCE and InferShapes in kinds:
        raise NotReproducible(f"{family} infers no shapes for an unknown batch")
    if family in _WITHOUT_PARAMETERS and ReadParameters in kinds:
        raise NotReproducible(f"{family} has no parameters")
    backend = implementation.environment.get("KERAS_BACKEND", "")
    differentiates = {
        "keras": backend in ("tensorflow", "jax", "torch") and implementation.mode != "predict",
        "arrays": function_of(implementation)[0] != "numpy",
        "onnxruntime": False,
    }.get(family, True)
    if Differentiate in kinds and not differentiates:
        raise NotReproducible(f"{implementation.name} does not differentiate")


def family_of(implementation: Implementation) -> str | None:
    """Return the name of the template for an implementation, None if there is none."""
    module = implementation.adapter.partition(":")[0]
    prefix = "conformance.adapters."
    return _FAMILIES.get(module.removeprefix(prefix)) if module.startswith(prefix) else None


def function_of(implementation: Implementation) -> tuple[str, Mapping[str, str] | None]:
    """Return the array library of an implementation, and the module and name of a user's function, if it is one."""
    module = implementation.adapter.partition(":")[0].removeprefix("conformance.adapters.")
    if module == "function.adapter" and implementation.mode is not None:
        path, _, library = implementation.mode.partition("@")
        of, _, name = path.partition(":")
        return library, {"module": of, "name": name}
    return ("jax" if module == "jax.numpy" else "numpy"), None
