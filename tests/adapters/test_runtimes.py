"""MLX, tinygrad, LiteRT, and Keras on OpenVINO: each on the real framework, in its own process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from conformance.adapters.registry import BUILT_IN, Implementation, select
from conformance.checks.cell import cell_of, check_names, has_cell
from conformance.results import plain
from conformance.run.cell_runner import Runner
from conformance.table.case import Case, Layer
from conformance.table.loader import default_cases, load

FRAMEWORKS = ("mlx", "tinygrad", "litert", "keras-openvino")
#: Square, so that nothing is refused where axes are mixed up.
SQUARE = Case(input_shape=(4,), layers=(Layer(units=4),), lane="exact", batch=4)
FOREIGN = replace(SQUARE, feed_shape=(2, 5), expect=replace(SQUARE.expect, error=True))
VECTOR = Case(input_shape=(5,), layers=(Layer(units=3),), lane="exact", batch=None)
NO_FEATURES = Case(input_shape=(0,), layers=(Layer(units=3),), lane="exact")
HALF = Case(input_shape=(8,), layers=(Layer(units=4),), lane="exact", dtype="float16")
BRAIN = Case(input_shape=(8,), layers=(Layer(units=4, activation="relu"),), lane="exact", dtype="bfloat16")
DOUBLE = Case(input_shape=(8,), layers=(Layer(units=4, activation="relu"),), lane="exact", dtype="float64")
#: The further cases of each implementation, besides the seed.
FURTHER: Mapping[str, Sequence[Case]] = {
    "mlx": (VECTOR, HALF, BRAIN, DOUBLE, NO_FEATURES),
    "tinygrad": (VECTOR, HALF, NO_FEATURES),
    "litert": (NO_FEATURES,),
    "keras-openvino": (HALF,),
}


@cache
def seeds(name: str) -> Sequence[Case]:
    """Return one case for each row of the seed; the first two where each array costs a compilation or a conversion."""
    cases = [
        each for each in load([default_cases() / "seed.yaml"]).cases if each.lane == "uniform" and not each.expect.error
    ]
    return cases if name == "mlx" else cases[:2]


def chosen(name: str) -> Implementation:
    (implementation,) = select([name])
    if missing := implementation.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    return implementation


@dataclass(frozen=True)
class Answers:
    """What came of cases, in their order, and what the process said of its versions."""

    records: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]


def answers(implementation: Implementation, *cases: Case) -> Answers:
    """Return what came of the cases, from one process."""
    runner = Runner()
    try:
        found = [plain(runner.run(cell_of(each, implementation, "cpu"))) for each in cases]
        hello = runner.hellos.get(implementation.name)
        return Answers(found, {} if hello is None else hello.versions)
    finally:
        runner.close()


@cache
def all_answers(name: str) -> Answers:
    """Return the answers to the seed and the further cases of an implementation, all from one process."""
    return answers(chosen(name), *seeds(name), FOREIGN, *FURTHER[name])


def answered(name: str) -> Mapping[Case, Mapping[str, Any]]:
    return dict(zip((*seeds(name), FOREIGN, *FURTHER[name]), all_answers(name).records, strict=True))


def outcomes(record: Mapping[str, Any]) -> dict[str, str]:
    return {each["check"]: each["outcome"] for each in record["checks"]}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_layer_conforms_on_the_seed_and_refuses_what_does_not_fit(name: str) -> None:
    found, declined = answered(name), chosen(name).unanswerable
    assert len(seeds(name)) == (4 if name == "mlx" else 2)
    for case in seeds(name):
        expected = {check: "unsupported" if check in declined else "conforms" for check in check_names(case)}
        assert outcomes(found[case]) == expected, found[case]
    assert outcomes(found[FOREIGN]) == {"refusal": "conforms"}, found[FOREIGN]


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ("mlx", "mlx:MlxAdapter"),
        ("tinygrad", "tinygrad:TinygradAdapter"),
        ("litert", "litert:LiteRtAdapter"),
    ],
)
def test_weights_that_are_never_replaced_violate(name: str, adapter: str) -> None:
    implementation = chosen(name)
    faulty = replace(implementation, adapter="tests.support.wrapped_adapters:IgnoresNewWeights", mode=adapter)
    (record,) = answers(faulty, SQUARE).records
    seen = {check for check, outcome in outcomes(record).items() if outcome == "violates"}
    assert seen == {"output", "weights_live"} | ({"gradients"} - {*implementation.unanswerable}), record


@pytest.mark.parametrize(
    ("name", "cases"),
    [("mlx", (VECTOR, HALF, BRAIN, DOUBLE)), ("tinygrad", (VECTOR, HALF)), ("keras-openvino", (HALF,))],
)
def test_dtypes_and_vectors_conform(name: str, cases: Sequence[Case]) -> None:
    found = [answered(name)[each] for each in cases]
    if name == "keras-openvino":
        # Arrays that are not contiguous are misread, which the ledger declares. Contiguous ones are right.
        assert [outcomes(each)["repeatable"] for each in found] == ["conforms"]
    else:
        assert [each["outcome"] for each in found] == ["conforms"] * len(cases)


@pytest.mark.parametrize("name", ["mlx", "tinygrad"])
def test_no_layer_is_made_without_features(name: str) -> None:
    raised = answered(name)[NO_FEATURES]["checks"][-1]["raised"]
    assert (raised["stage"], raised["type"]) == ("build", "ZeroDivisionError")


def test_an_activation_that_mlx_lacks_has_no_cell() -> None:
    (mlx,) = select(["mlx"])
    assert not has_cell(replace(SQUARE, layers=(Layer(units=4, activation="hard_sigmoid"),)), mlx)
    assert has_cell(replace(SQUARE, layers=(Layer(units=4, activation="gelu_tanh"),)), mlx)


def test_tinygrad_reports_its_compiler() -> None:
    assert all_answers("tinygrad").versions["clang"][0].isdigit()


def test_a_missing_program_is_reported() -> None:
    (tinygrad,) = select(["tinygrad"])
    assert tinygrad.programs == ("clang",)
    there, gone = (replace(tinygrad, packages=(), programs=(each,)) for each in ("sh", "no-such-program"))
    assert there.missing_packages() == ()
    assert gone.missing_packages() == ("no-such-program",)
    (record,) = answers(gone, SQUARE).records
    assert (record["outcome"], record["reason"]) == ("not_run", "not installed: no-such-program")


def test_litert_loses_the_bias_of_a_layer_without_features() -> None:
    given = outcomes(answered("litert")[NO_FEATURES])
    assert (given["output"], given["output_shape"]) == ("violates", "conforms")


def test_the_names_of_this_group_are_registered() -> None:
    assert {*FRAMEWORKS} <= {each.name for each in BUILT_IN if each.participation.tier == "nightly"}
