"""What `--cpu-isa` sets, and that each library keeps to it in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from conformance.adapters.implementation import Implementation
from conformance.adapters.registry import select
from conformance.checks.cell import Cell
from conformance.run import cell_runner
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.instruction_set import INSTRUCTION_SETS, NAMES, missing_features, with_limit
from conformance.run.reproduce.recorded_cells import reproduce
from conformance.sandbox import environment
from conformance.sandbox.environment import cpu_features
from conformance.table.case import DTYPES, Case, Layer
from conformance.table.lane_names import LANES
from conformance.table.loader import default_cases, load
from tests.support.paths import ROOT
from tests.support.runs import conformance, lines, table
from tools.portability import SAMPLE, limited_runs

CASE = Case(input_shape=(3,), layers=(Layer(units=2),), lane="exact")
ROWS = table({"input_shape": [3], "units": 2, "values": "exact"})
#: Every feature of NumPy's kernels that this processor and this NumPy have beyond NumPy's baseline.
DISPATCHED = np.show_config(mode="dicts")["SIMD Extensions"]

needs_avx2 = pytest.mark.skipif(
    bool(missing_features("avx2", cpu_features())), reason="the processor has no AVX2 to do without"
)


def variables(name: str, limit: str | None) -> Mapping[str, str]:
    return with_limit(select([name])[0], limit).environment


def child(code: str, name: str, limit: str | None, **own: str) -> str:
    """Return what a process of an implementation prints, started as the suite starts it."""
    (implementation,) = select([name])
    implementation = with_limit(
        Implementation(name=name, adapter="", packages=implementation.packages, environment=own), limit
    )
    variables = environment.process_environment(
        implementation.environment, os.environ, threads=1, home=Path("/tmp"), cache=None
    )
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings(name: str, limit: str | None) -> Mapping[str, object]:
    """Return what an implementation's process says of itself when it is asked a cell."""
    runner = Runner(processes=ProcessOptions(cpu_isa=limit))
    (implementation,) = select([name])
    record = runner.run(Cell(case=CASE, implementation=implementation, device="cpu"))
    runner.close()
    assert record.outcome == "conforms", record
    return runner.hellos[name].settings


def test_tensorflow_has_no_limited_onednn_and_torch_has() -> None:
    for name in ("torch", "keras-torch", "keras-jax", "flax-nnx"):
        assert (
            variables(name, "avx")["ONEDNN_MAX_CPU_ISA"] == variables(name, "avx")["MKL_ENABLE_INSTRUCTIONS"] == "AVX"
        )
    for name in ("keras-tensorflow", "tensorflow-v1", "tensorflow:einsum", "keras-openvino"):
        assert not {"ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR"} & {*variables(name, "sse4.2")}


def test_without_a_limit_an_implementation_stays_as_it_is() -> None:
    (torch,) = select(["torch"])
    assert with_limit(torch, None) is torch


