"""
The distributions whose versions an entry of the ledger may name: those that adapters report.

`clang` is no distribution. It is the compiler that tinygrad calls, and its adapter reports the version.
"""

from __future__ import annotations

from typing import Final

DISTRIBUTIONS: Final = (
    "ai-edge-litert",
    "clang",
    "dm-haiku",
    "equinox",
    "flax",
    "jax",
    "jaxlib",
    "keras",
    "ml_dtypes",
    "mlx",
    "mlx-cpu",
    "mlx-metal",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "tensorflow",
    "tf_keras",
    "tinygrad",
    "torch",
)
