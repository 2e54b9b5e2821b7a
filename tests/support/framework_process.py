"""
What implementations answer in one process for each framework, as starting a framework takes seconds.

`answers(group, folder)` holds the records of every `Request` of a group. The workers of a run of pytest share what one
of them was answered, by a folder they have in common. Run as a script, this module is the process of a group.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import filelock
import numpy as np

from conformance.adapters.protocol import Dense, Stack
from conformance.adapters.registry import Implementation, select
from conformance.checks.cell import cell_of, unsupported_reason
from conformance.results import plain
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.sandbox.child import load
from conformance.sandbox.execution import perform
from conformance.sandbox.layouts import arrange
from conformance.sandbox.steps import Build, Forward, Output, Raised
from conformance.table.case import Case, Layer
from tests.support.paths import ROOT
from tests.support.planted_frameworks import CASE as PLANTED_CASE
from tests.support.planted_frameworks import NO_FAULT, faults, planted

#: The environment of each group's process, with all that each of its implementations sets.
GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "jax": {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    "torch": {"KERAS_BACKEND": "torch", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
    "tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "0"},
    "keras2": {"TF_USE_LEGACY_KERAS": "1"},
}
#: What Keras finds in the settings of a user, and must not take over.
HOSTILE_SETTINGS: Final = {
    "floatx": "float64",
    "epsilon": 0.5,
    "backend": "none",
    "image_data_format": "channels_first",
}

#: Two layers over two axes: every check there is but refusal and permuted positions.
TWO_LAYERS: Final = Case(input_shape=(3, 2), layers=(Layer(units=4, activation="relu"), Layer(units=5)), lane="exact")
#: What a compiler takes seconds for.
ONE_LAYER: Final = Case(
    input_shape=(3, 2),
    layers=(Layer(units=4),),
    lane="exact",
    checks=("output_shape", "parameters", "output", "gradients", "weights_live"),
)
DEEP: Final = Case(
    input_shape=(2, 3, 5), layers=(Layer(units=4),), lane="exact", checks=("output_shape", "parameters", "output")
)
#: A vector without a batch, which Keras's layer refuses and these take.
VECTOR: Final = replace(ONE_LAYER, input_shape=(5,), batch=None)
#: Square, so that nothing is refused where axes are mixed up.
SQUARE: Final = Case(input_shape=(4,), layers=(Layer(units=4),), lane="exact", batch=4)
FOREIGN: Final = replace(SQUARE, feed_shape=(2, 5), expect=replace(SQUARE.expect, error=True))
#: Beyond every memory.
HUGE: Final = Case(input_shape=(10**9,), layers=(Layer(units=10**9),), lane="shapes")
ABSTRACT: Final = replace(HUGE, input_shape=(3, 2))

#: Layers that take a vector without a batch.
VECTORS_TAKEN: Final = (
    *("flax-linen:jit", "flax-linen:dense-general", "flax-linen:einsum"),
    *("flax-nnx:jit", "flax-nnx:linear-general", "flax-nnx:einsum"),
    *("equinox", "haiku", "jax-numpy"),
)
#: Layers and ways of calling them that conform, by group.
LAYERS: Final[Mapping[str, Sequence[str]]] = {
    "jax": ("keras-jax:jit", *VECTORS_TAKEN),
    "torch": (
        *("keras-torch:functional", "keras-torch:predict", "keras-torch:time-distributed", "keras-torch:conv1d"),
        *("keras-torch:einsum-dense", "torch:export", "torch:lazy", "torch:functional", "torch:conv1d"),
        *("onnxruntime:torch", "onnxruntime:keras", "tests.support.plain_functions:dense@torch"),
    ),
    "tensorflow": (
        *("keras-tensorflow:graph", "keras-tensorflow:xla", "tests.support.plain_functions:dense@tensorflow"),
        *("tensorflow:matmul", "tensorflow:tensordot", "tensorflow:einsum"),
    ),
    "keras2": (),
}
#: Those that infer shapes alone, by group.
SHAPES_ALONE: Final[Mapping[str, Sequence[str]]] = {
    "jax": ("flax-linen:abstract", "flax-nnx:abstract"),
    "torch": ("keras-torch:symbolic", "torch:meta"),
}
#: The frameworks that faults are planted in, by group.
PLANTED: Final[Mapping[str, Sequence[str]]] = {
    "jax": ("keras-jax", "flax-linen", "flax-nnx"),
    "torch": ("keras-torch", "torch"),
    "tensorflow": ("keras-tensorflow",),
    "keras2": ("tensorflow-v1", "keras2"),
}


#: The layer of Flax that each mode is about.
_FLAX_LAYERS: Final = {
    **dict.fromkeys(("flax-linen", "flax-linen:jit", "flax-linen:abstract"), "Dense"),
    "flax-linen:dense-general": "DenseGeneral",
    "flax-linen:einsum": "Einsum",
    **dict.fromkeys(("flax-nnx", "flax-nnx:jit", "flax-nnx:abstract"), "Linear"),
    "flax-nnx:linear-general": "LinearGeneral",
    "flax-nnx:einsum": "Einsum",
}
#: What was looked at, whether it is right, and what was found.
Finding = tuple[str, bool, object]
_WITHOUT_WEIGHTS: Final = Stack(
    input_shape=(5,),
    leading_axes=1,
    dtype="float32",
    layers=(Dense(units=3, use_bias=True, activation="linear", kernel=None, bias=None),),
)


@dataclass(frozen=True)
class Request:
    """A case that an implementation is asked, and what is planted in its framework meanwhile."""

    implementation: str
    case: Case
    fault: str = NO_FAULT


#: Further requests, by group.
_FURTHER: Final[Mapping[str, Sequence[Request]]] = {
    "jax": [
        *(Request(each, case) for each in VECTORS_TAKEN for case in (VECTOR, FOREIGN)),
        Request("flax-linen:jit", SQUARE, "tests.support.faulty_jax_adapters:CompilesItsWeightsIn"),
        Request("equinox", SQUARE, "tests.support.faulty_jax_adapters:MixesItsBatch"),
        Request("flax-nnx:abstract", HUGE, "tests.support.faulty_jax_adapters:ForgetsItsBias"),
    ],
    "torch": [
        Request("torch:compile", ONE_LAYER),
        Request("keras-torch:einsum-dense", DEEP),
        Request("tests.support.plain_functions:hides_its_kernel@torch", TWO_LAYERS),
        *(Request(f"torch:{each}", ONE_LAYER, "computes a double") for each in ("lazy", "functional", "export")),
        Request("torch:conv1d", ONE_LAYER, "computes a double"),
        Request("torch:meta", ABSTRACT, "flattens its output"),
        Request("torch:compile", ONE_LAYER, "compiles nothing"),
    ],
}


def requests(group: str) -> Sequence[Request]:
    """Return what is asked in the process of a group, in order: what is planted comes last."""
    found = [Request(name, TWO_LAYERS) for name in LAYERS[group]]
    found += [Request(name, HUGE) for name in SHAPES_ALONE.get(group, ())]
    found += _FURTHER.get(group, ())
    for name in PLANTED[group]:
        found += [Request(name, PLANTED_CASE, fault) for fault in (NO_FAULT, *faults(name))]
    return [each for each in found if not _missing(each.implementation)]


@dataclass(frozen=True)
class Answers:
    """What came of a group: the record of each request, what implementations say of themselves, further findings."""

    records: Mapping[Request, Mapping[str, Any]]
    hellos: Mapping[str, Mapping[str, Any]]
    findings: Sequence[Finding]


@functools.cache
def answers(group: str, folder: Path) -> Answers:
    """Return what came of every request of a group, from its process, or from the file it has left in the folder."""
    file = folder / f"{group}.json"
    with filelock.FileLock(folder / f"{group}.lock"):
        if not file.exists():
            _start(group, file)
    records, hellos, findings = json.loads(file.read_text(encoding="utf-8"))
    return Answers(dict(zip(requests(group), records, strict=True)), hellos, findings)


def _start(group: str, file: Path) -> None:
    """Run the process of a group to its end, which writes the file."""
    home = file.parent / f"keras-{group}"
    home.mkdir()
    (home / "keras.json").write_text(json.dumps(HOSTILE_SETTINGS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.framework_process", group, str(file), str(home)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def _missing(name: str) -> Sequence[str]:
    return select([name])[0].missing_packages()


def outcomes(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the outcome of each check of a record."""
    return {each["check"]: each["outcome"] for each in record["checks"]}


