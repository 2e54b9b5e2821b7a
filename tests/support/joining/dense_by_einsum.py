from collections.abc import Sequence

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported
from conformance.adapters.registry import Implementation

NO = dict.fromkeys(("output_shape", "parameters", "refusal"), "einsum infers no shape and has no parameters")
NO |= dict.fromkeys(("gradients", "weights_live"), "einsum does not differentiate")
LINEAR = frozenset({"linear"})
IMPLEMENTATION = Implementation(
    name="einsum", adapter="dense_by_einsum:Adapter", packages=("numpy",), unanswerable=NO, activations=LINEAR
)

class Adapter:
    def versions(self) -> dict[str, str]: return {"numpy": np.__version__}
    def settings(self) -> dict[str, object]: return {}
    def devices(self) -> Sequence[str]: return ["cpu"]
    def build(self, stack: Stack, *, device: str) -> "Model": return Model(stack)

class Model:
    def __init__(self, stack: Stack) -> None: self.stack = stack
    def set_weights(self, stack: Stack) -> None: self.stack = stack
    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]: raise Unsupported("einsum infers nothing")
    def parameters(self) -> Sequence[Parameter]: raise Unsupported("einsum has no parameters")
    def parameter_count(self) -> None: return None
    def gradients(self, x: Array, dy: Array) -> Gradients: raise Unsupported("einsum does not differentiate")
    def placement(self) -> str: return "cpu"
    def handed_strides(self) -> None: return None
    def forward(self, x: Array) -> Array:
        for layer in self.stack.layers:
            assert layer.kernel is not None
            y = np.einsum("...d,dm->...m", x, layer.kernel)
            x = y if layer.bias is None else y + layer.bias
        return x
