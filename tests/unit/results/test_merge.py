"""Merged shards equal one run, cell for cell. Files that are not all shards of one run are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.results import read
from conformance.results.merge import MergeError, merge
from conformance.run.cell_runner import Runner
from conformance.run.selection import Selection
from tests.support import records
from tests.support.runs import EXACT, cells, conformance, lines, table

ROWS = table(
    {"input_shape": [4], "units": 3},
    {"input_shape": [2, 3], "units": [5, 2], "activation": "relu"},
    {"input_shape": [16], "units": 8, "dtype": "float64", "each": {"batch": [1, 3, 4]}},
)
QUICK = ("numpy", EXACT, "tests.support.faulty_adapters:DropsBias")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.yaml"
    path.write_text(ROWS, encoding="utf-8")
    return path


def judged(path: Path) -> dict[str, Any]:
    """Return of each cell all that does not depend on when it ran: outcome, checks with margins and bits, row."""
    return {
        "/".join((each["device"], each["implementation"], each["case"])): {
            key: value for key, value in each.items() if key not in ("seconds", "steps", "start")
        }
        for each in cells(path)
    }


def written(rows: Path, path: Path, shard: tuple[int, int], runner: Runner) -> Path:
    """Run one shard, and write its results file."""
    selection = Selection(cases=(str(rows),), implementations=QUICK, shard=shard)
    chosen = selection.chosen()
    asked = selection.cells(selection.table(), chosen, selection.devices(chosen))
    message = {"cases": [str(rows)], "implementations": list(QUICK), "shard": f"{shard[0]}/{shard[1]}"}
    header = {"started": "2026-11-01T00:00:00Z", "selection": message}
    found = [runner.run(cell) for cell in asked]
    processes = [{"implementation": name, "versions": hello.versions} for name, hello in runner.hellos.items()]
    return records.written(path, found, header=header, implementations=processes, seconds=shard[0])


def test_behaviours_are_counted_over_all_shards(tmp_path: Path) -> None:
    gone = {"id": "adds", "where": "x.yaml:1", "why": "why"}
    named = {"implementation": "torch", "device": "cpu", "checks": [], "covered": ["adds"]}
    found: list[dict[str, Any]] = [
        {"outcome": "conforms", "gone": [gone]},
        {"outcome": "diverges", "behaviours": ["adds"]},
    ]
    paths = []
    for index, each in enumerate(found, start=1):
        cell = {"case": str(index), **named, **each}
        header = {"selection": {"shard": f"{index}/2"}}
        paths.append(records.written(tmp_path / f"{index}.jsonl", [cell], header=header))
    merge(paths, tmp_path / "all.jsonl")
    *_, footer = lines(tmp_path / "all.jsonl")
    assert footer["behaviours"] == {"adds": {"cells": 2, "seen": 1, "gone": 1}}


@pytest.mark.integration
def test_shards_merged_equal_one_run_cell_for_cell(rows: Path, tmp_path: Path) -> None:
    runner = Runner()
    try:
        one = judged(written(rows, tmp_path / "one.jsonl", (1, 1), runner))
        assert {each["outcome"] for each in one.values()} == {"conforms", "violates"}
        for count in range(1, 6):
            parts = [written(rows, tmp_path / f"{i}.jsonl", (i, count), runner) for i in range(1, count + 1)]
            merge(list(reversed(parts)), tmp_path / "merged.jsonl")
            assert judged(tmp_path / "merged.jsonl") == one
            run = read(tmp_path / "merged.jsonl")
            assert run.complete
            assert run.header.cells == len(one)
            assert run.header.selection.shard == "1/1"
            assert [each.shard for each in run.header.shards] == [f"{i}/{count}" for i in range(1, count + 1)]
            assert run.footer is not None
            assert run.footer.seconds == count
            assert len(run.implementations) == len(QUICK)
    finally:
        runner.close()


@pytest.mark.integration
def test_the_command_merges_the_files_of_runs(rows: Path, tmp_path: Path) -> None:
    for part in (1, 2):
        done = conformance(
            *("run", rows.name, "-inumpy", f"-i{EXACT}", "-n", "0", f"--shard={part}/2", "-o", str(part)), cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout
    merged = conformance("merge", "1/results.jsonl", "2/results.jsonl", "-o", "whole/results.jsonl", cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    assert merged.stdout == "whole/results.jsonl: 20 cells of 2 shards\n"
    header, *_, footer = lines(tmp_path / "whole" / "results.jsonl")
    assert (header["cells"], footer["complete"], footer["counts"]["conforms"]) == (20, True, 20)
    assert footer["measured"]
    twice = conformance("merge", "1/results.jsonl", "1/results.jsonl", "-o", "no.jsonl", cwd=tmp_path)
    assert (twice.returncode, twice.stdout) == (2, "")
    assert twice.stderr == "error: 1/results.jsonl and 1/results.jsonl are both shard 1/2\n"
    assert not (tmp_path / "no.jsonl").exists()


def shard(part: int, count: int = 2, **changed: Any) -> list[dict[str, Any]]:
    """Return the lines of a made-up shard; `changed` are fields of its selection."""
    selection = {"cases": ["default table"], "shard": f"{part}/{count}", "tier": "full", **changed}
    cell = {"type": "cell", "case": f"case{part}", "implementation": "torch", "device": "cpu", "outcome": "conforms"}
    return [
        {"type": "header", "schema": 1, "distributions": {"numpy": "2.0"}, "selection": selection, "cells": 1},
        {"type": "implementation", "implementation": "torch", "versions": {"torch": "2.6"}},
        {**cell, "checks": []},
        {"type": "footer", "counts": {"conforms": 1}, "complete": True, "seconds": 1.0},
    ]


def with_versions(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    content[1]["versions"] = {"torch": "2.7"}
    return content


def with_distributions(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    content[0]["distributions"] = {"numpy": "2.1"}
    return content


def with_the_cell_of_the_first(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    content[2]["case"] = "case1"
    return content


def without_a_shard(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    del content[0]["selection"]
    return content


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([shard(1)], "shard 2/2 is missing"),
        ([shard(2, 4), shard(1, 4)], "shard 3/4, 4/4 is missing"),
        ([shard(1), shard(2, 3)], "1.jsonl is shard 2/3, and "),
        ([shard(1), shard(2, tier="quick")], 'tier of their selection is "full" and "quick"'),
        ([shard(1), with_distributions(shard(2))], 'numpy of their distributions is "2.0" and "2.1"'),
        ([shard(1), with_versions(shard(2))], 'torch of their versions of torch is "2.6" and "2.7"'),
        ([shard(1), with_the_cell_of_the_first(shard(2))], "cpu/torch/case1 is in "),
        ([shard(1), without_a_shard(shard(2))], "does not say which shard"),
    ],
)
def test_files_that_are_not_all_shards_of_one_run_are_refused(
    files: list[list[dict[str, Any]]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(MergeError, match=r"^[^\n]*$") as raised:
        merge(written_files(files, tmp_path), tmp_path / "out.jsonl")
    assert message in str(raised.value)
    assert not list(tmp_path.glob("*out*"))


def written_files(files: list[list[dict[str, Any]]], folder: Path) -> list[Path]:
    paths = [folder / f"{number}.jsonl" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_text("".join(f"{json.dumps(each)}\n" for each in content), encoding="utf-8")
    return paths


def test_merging_a_merged_file_changes_nothing(tmp_path: Path) -> None:
    merge(written_files([shard(1), shard(2)], tmp_path), tmp_path / "once.jsonl")
    merge([tmp_path / "once.jsonl"], tmp_path / "twice.jsonl")
    assert (tmp_path / "twice.jsonl").read_bytes() == (tmp_path / "once.jsonl").read_bytes()


def test_half_a_surrogate_pair_and_fields_of_any_name_are_merged(tmp_path: Path) -> None:
    first = shard(1)
    first[0] |= {"self": 1, "content": {"\ud800": "\udfff"}}
    first[1] |= {"self": 1}
    first[2] |= {"reason": "\ud800", "self": [], "question": {"dtype": "float8", "lane": "uniform"}}
    assert merge(written_files([first, shard(2)], tmp_path), tmp_path / "out.jsonl") == 2
    run = read(tmp_path / "out.jsonl")
    assert run.header.rest == {"self": 1, "content": {"\ufffd": "\ufffd"}}
    assert (run.cells[0].reason, run.cells[0].rest) == ("\ufffd", {"self": []})


@pytest.mark.parametrize(
    "message", ["1/99999999999", "1/0", "0/1", "3/2", "\u00b2/2", "9" * 5000 + "/2", "1/2\n", "", 1, None]
)
def test_an_invalid_shard_is_refused(message: object, tmp_path: Path) -> None:
    first = shard(1)
    first[0]["selection"]["shard"] = message
    with pytest.raises(ValueError, match=r"selection\.shard|does not say which shard"):
        merge(written_files([first], tmp_path), tmp_path / "out.jsonl")


def test_of_many_missing_shards_a_few_are_named(tmp_path: Path) -> None:
    with pytest.raises(MergeError, match=r"shard 2/999999, .* and 999988 more is missing"):
        merge(written_files([shard(1, 999_999)], tmp_path), tmp_path / "out.jsonl")


def test_with_a_shard_that_was_broken_off_so_is_the_merged_run(tmp_path: Path) -> None:
    broken = shard(2)[:2]
    assert merge(written_files([shard(1), broken], tmp_path), tmp_path / "out.jsonl") == 2
    run = read(tmp_path / "out.jsonl")
    assert not run.complete
    assert (run.counts["conforms"], run.counts["not_run"]) == (1, 1)