# What follows runs in the process of a group.


def _implementation_of(request: Request, environment: Mapping[str, str]) -> Implementation:
    """Return the implementation of a request, in the environment of its group."""
    (implementation,) = select([request.implementation])
    assert implementation.environment.items() <= environment.items(), f"{implementation.name} is of another group"
    if ":" in request.fault:
        implementation = replace(implementation, adapter=request.fault, mode=None)
    assert unsupported_reason(request.case, implementation) is None
    return replace(implementation, environment=environment)


def _records(group: str, environment: Mapping[str, str]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the record of each request, with what its implementation said of itself."""
    for request in requests(group):
        implementation = _implementation_of(request, environment)
        plant = request.fault != NO_FAULT and ":" not in request.fault
        with planted(request.implementation, request.fault) if plant else contextlib.nullcontext():
            runner = Runner(processes=ProcessOptions(in_process=True))
            record = plain(runner.run(cell_of(request.case, implementation, "cpu")))
        yield record, {each: asdict(hello) for each, hello in runner.hellos.items()}


def _findings(group: str) -> Iterator[Finding]:
    """Yield what no cell shows: initial weights, and devices where there is no GPU."""
    installed = [name for name in PLANTED[group] if not _missing(name)]
    for name in installed:
        yield from _adapter_findings(*select([name]))
    if installed == [*PLANTED[group]]:
        yield from _FRAMEWORK_FINDINGS.get(group, tuple)()


def _adapter_findings(implementation: Implementation) -> Iterator[Finding]:
    """Yield whether a layer without given weights has its own, and whether a GPU that is not there is made up."""
    adapter = load(implementation.adapter, implementation.mode)
    x = np.ones((3, 5), "float32")
    for device in ("cpu", "gpu"):
        steps = (Build(label="build", stack=_WITHOUT_WEIGHTS, device=device), Forward(label="forward", x=x))
        answers = {each.label: each.answer for each in perform(adapter, steps)}
        output = answers["forward"]
        if device == "cpu":
            drawn = isinstance(output, Output) and output.y.shape == (3, 3) and bool(output.y.any())
            yield f"{implementation.name}: initial weights", drawn, str(answers)
        else:
            # TensorFlow places elsewhere what it cannot place as it should; then the answer must say where that was.
            is_elsewhere = isinstance(output, Output) and output.placement == "cpu"
            raises = any(isinstance(each, Raised) for each in answers.values())
            right = raises or (is_elsewhere and "tensorflow" in implementation.packages)
            yield f"{implementation.name}: no GPU, and none made up", right, str(answers)


def _named_by_tensorflow() -> Iterator[Finding]:
    from conformance.adapters.tensorflow.arrays import kind_of

    kind = kind_of("/job:localhost/replica:0/task:0/device:GPU:0")
    yield "read from the name of a device", kind == "gpu", kind


def _placed_by_torch() -> Iterator[Finding]:
    import torch

    from conformance.adapters.torch.arrays import from_numpy, placement_of

    yield "read from the tensor", placement_of(torch.empty(1, device="meta")) == "meta", None
    wide = arrange(np.ones((2, 3, 5), "float32"), "broadcast")
    moved = from_numpy(wide, "meta")
    kept = tuple(step * 4 for step in moved.stride()) == wide.strides and moved.device.type == "meta"
    yield "strides survive the move to a device", kept, str(moved.stride())


def _placed_by_jax() -> Iterator[Finding]:
    import jax

    from conformance.adapters.jax.flax_nnx import FlaxNnxAdapter

    first, second = jax.devices("cpu")
    jax.config.update("jax_default_device", second)
    model: Any = FlaxNnxAdapter().build(_WITHOUT_WEIGHTS, device="cpu")
    model.forward(np.ones((3, 5), "float32"))
    yield "placed where it should be, not by default", model._output.devices() == {first}, str(model._output)
    for name, layer in _FLAX_LAYERS.items():
        (implementation,) = select([name])
        made: Any = load(implementation.adapter, implementation.mode).build(_WITHOUT_WEIGHTS, device="cpu")
        found = type(made._module.layers[0]).__name__
        yield f"{name} has the layer it names", found == layer, found


_FRAMEWORK_FINDINGS: Final[Mapping[str, Callable[[], Iterable[Finding]]]] = {
    "jax": _placed_by_jax,
    "torch": _placed_by_torch,
    "keras2": _named_by_tensorflow,
}


def main(group: str, file: str, home: str) -> None:
    """Write into a file what came of the requests of a group, where `home` holds somebody's settings of Keras."""
    records: list[Mapping[str, Any]] = []
    hellos: dict[str, Any] = {}
    for record, hello in _records(group, {**GROUPS[group], "KERAS_HOME": home}):
        records.append(record)
        hellos |= hello
    Path(file).write_text(json.dumps([records, hellos, list(_findings(group))]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
