"""
The environment variables of a framework's process.

An implementation runs in the environment that its users have after an installation, whatever the shell sets. So
variables that change what a framework computes are removed. Variables that describe the machine
(`CUDA_VISIBLE_DEVICES`, `JAX_PLATFORMS`, `LD_LIBRARY_PATH` ...) stay. The suite adds its own: few threads, GPU memory
on demand, no settings file of the home folder. The variables of the registry come last and take precedence. Frameworks
are not imported, and `os.environ` is not changed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import sys
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Prefixes of variables that change what a framework computes, or how Python runs.
REMOVED_PREFIXES: Final = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_",
    "JAX_",
    "KERAS_",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",
    "OMP_THREAD_LIMIT",
    "ONEDNN_",
    "OPENBLAS_CORETYPE",
    "PYTEST_",  # libraries behave differently under test
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",  # a framework may refuse with an assert
    "PYTHONWARNINGS",  # the suite's warnings may be errors; a framework's must not be
    "PYTORCH_",
    "TF_",
    "TORCH_",
    "TORCHDYNAMO_",
    "TORCHINDUCTOR_",
    "XLA_",
)
#: Prefixes of variables that stay: devices, folders and logging.
RETAINED_PREFIXES: Final = (
    "JAX_CUDA_VISIBLE_DEVICES",
    "JAX_PLATFORM",
    "JAX_ROCM_VISIBLE_DEVICES",
    "TF_CPP_",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_HOME",
    "TORCH_LOGS",
    "XLA_PYTHON_CLIENT_",
)

THREAD_COUNTS: Final = (
    "CONFORMANCE_THREADS",  # read by adapters that set the threads in code
    "MKL_NUM_THREADS",
    "NPROC",  # the CPU client of XLA, in older releases
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PJRT_NPROC",  # the CPU client of XLA
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def removed_names(inherited: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the variables in `inherited` that are removed for a framework's process, sorted."""
    return tuple(
        sorted(
            name for name in inherited if name.startswith(REMOVED_PREFIXES) and not name.startswith(RETAINED_PREFIXES)
        )
    )


def added_variables(
    own: Mapping[str, str], inherited: Mapping[str, str], *, threads: int, home: Path, cache: Path | None
) -> dict[str, str]:
    """
    Return the variables to set: the suite's, then those of an implementation's `own` environment.

    `home` is an empty folder for Keras's settings. `cache` is a folder for compiled programs, shared by processes, or
    None.
    """
    settings = {
        "KERAS_HOME": str(home),
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": inherited.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    settings.update(dict.fromkeys(THREAD_COUNTS, str(threads)))
    if cache is not None:
        settings.update(_jax_cache(cache, own.get("XLA_FLAGS", "")))
    return settings | dict(own)


def process_environment(
    own: Mapping[str, str], inherited: Mapping[str, str], *, threads: int, home: Path, cache: Path | None
) -> dict[str, str]:
    """Return the environment of a process: the inherited variables without `removed_names`, and `added_variables`."""
    removed = removed_names(inherited)
    variables = {name: value for name, value in inherited.items() if name not in removed}
    if not _is_writable(inherited.get("HOME", "")):
        # Many frameworks write files there on import, and would fail without it.
        variables["HOME"] = str(home)
    return variables | added_variables(own, inherited, threads=threads, home=home, cache=cache)


def writable_folder(cache: Path) -> Path | None:
    """Return a folder, created if necessary; None if files cannot be written: no home, no permission."""
    try:
        if cache.parts[:1] == ("~",) and not Path.home().is_dir():
            return None  # root could create a folder anywhere
        folder = cache.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if _is_writable(str(folder)) else None


@functools.cache
def _is_writable(folder: str) -> bool:
    """Return whether files can be written in a folder. Tried, because a file system may be read-only."""
    if not folder:
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _jax_cache(cache: Path, flags: str) -> dict[str, str]:
    """Return JAX's settings for a cache for these versions, processor and `flags` of XLA; none without JAX."""
    try:
        versions = [f"{each}-{importlib.metadata.version(each)}" for each in ("jax", "jaxlib")]
    except importlib.metadata.PackageNotFoundError:
        return {}
    python = f"python-{sys.version_info.major}.{sys.version_info.minor}"
    # Programs for a limited instruction set and for the whole processor are separate.
    limit = [f"flags-{zlib.crc32(flags.encode()):08x}"] if flags else []
    folder = cache.expanduser().absolute() / "-".join([*versions, python, _processor(), *limit])
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@functools.cache
def cpu_features() -> frozenset[str]:
    """Return the features of this machine's processor as Linux names them, such as avx512_bf16; elsewhere none."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in described.splitlines())
    named = (words for name, _, words in lines if name.strip() in ("flags", "Features"))
    return frozenset(word for words in named for word in words.split())


def _processor() -> str:
    """Return a name for this kind of processor: code for another one may compute other values, or trap."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        described = platform.processor()
    features = sorted({line for line in described.splitlines() if line.startswith(("flags", "Features", "model name"))})
    return f"{platform.machine()}-{zlib.crc32(repr(features or described).encode()):08x}"
