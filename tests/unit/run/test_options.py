"""An option is declared once: click and pytest have it from one table, and workers are given what concerns them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.commands.run import run
from conformance.run import option_table
from conformance.run.option_table import OPTIONS, arguments_of
from conformance.run.options import Options
from conformance.run.selection import SelectionError
from conformance.sandbox.sandbox import GIB, Limits

VALUES: dict[str, Any] = {
    "implementation": ["torch", "a:b"],
    "device": "auto",
    "tier": "quick",
    "cases": ["x.yaml", "y"],
    "random": 3,
    "random-seed": 7,
    "threads": 2,
    "cpu-isa": "avx2",
    "shard": "2/3",
    "times": "r.jsonl",
    "no-ledger": True,
    "strict-ledger": True,
    "draws": 4,
    "deadline": 1.5,
    "start-deadline": 2.5,
    "hang": 3.5,
    "memory": 0.25,
    "results": "out.jsonl",
    "progress": True,
    "in-process": True,
}


def configured(*words: str) -> Any:
    """Return a configuration of pytest that was given these words."""
    parser = pytest.Parser(_ispytest=True)
    option_table.add_to(parser)
    given = parser.parse_known_args(list(words))
    return SimpleNamespace(getoption=lambda name: getattr(given, name.removeprefix("--").replace("-", "_")))


def test_words_give_pytest_every_value_and_none_for_a_default() -> None:
    assert set(VALUES) == {each.name for each in OPTIONS}
    assert Options.of(configured(*arguments_of(VALUES))).given == VALUES
    assert arguments_of(Options.of(configured()).given) == []


def test_the_command_has_its_options_under_the_same_names_with_the_same_defaults() -> None:
    named = {each.name: each for each in run.params}
    context = run.make_context("run", [])
    for option in OPTIONS:
        parameter = named.get(option.name.replace("-", "_"))
        if option.is_of_command:
            assert parameter is not None
            assert parameter.opts == list(option.flags or [f"--{option.name}"])
            assert option.arguments(context.params[parameter.name or ""]) == []
        else:
            assert parameter is None or option.name == "cases"


def test_options_have_the_given_values_and_default_limits() -> None:
    options = Options.of(configured(*arguments_of(VALUES)))
    assert options.selection.shard == (2, 3)
    assert options.selection.cases == ("x.yaml", "y")
    assert options.limits == Limits(question=1.5, start=2.5, hang=3.5, memory=GIB // 4)
    assert not options.has_ledger
    assert Options.of(configured("--hang=5")).limits == Limits(hang=5.0)


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("--draws=0", "--draws must be at least 1"),
        ("--threads=0", "--threads must be at least 1"),
        ("--random=-1", "--random must be at least 0"),
        ("--random-seed=-1", "--random-seed must be at least 0"),
        ("--memory=0", "--memory must be more than 0"),
        (f"--hang={math.nan}", "--hang must be more than 0"),
        (f"--deadline={math.inf}", "--deadline must be more than 0"),
        ("--shard=3/2", "--shard 3/2: I must be within 1 to N"),
    ],
)
def test_a_value_that_cannot_be_is_a_fault(word: str, fault: str) -> None:
    with pytest.raises(SelectionError) as caught:
        Options.of(configured(word))
    assert str(caught.value) == fault


def test_workers_on_other_machines_receive_options_that_change_outcomes_and_no_path() -> None:
    options = Options.of(configured(*arguments_of(VALUES)))
    limits = ["--deadline=1.5", "--start-deadline=2.5", "--hang=3.5", "--memory=0.25"]
    assert options.arguments_for_workers() == ["--cpu-isa=avx2", "--draws=4", *limits]


def test_the_options_of_a_single_cell_select_it_again() -> None:
    options = Options.of(configured("--tier=quick", "--random=3", "--device=auto", "--cases=x", "--draws=2"))
    words = options.arguments_for_cell("cpu", "torch")
    assert words == ["--implementation=torch", "--tier=quick", "--cases=x", "--random=3"]
    assert options.arguments_for_cell("gpu", "torch")[1] == "--device=gpu"