def test_flags_of_xla_that_are_there_stay() -> None:
    (jax,) = select(["flax-nnx"])
    own = Implementation(
        name="mine", adapter=jax.adapter, packages=jax.packages, environment={"XLA_FLAGS": "--xla_dump_to=x"}
    )
    assert with_limit(own, "avx2").environment["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_max_isa=AVX2"
    assert with_limit(jax, "avx2").environment["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"


def test_a_processor_lacks_what_an_instruction_set_needs() -> None:
    assert missing_features("avx", {"sse4_1", "sse4_2", "popcnt", "avx", "f16c"}) == ()
    assert missing_features("avx2", {"sse4_1", "sse4_2", "popcnt", "avx", "fma"}) == ("avx2", "f16c")


def test_a_cell_is_not_run_where_the_processor_lacks_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_runner, "cpu_features", lambda: frozenset({"sse4_1", "sse4_2", "popcnt"}))
    record = Runner(processes=ProcessOptions(cpu_isa="avx")).run(
        Cell(case=CASE, implementation=select(["numpy"])[0], device="cpu")
    )
    assert (record.outcome, record.reason) == ("not_run", "--cpu-isa avx: the processor lacks avx, f16c")


TORCH = """
import hashlib, numpy as np, torch
torch.nn.Conv1d(8, 16, 3)(torch.ones(2, 8, 32))
print("capability", torch.backends.cpu.get_cpu_capability())
x = torch.from_numpy(np.random.default_rng(0).standard_normal((300, 300), dtype=np.float32))
print("product", hashlib.sha256((x @ x).numpy().tobytes()).hexdigest())
"""


@cache
def torch_with(limit: str | None) -> str:
    """Return what torch prints of its kernels, oneDNN's and the bits of a product of MKL's."""
    return child(TORCH, "torch", limit, ONEDNN_VERBOSE="1")


@needs_avx2
@pytest.mark.parametrize(
    ("limit", "kernels", "onednn"),
    [("sse4.2", "DEFAULT", "sse41"), ("avx", "DEFAULT", "avx"), ("avx2", "AVX2", "avx2")],
)
def test_torch_and_its_onednn_obey_the_limit(limit: str, kernels: str, onednn: str) -> None:
    assert f"capability {kernels}\n" in torch_with(limit)
    assert f"convolution,jit:{onednn}," in torch_with(limit)
    assert variables("torch", limit).items() <= variables("keras-torch", limit).items()


@needs_avx2
def test_mkl_in_torch_computes_without_fused_multiply_adds() -> None:
    """MKL does not say which kernels it takes; sums of numbers with many bits differ in the last of them."""
    limited, own = (torch_with(each).split("product ")[1].split()[0] for each in ("sse4.2", None))
    assert limited != own


@needs_avx2
@pytest.mark.parametrize(("limit", "widest"), [("sse4.2", "<4 x float>"), ("avx", "<8 x float>")])
def test_xla_obeys_the_limit(tmp_path: Path, limit: str, widest: str) -> None:
    code = (
        "import jax, jax.numpy as jnp\njax.jit(lambda x: jnp.tanh(x) * 3 + 1)(jnp.ones((16, 64))).block_until_ready()"
    )
    child(code, "flax-nnx", limit, XLA_FLAGS=f"--xla_dump_to={tmp_path}")
    compiled = "".join(each.read_text(encoding="utf-8") for each in tmp_path.glob("*lambda*ir-with-opt.ll"))
    assert widest in compiled
    assert ("<8 x float>" in compiled) == (widest == "<8 x float>")


@pytest.mark.skipif(not DISPATCHED.get("found"), reason="NumPy has no kernels here but those of its baseline")
def test_numpy_obeys_the_limit() -> None:
    assert settings("numpy", None)["simd"]
    assert settings("numpy", "sse4.2")["simd"] == ""


@needs_avx2
@pytest.mark.skipif(
    "openblas" not in {each["internal_api"] for each in threadpoolctl.threadpool_info()}, reason="NumPy has no OpenBLAS"
)
@pytest.mark.parametrize("limit", ["sse4.2", "avx", "avx2"])
def test_openblas_obeys_the_limit(limit: str) -> None:
    code = """
import numpy, threadpoolctl
print([each["architecture"] for each in threadpoolctl.threadpool_info() if each["internal_api"] == "openblas"])
"""
    assert child(code, "numpy", limit).strip() == f"['{INSTRUCTION_SETS[limit].openblas}']"


def test_programs_compiled_for_one_instruction_set_answer_for_no_other(tmp_path: Path) -> None:
    folders = [
        environment.process_environment(variables("flax-nnx", each), {}, threads=1, home=tmp_path, cache=tmp_path)[
            "JAX_COMPILATION_CACHE_DIR"
        ]
        for each in (None, *NAMES)
    ]
    assert len({*folders}) == len(folders)


@needs_avx2
def test_a_run_records_its_limit_and_workers_obey_it(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(ROWS, encoding="utf-8")
    done = conformance("run", "rows.yaml", "-i", "numpy", "-n", "1", "--cpu-isa", "sse4.2", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    header, implementation, *_ = lines(tmp_path / "out" / "results.jsonl")
    assert header["selection"]["cpu_isa"] == "sse4.2"
    assert implementation["settings"]["simd"] == ""


@needs_avx2
def test_a_script_for_a_cell_sets_the_limit(tmp_path: Path) -> None:
    """The gradient of nn.Hardsigmoid in float64 is red without the ledger."""
    row = {"id": "red", "input_shape": [5], "units": 4, "activation": "hard_sigmoid", "dtype": "float64"}
    (tmp_path / "rows.yaml").write_text(table({**row, "values": "uniform"}), encoding="utf-8")
    options = ("-i", "torch", "-n", "0", "--no-ledger", "--cpu-isa", "sse4.2")
    done = conformance("run", "rows.yaml", *options, "-o", "out", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    results = tmp_path / "out" / "results.jsonl"
    for script in (reproduce("torch/red-uniform", results), reproduce("torch/red-uniform", results, "gradients")):
        assert re.search(r"ATEN_CPU_CAPABILITY\W+default", script)


@pytest.mark.parametrize("options", [("--cpu-isa", "mmx"), ("--cpu-isa", "")])
def test_an_unknown_instruction_set_is_one_error(tmp_path: Path, options: Sequence[str]) -> None:
    done = conformance("run", "-i", "numpy", *options, "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not one of 'sse4.2', 'avx', 'avx2', 'avx512'" in done.stderr


@pytest.mark.skipif(not missing_features("avx512", cpu_features()), reason="the processor has every instruction set")
def test_an_instruction_set_the_processor_lacks_is_one_error(tmp_path: Path) -> None:
    done = conformance("run", "-i", "numpy", "--cpu-isa", "avx512", "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: --cpu-isa avx512: the processor lacks " in done.stderr
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_portable_runs_every_instruction_set_there_is_with_one_and_two_threads() -> None:
    there = [each for each in NAMES if not missing_features(each, cpu_features())]
    assert [each.name for each in limited_runs()] == [f"{each}-{threads}" for each in there for threads in (1, 2)]


def test_the_sample_for_tensorflow_is_of_the_default_table_and_has_every_dtype_and_lane() -> None:
    cases = load([SAMPLE]).cases
    assert {each.id for each in cases} <= {each.id for each in load([default_cases()]).cases}
    found = {(each.dtype, each.lane) for each in cases}
    computed = {(dtype, lane) for dtype in DTYPES for lane in LANES if lane not in ("literal", "shapes")}
    flushed_by_qemu = {("float16", "wide"), ("float16", "cancelling")}
    assert found == (computed - flushed_by_qemu) | {("float32", "literal")}


@needs_avx2
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 is not installed")
def test_a_process_on_an_emulated_processor_has_the_features_of_that_one(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(ROWS, encoding="utf-8")
    command = [sys.executable, "-m", "tools.emulated", "Nehalem", str(tmp_path / "rows.yaml"), "-i", "numpy"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, implementation, *_ = lines(tmp_path / "results.jsonl")
    assert implementation["settings"]["simd"] == ""
