"""
Limits on the processor's instruction set: the variables that `--cpu-isa NAME` sets for a framework's process.

A library selects its kernels by the features of the processor. So one release adds in different orders on different
machines. These variables make a library use the kernels of an older processor. Frameworks are not imported.
"""

from __future__ import annotations

import functools
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Final

from conformance.adapters.implementation import Implementation


@dataclass(frozen=True, kw_only=True, slots=True)
class InstructionSet:
    """One instruction set of x86-64, by the name that each library gives it."""

    #: Features as Linux names them that this set adds to the sets before it. A processor without one lacks the set.
    features: frozenset[str]
    #: Features as NumPy names them that this set adds to the sets before it, of NumPy 1.26 and later.
    numpy: frozenset[str]
    #: `ATEN_CPU_CAPABILITY`: kernels of PyTorch itself.
    aten: str
    #: `ONEDNN_MAX_CPU_ISA`: kernels of oneDNN.
    onednn: str
    #: `MKL_ENABLE_INSTRUCTIONS`: kernels of MKL on processors of Intel.
    mkl: str
    #: `--xla_cpu_max_isa` of XLA, the compiler of JAX.
    xla: str
    #: `OPENBLAS_CORETYPE`: kernels of OpenBLAS, the BLAS of NumPy's wheels.
    openblas: str
    #: `MKL_CBWR`: kernels of MKL on every processor, where MKL has such a setting.
    mkl_branch: str | None = None


#: The instruction sets by name, each a superset of the ones before it.
INSTRUCTION_SETS: Final = {
    "sse4.2": InstructionSet(
        features=frozenset({"sse4_1", "sse4_2", "popcnt"}),
        numpy=frozenset({"SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "POPCNT", "SSE42", "X86_V2"}),
        aten="default",
        onednn="SSE41",
        mkl="SSE4_2",
        mkl_branch="COMPATIBLE",
        xla="SSE4_2",
        openblas="Nehalem",
    ),
    "avx": InstructionSet(
        # XLA keeps F16C under its own limit AVX, so the set is that of Ivy Bridge.
        features=frozenset({"avx", "f16c"}),
        numpy=frozenset({"AVX", "F16C"}),
        aten="default",
        onednn="AVX",
        mkl="AVX",
        xla="AVX",
        openblas="Sandybridge",
    ),
    "avx2": InstructionSet(
        features=frozenset({"avx2", "fma"}),
        numpy=frozenset({"FMA3", "AVX2", "X86_V3"}),
        aten="avx2",
        onednn="AVX2",
        mkl="AVX2",
        xla="AVX2",
        openblas="Haswell",
    ),
    "avx512": InstructionSet(
        features=frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
        numpy=frozenset({"AVX512F", "AVX512CD", "AVX512_SKX", "X86_V4"}),
        aten="avx512",
        onednn="AVX512_CORE",
        mkl="AVX512",
        xla="AVX512",
        openblas="SkylakeX",
    ),
}
NAMES: Final = tuple(INSTRUCTION_SETS)

#: Prefixes of the features that select kernels. Other features (`rdrand`, `sha_ni`) change no sum.
_VECTOR_FEATURES: Final = ("amx", "avx", "f16c", "fma", "vaes", "vpclmulqdq", "xop")
#: Packages with kernels that no variable limits. TensorFlow selects its own kernels by the processor, and its oneDNN
#: aborts on 16-bit products if only oneDNN is limited. So oneDNN is not limited for these.
_UNLIMITED: Final = frozenset({"ai_edge_litert", "mlx", "onnxruntime", "openvino", "tensorflow", "tinygrad"})


def missing_features(name: str, features: Set[str]) -> tuple[str, ...]:
    """Return the features of the instruction set `name` that are not in `features`, sorted."""
    return tuple(sorted(_features_up_to(name) - features))


def is_limited(implementation: Implementation) -> bool:
    """Return whether a limit applies to all kernels of an implementation; False for those of TensorFlow."""
    return not _UNLIMITED & {*implementation.packages}


def with_limit(implementation: Implementation, name: str | None) -> Implementation:
    """
    Return the implementation with the limit `name` in its environment; unchanged where `name` is None.

    The switches of XLA that the environment holds stay, with the limit after them.
    """
    if name is None:
        return implementation
    limit = INSTRUCTION_SETS[name]
    environment = {
        **implementation.environment,
        "ATEN_CPU_CAPABILITY": limit.aten,
        "OPENBLAS_CORETYPE": limit.openblas,
        "XLA_FLAGS": f"{implementation.environment.get('XLA_FLAGS', '')} --xla_cpu_max_isa={limit.xla}".lstrip(),
    }
    if disabled := _disabled_in_numpy(name):
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(disabled)
    if is_limited(implementation):
        environment |= {"ONEDNN_MAX_CPU_ISA": limit.onednn, "MKL_ENABLE_INSTRUCTIONS": limit.mkl}
        if limit.mkl_branch is not None:
            environment["MKL_CBWR"] = limit.mkl_branch
    return replace(implementation, environment=environment)


@functools.cache
def _disabled_in_numpy(name: str) -> tuple[str, ...]:
    """
    Return the features of NumPy's kernels that are beyond the instruction set `name`.

    NumPy raises where a feature of its baseline is disabled, so its baseline is not among them.
    """
    import numpy as np

    kernels = np.show_config(mode="dicts")["SIMD Extensions"]
    within = frozenset().union(*(each.numpy for each in _up_to(name)))
    # NumPy ignores features that the machine does not have.
    dispatched = [*kernels.get("found", ()), *kernels.get("not found", ())]
    return tuple(each for each in dispatched if each not in within)


def _features_up_to(name: str) -> frozenset[str]:
    return frozenset().union(*(each.features for each in _up_to(name)))


def _up_to(name: str) -> tuple[InstructionSet, ...]:
    """Return the instruction set `name` and those before it."""
    return tuple(INSTRUCTION_SETS[each] for each in NAMES[: NAMES.index(name) + 1])
