"""Which template writes the layers of an implementation, and what it has words for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from conformance.adapters.registry import Implementation
from conformance.run.reproduce.symptom import NotShown
from conformance.sandbox.steps import Differentiate, InferShapes, ReadParameters, Step

#: Module of a built-in adapter -> the template that says how its framework's users write a layer.
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
#: Modes that hold no values: a script of theirs would be their adapter over again.
SHAPES_ALONE: Final = ("symbolic", "meta", "abstract")
#: Templates that cannot say what a framework infers for an unknown batch in a few lines.
_INFERS_NOT: Final = ("torch", "equinox", "haiku", "arrays", "onnxruntime")
_HOLDS_NO_PARAMETERS: Final = ("arrays", "onnxruntime")


def check_words(family: str, implementation: Implementation, steps: Sequence[Step]) -> None:
    """
    Hold that a template has words for the steps.

    Raises:
        NotShown: it has none for one of them.
    """
    kinds = {type(each) for each in steps}
    if family in _INFERS_NOT and InferShapes in kinds:
        raise NotShown(f"{family} says nothing of an unknown batch")
    if family in _HOLDS_NO_PARAMETERS and ReadParameters in kinds:
        raise NotShown(f"{family} holds no parameters")
    backend = implementation.environment.get("KERAS_BACKEND", "")
    differentiates = {
        "keras": backend in ("tensorflow", "jax", "torch") and implementation.mode != "predict",
        "arrays": function_of(implementation)[0] != "numpy",
        "onnxruntime": False,
    }.get(family, True)
    if Differentiate in kinds and not differentiates:
        raise NotShown(f"{implementation.name} does not differentiate")


def family_of(implementation: Implementation) -> str | None:
    """Return the name of the template for an implementation, None where it has none."""
    module = implementation.adapter.partition(":")[0]
    prefix = "conformance.adapters."
    return _FAMILIES.get(module.removeprefix(prefix)) if module.startswith(prefix) else None


def function_of(implementation: Implementation) -> tuple[str, Mapping[str, str] | None]:
    """Return whose arrays are computed with, and the module and name of someone's own function, if it is one."""
    module = implementation.adapter.partition(":")[0].removeprefix("conformance.adapters.")
    if module == "function.adapter" and implementation.mode is not None:
        path, _, library = implementation.mode.partition("@")
        of, _, name = path.partition(":")
        return library, {"module": of, "name": name}
    return ("jax" if module == "jax.numpy" else "numpy"), None
