"""A page of several results files, and a page that follows from its files alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from conformance.report import render, write
from tests.support.pages import Maker, all_outcomes, cell
from tests.support.parsed_page import Page, marks_of_records
from tests.support.paths import ROOT

# Several files


def test_shards_of_one_run_share_their_columns(run_of: Maker) -> None:
    cells = all_outcomes()
    runs = [run_of(cells[::2], "one/results"), run_of(cells[1::2], "two/results")]
    page = Page(render(runs))
    assert Counter(page.marks) == marks_of_records(cells)
    assert page.total == 49


def test_runs_of_one_cell_stand_side_by_side_under_the_names_of_their_files(run_of: Maker) -> None:
    runs = [run_of([cell("a", "torch", outcome)], f"{outcome}/results") for outcome in ("conforms", "violates")]
    marks = Page(render(runs)).marks
    assert marks == [
        ("a", "torch/cpu (conforms/results.jsonl)", "conforms"),
        ("a", "torch/cpu (violates/results.jsonl)", "violates"),
    ]


def test_runs_of_two_machines_do_not_share_a_column(run_of: Maker) -> None:
    runs = [run_of([cell(name, "torch", "conforms")], name, platform={"machine": name}) for name in ("arm", "x86")]
    assert {column for _, column, _ in Page(render(runs)).marks} == {"torch/cpu (arm.jsonl)", "torch/cpu (x86.jsonl)"}


def test_columns_of_two_versions_name_them(run_of: Maker) -> None:
    runs = []
    for version in ("2.9.0", "2.13.0"):
        run = run_of([cell("a", "torch:compile", "conforms")], version)
        versions: dict[str, object] = {"torch": version, "numpy": f"1.{version}", "python": "3.11"}
        said = structs.replace(run.implementations[0], versions=versions)
        runs.append(replace(run, implementations=(said,)))
    assert [column for _, column, _ in Page(render(runs)).marks] == [
        "torch:compile/cpu (torch 2.9.0, 2.9.0.jsonl)",
        "torch:compile/cpu (torch 2.13.0, 2.13.0.jsonl)",
    ]
    assert Page(render(runs[::-1])).marks == Page(render(runs)).marks


def test_a_file_given_twice_is_counted_twice_in_two_columns(run_of: Maker) -> None:
    run = run_of([cell("a", "torch", "conforms")])
    page = Page(render([run, run]))
    assert page.total == 2
    assert len({column for _, column, _ in page.marks}) == 2


def test_of_several_files_the_one_that_was_broken_off_is_named(run_of: Maker) -> None:
    runs = [run_of([cell("a", "x", "conforms")], "whole"), run_of([cell("a", "y", "conforms")], "cut", complete=None)]
    page = Page(render(runs))
    assert page.warnings == ["cut.jsonl was broken off: it has no footer."]
    assert page.headline.startswith("Broken off")


# Nothing but the files decides what the page says


@pytest.mark.integration
def test_the_same_file_gives_the_same_bytes_whatever_the_hash_seed_and_folder(tmp_path: Path) -> None:
    pages = set()
    for seed in ("1", "2"):
        run = Maker(tmp_path / seed)(all_outcomes())
        code = "import sys, pathlib; from conformance import report, results\n"
        code += "report.write([results.read(pathlib.Path(sys.argv[1]), strict=False)], pathlib.Path(sys.argv[2]))"
        page = tmp_path / seed / "new" / "page.html"
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code, run.path, str(page)], check=True, env=env)
        pages.add(page.read_bytes())
        assert sorted(path.name for path in page.parent.iterdir()) == ["page.html"]
    assert len(pages) == 1


def test_the_order_of_lines_does_not_change_the_page(run_of: Maker) -> None:
    cells = all_outcomes()
    assert render([run_of(cells)]) == render([run_of(cells[::-1])])


def test_a_failed_page_leaves_the_old_one(run_of: Maker, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write([run_of([])], page)
    before = page.read_bytes()
    with pytest.raises(AttributeError):
        write([None], page)  # type: ignore[list-item]
    assert page.read_bytes() == before


def test_the_report_imports_no_framework_and_no_room_but_results() -> None:
    code = "import sys, conformance.report; print(*sorted(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True, text=True)
    modules = done.stdout.split()
    ours = {each for each in modules if each.startswith("conformance.") and not each.startswith("conformance.report")}
    assert ours == {
        "conformance.results.behaviours",
        "conformance.results",
        "conformance.results.codec",
        "conformance.results.diff",
        "conformance.results.diff.cells",
        "conformance.results.diff.comparison",
        "conformance.results.diff.rows",
        "conformance.results.file",
        "conformance.results.record",
    }
    assert not {"numpy", "torch", "keras", "tensorflow", "jax", "flax", "pytest"} & set(modules)
