"""NumPy, plain functions, and a package that joins from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters.registry import BUILT_IN, UnknownImplementation, select
from conformance.checks.cell import cell_of, check_names, has_cell
from conformance.results import plain
from conformance.run.cell_runner import Runner
from conformance.table.case import Case, Layer
from conformance.table.loader import default_cases, load
from tests.support.paths import ROOT
from tests.support.runs import conformance

EXAMPLES = ROOT / "docs" / "examples"
#: The adapter that holds plain functions.
FUNCTION_ADAPTER = "conformance.adapters.function.adapter:FunctionAdapter"
JOINING = ROOT / "tests" / "support" / "joining"
#: Two layers over two axes: every check there is but refusal and permuted positions.
CASE = Case(input_shape=(3, 2), layers=(Layer(units=4), Layer(units=5)), lane="exact")
UNDIFFERENTIATED = {"output_shape", "parameters", "gradients", "weights_live"}


def seeds() -> Sequence[Case]:
    return [each for each in load([default_cases() / "seed.yaml"]).cases if not each.expect.error]


@cache
def records(name: str, cases: tuple[Case, ...] = ()) -> Sequence[Mapping[str, Any]]:
    """Return what came of the seed rows, or of the cases given, from one process."""
    (implementation,) = select([name])
    if missing := implementation.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    runner = Runner()
    asked = [each for each in (cases or tuple(seeds())) if has_cell(each, implementation)]
    try:
        return [plain(runner.run(cell_of(each, implementation, "cpu"))) for each in asked]
    finally:
        runner.close()


def outcomes(record: Mapping[str, Any]) -> dict[str, str]:
    return {each["check"]: each["outcome"] for each in record["checks"]}


def test_numpy_answers_all_that_follows_from_outputs() -> None:
    (record,) = records("numpy", (CASE,))
    expected = {each: "unsupported" if each in UNDIFFERENTIATED else "conforms" for each in check_names(CASE)}
    assert outcomes(record) == expected
    assert record["outcome"] == "conforms"


def test_numpy_runs_only_linear_and_relu() -> None:
    (numpy,) = select(["numpy"])
    assert {each.layers[-1].activation for each in seeds()} == {"linear", "softmax"}
    assert {each.layers[-1].activation for each in seeds() if has_cell(each, numpy)} == {"linear"}


# Plain functions.


@pytest.mark.parametrize("framework", ["numpy", "jax"])
def test_a_function_runs_on_the_arrays_of_each_framework(framework: str) -> None:
    (record,) = records(f"tests.support.plain_functions:dense@{framework}", (CASE,))
    declined = UNDIFFERENTIATED if framework == "numpy" else {"output_shape", "parameters"}
    expected = {each: "unsupported" if each in declined else "conforms" for each in check_names(CASE)}
    assert outcomes(record) == expected, record


@pytest.mark.parametrize(
    ("function", "red"),
    [
        ("forgets_the_bias", {"output", "weights_live"}),
        ("caches_its_first_kernel", {"weights_live"}),
        ("flattens", {"output_shape", "output"}),
        ("returns_a_list", {"output"}),
    ],
)
def test_a_faulty_function_violates(function: str, red: set[str]) -> None:
    (record,) = records(f"tests.support.plain_functions:{function}", (CASE,))
    assert red <= {check for check, outcome in outcomes(record).items() if outcome == "violates"}


def test_a_function_refuses_what_it_is_fed() -> None:
    (legal, fed) = records(
        "tests.support.plain_functions:dense", (CASE, replace(CASE, feed_shape=(2, 3, 4), expect=ERROR))
    )
    assert legal["outcome"] == "conforms"
    assert outcomes(fed) == {"refusal": "conforms"}


ERROR = replace(CASE.expect, error=True)


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ("tests.support.plain_functions:dense", FUNCTION_ADAPTER),
        ("tests.support.plain_functions:without_a_default@jax", FUNCTION_ADAPTER),
        ("tests.support.plain_functions:makes_an_adapter", "tests.support.plain_functions:makes_an_adapter"),
        ("tests.support.plain_functions:Settings", "tests.support.plain_functions:Settings"),
        ("tests.support.plain_functions:built", "tests.support.plain_functions:built"),
        ("tests.support.faulty_adapters:DropsBias", "tests.support.faulty_adapters:DropsBias"),
    ],
)
def test_the_source_distinguishes_a_function_from_an_adapter(name: str, adapter: str) -> None:
    (implementation,) = select([name])
    assert (implementation.name, implementation.adapter) == (name, adapter)


def test_a_built_function_crashes_with_the_name_to_use() -> None:
    (record,) = records("tests.support.plain_functions:built", (CASE,))
    assert record["outcome"] == "crashed"
    assert "is named tests.support.plain_functions:built@numpy" in record["reason"]
    (record,) = records("tests.support.plain_functions:built@numpy", (CASE,))
    assert record["outcome"] == "conforms"


@pytest.mark.parametrize(
    "name", ["tests.support.plain_functions:dense@mxnet", "numpy:dense", "tensorflow:conv", "a b:c@numpy"]
)
def test_an_invalid_name_is_an_unknown_implementation(name: str) -> None:
    with pytest.raises(UnknownImplementation):
        select([name])


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return conformance(*arguments, cwd=folder, **environment)


def run_example(example: str, results: Path) -> subprocess.CompletedProcess[str]:
    rows = [str(default_cases() / each) for each in ("seed.yaml", "edges.yaml")]
    return run(EXAMPLES, "run", *rows, "-i", f"{example}:dense", "-n", "0", "-o", str(results))


def test_the_example_of_a_kernel_conforms(tmp_path: Path) -> None:
    done = run_example("hand_written_matmul", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_a_quantized_kernel_is_red_with_its_error(tmp_path: Path) -> None:
    done = run_example("quantized", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    line = re.search(r"  output +output\[.*\] = \S+, expected \S+ \(\|difference\| \S+ > allowed", done.stdout)
    assert line is not None, done.stdout


# A package that joins from outside.


def test_contributing_has_the_files_of_the_joining_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for kind, file in (("toml", "pyproject.toml"), ("python", "dense_by_einsum.py")):
        assert f"```{kind}\n{(JOINING / file).read_text(encoding='utf-8')}```" in text


def test_a_package_joins_by_its_entry_point(tmp_path: Path) -> None:
    target = tmp_path / "target"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(JOINING)]
    subprocess.run(install, check=True, timeout=120)
    path = os.pathsep.join([str(target), str(ROOT)])
    listed = run(tmp_path, "list", "implementations", PYTHONPATH=path)
    assert "einsum" in listed.stdout.split(), listed.stdout + listed.stderr
    assert "einsum" not in run(tmp_path, "list", "implementations").stdout.split()
    seed = str(default_cases() / "seed.yaml")
    done = run(tmp_path, "run", seed, "-i", "einsum", "-n", "0", "-o", str(tmp_path), PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    found = [each for each in map(json.loads, lines) if "outcome" in each]
    assert Counter(each["outcome"] for each in found) == {"conforms": 4, "unsupported": 8}, "it has no softmax"


def test_the_names_of_this_group_are_registered() -> None:
    assert "numpy" in {each.name for each in BUILT_IN if each.participation.tier == "nightly"}
