"""The page, parsed and compared with its results file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.report import render, text
from conformance.results import OUTCOMES, finite, read
from conformance.results.record import FooterRecord
from tests.support.pages import CHANGES, ENTRY, EVIDENCE, GONE, HISTORY, Maker, all_outcomes, cell
from tests.support.parsed_page import Page, marks_of_records


def test_the_headline_counts_every_outcome_as_the_file_does(run_of: Maker) -> None:
    run = run_of([*all_outcomes(), cell("x", "impl-0", "conforms")])
    page = Page(render([run]))
    assert page.counts == run.counts
    assert list(page.counts) == list(OUTCOMES)
    assert page.total == sum(page.counts.values()) == 50
    assert page.headline == "21 of 50 cells fail."


def test_cells_without_a_line_are_counted_as_not_run(run_of: Maker) -> None:
    run = run_of(all_outcomes(), cells=1_000_000, complete=None)
    page = Page(render([run]))
    assert page.counts == run.counts
    assert page.counts["not_run"] == 7 + 999_951
    assert page.total == 1_000_000
    assert "results.jsonl announces 1,000,000 cells; 999,951 of them have no line." in page.warnings


def test_every_cell_stands_in_the_table_exactly_once(run_of: Maker) -> None:
    cells = all_outcomes()[:-5]
    assert Counter(Page(render([run_of(cells)])).marks) == marks_of_records(cells)


def test_several_lines_for_one_cell_are_all_drawn_with_a_warning(run_of: Maker) -> None:
    cells = [cell("a", "torch", "conforms"), cell("a", "torch", "violates")]
    page = Page(render([run_of(cells)]))
    assert Counter(page.marks) == marks_of_records(cells)
    assert any("beyond the first line for the same cell" in each for each in page.warnings)


def test_the_numbers_of_each_implementation_add_up_to_the_headline(run_of: Maker) -> None:
    page = Page(render([run_of(all_outcomes())]))
    (section,) = page.root.all("section", id="implementations")
    rows = [[each.text for each in row.all("td")] for row in section.all("tbody")[0].all("tr")]
    for index, outcome in enumerate(OUTCOMES, start=1):
        assert sum(int(row[index]) for row in rows) == page.counts[outcome]


@pytest.mark.parametrize(
    ("outcomes", "complete", "announced", "sentence"),
    [
        ([], True, 0, "Nothing ran: there is no cell in these results."),
        (["not_run", "not_run"], True, 2, "Nothing was judged, of 2 cells."),
        ([], None, 3, "Nothing was judged, of 3 cells."),
        (["unsupported"], True, 1, "Nothing was judged, of 1 cell."),
        (["conforms"], True, 1, "The one cell conforms."),
        (["diverges"], True, 1, "The one cell diverges as known."),
        (["conforms", "conforms"], True, 2, "All 2 cells conform."),
        (["conforms", "diverges"], True, 2, "All 2 cells conform or diverge as known."),
        (["conforms", "not_run"], True, 2, "Nothing failed: 1 of 2 cells were judged, and conform; 1 were not."),
        (["conforms"], None, 1, "Broken off: nothing failed so far, with 1 of 1 cell judged."),
        (["conforms"], False, 4, "Broken off: nothing failed so far, with 1 of 4 cells judged."),
        (["conforms", "crashed"], True, 2, "1 of 2 cells fails."),
        (["conforms", "timed_out"], None, 2, "1 of 2 cells fails, and the run was broken off."),
        (["conforms"], True, 4, "Not to be relied on: the results contradict themselves, as listed below."),
        (["conforms", "conforms"], True, 1, "Not to be relied on: the results contradict themselves, as listed below."),
    ],
)
def test_the_headline_claims_no_more_than_the_file_shows(
    run_of: Maker, outcomes: list[str], complete: bool | None, announced: int, sentence: str
) -> None:
    cells = [cell(f"case-{index}", "torch", outcome) for index, outcome in enumerate(outcomes)]
    page = Page(render([run_of(cells, complete=complete, cells=announced)]))
    assert page.headline == sentence
    assert page.root.all("title")[0].text.startswith(sentence)
    (head,) = page.root.all("header")
    good = set(outcomes) <= {"conforms", "diverges"} and complete and announced == len(outcomes) and outcomes
    assert (head.attributes["class"] == "good") == bool(good)


@pytest.mark.parametrize(
    ("complete", "expected_text"),
    [(None, "it has no footer"), (False, "its footer says that it is not complete")],
)
def test_the_page_reports_that_a_run_was_broken_off(run_of: Maker, complete: bool | None, expected_text: str) -> None:
    page = Page(render([run_of([cell("a", "torch", "conforms")], complete=complete)]))
    assert page.warnings == [f"results.jsonl was broken off: {expected_text}."]


def test_a_complete_run_has_no_warning(run_of: Maker) -> None:
    assert Page(render([run_of(all_outcomes())])).warnings == []


def test_no_files_and_empty_records_make_a_page(tmp_path: Path) -> None:
    assert Page(render([])).headline == "Nothing ran: there is no cell in these results."
    lines = ['{"type": "header", "schema": 1}', '{"type": "implementation"}', '{"type": "cell"}']
    lines += ['{"type": "cell", "outcome": 3}', '{"type": "footer"}']
    bare = tmp_path / "bare.jsonl"
    bare.write_text("\n".join(lines), encoding="utf-8")
    page = Page(render([read(bare, strict=False)]))
    assert page.counts["unknown"] == 2
    assert page.headline.startswith("2 of 2 cells fail")


def test_an_unknown_outcome_fails_with_a_warning(run_of: Maker) -> None:
    run = run_of([cell("a", "torch", "conforms"), cell("b", "torch", "wobbles")])
    page = Page(render([run]))
    assert page.counts["unknown"] == 1
    assert page.total == 2
    assert page.headline == "1 of 2 cells fails."
    assert "1 cell of an outcome that this version of the report does not know." in page.warnings
    assert "wobbles" in page.root.text


def test_a_green_cell_with_a_red_check_is_not_green(run_of: Maker) -> None:
    checks = [{"check": "output", "outcome": "violates", "message": "off by 1"}]
    page = Page(render([run_of([cell("a", "torch", "conforms", checks=checks)])]))
    assert page.headline.startswith("Not to be relied on")
    assert "1 cell with a better outcome than one of the checks." in page.warnings
    assert "off by 1" in page.root.text


def test_a_footer_with_other_counts_is_a_warning(run_of: Maker) -> None:
    run = run_of([cell("a", "torch", "conforms")])
    lying = replace(run, footer=FooterRecord(counts={"conforms": 9}, complete=True))
    assert any("contradicts itself: its footer counts" in each for each in Page(render([lying])).warnings)


def test_each_failure_shows_all_its_fields(run_of: Maker) -> None:
    script = "import numpy as np\nprint(1)\n"
    cells = [
        cell("a", name, name, steps={"build": 0.125, "output": 1e-05}, reproduce=script)
        for name in ("violates", "crashed", "timed_out", "diverges")
    ]
    page = Page(render([run_of(cells)]))
    details = {each.outcome: each.detail for each in page.cells}
    violates, crashed, diverges = details["violates"], details["crashed"], details["diverges"]
    assert violates is not None
    assert crashed is not None
    assert diverges is not None
    shape, output = violates["checks"]
    assert shape["found"] == {"expected": "[[null, 4]]", "observed": "[[null, 4]]"}
    assert output["outcome"] == "violates"
    assert output["message"] == "off by 0.25"
    line = output["found"].pop("line of the bound")
    assert line.startswith("declared: a contract")
    error = output["found"].pop("error")
    assert float(error) == pytest.approx(0.25)
    assert output["found"] == {
        "exact": "0.5",
        "got": "0.75",
        "allowed error": "0.0142857",
        "margin": "17.5",
        "at element": "[1, 17, 3]",
    }
    assert output["facts"] == [["beyond", "412"], ["later", "a key of a later version"]]
    assert violates["steps"] == {"build": "0.125", "output": "1e-05"}
    assert violates["reproduce"] == script
    assert violates["others"] == {"seconds": "0.25"}
    facts, notes, stderr = crashed["ended"]
    assert facts == [["in step", "forward"], ["reason", "SIGABRT; signal 6"]]
    assert notes == ["again alone"]
    assert stderr == "Check failed\nAborted"
    (refused,) = diverges["checks"]
    assert refused["found"] == {"expected": "accepted", "observed": "refused"}
    assert refused["facts"] == [["raised in call from keras.src", "ValueError: min_ndim=2"]]
    anchor, title = page.data["entries"][refused["entry"]]
    assert title == "rank 1 is refused"
    (entry,) = page.root.all("section", id=anchor)
    assert "cases/divergences/keras.yaml:12" in entry.text
    expected_text = "".join(each.text for each in page.root.all("section"))
    for expected in ("torch", "2.13.0", "allow_tf32", "false", "Linux", "2026-01-02T03:04:05Z", "numpy", "2.3.5"):
        assert expected in expected_text


def test_cells_that_fail_in_one_way_are_listed_once_and_hide_no_others(run_of: Maker) -> None:
    crash = {"step": "start", "reason": "no module named torch"}
    cells = [cell(f"case-{index}", "torch", "crashed", crash=crash, reason="it did not start") for index in range(500)]
    page = Page(render([run_of([*cells, cell("case-0", "keras", "violates")])]))
    (section,) = page.root.all("section", id="failing")
    first, second = section.all("tbody")[0].all("tr")
    assert len(first.all("a")) == 60 + 1
    assert first.all("a")[-1].attributes["href"] == "#/matrix?outcome=crashed&column=torch/cpu"
    assert "and 498 more" in first.text
    assert "and 440 more in the matrix" in first.text
    assert len(page.marks) == 501
    assert "start: no module named torch; it did not start" in first.text
    assert "off by 0.25" in second.text


def test_a_declared_crash_is_drawn_with_its_entry(run_of: Maker) -> None:
    crash = {"step": "forward", "reason": "SIGABRT", "stderr": "Check failed"}
    run = run_of([cell("a", "torch", "diverges", checks=[], crash=crash, reason="forward: SIGABRT", divergence=ENTRY)])
    page = Page(render([run]))
    (entry,) = page.root.all("section", id="divergences")[0].all("section", **{"class": "group"})
    assert "rank 1 is refused" in entry.text
    (expected_text,) = page.cells
    assert expected_text.detail is not None
    assert expected_text.detail["ended"][2] == "Check failed"
    assert page.data["entries"][expected_text.detail["entry"]][0] == entry.attributes["id"]


def test_every_link_on_the_page_has_a_target_and_every_target_one_place(run_of: Maker) -> None:
    odd = [cell(f"case {index}\u202e<i>", "a b", "violates", copy=index) for index in range(3)]
    page = Page(render([run_of([*all_outcomes(), *odd, *odd])], changes=CHANGES, history=HISTORY))
    ids = Counter(each.attributes["id"] for each in page.root.walk() if "id" in each.attributes)
    assert set(ids.values()) == {1}
    links = {each.attributes["href"] for each in page.root.all("a")}
    assert [link for link in links if link.startswith("#") and not page.leads(link)] == []
    assert {link for link in links if not link.startswith("#")} == {"https://a.test/1"}
    assert not page.leads("#/cell?case=nowhere&column=torch/cpu")
    assert not page.leads("#/nowhere")


def test_cells_that_were_not_run_for_one_reason_are_one_entry(run_of: Maker) -> None:
    cells = [cell(f"case-{index}", "flax", "not_run") for index in range(100)]
    page = Page(render([run_of([*cells, cell("case-0", "torch", "conforms")])]))
    (section,) = page.root.all("section", id="unjudged")
    groups = section.all("section", **{"class": "group"})
    groups = [each for each in groups if "flax is not installed" in each.text]
    assert len(groups) == 1
    assert "flax/cpu: all 100 of its cells" in groups[0].text


def test_unsupported_checks_of_green_cells_are_listed(run_of: Maker) -> None:
    page = Page(render([run_of([cell("a", "torch", "conforms")])]))
    (section,) = page.root.all("section", id="unjudged")
    assert "gradients: no tape" in section.text
    (expected_text,) = page.cells
    assert expected_text.margin == 0.43
    assert expected_text.detail is not None
    assert [each["outcome"] for each in expected_text.detail["checks"]] == ["conforms", "conforms", "unsupported"]


def test_rows_are_grouped_by_file_and_in_the_order_of_its_lines(run_of: Maker) -> None:
    rows = {"b": "cases/x.yaml:10", "a": "cases/x.yaml:9", "c": "cases/a.yaml:1", "d": None}
    page = Page(render([run_of([cell(case, "torch", "conforms", row=row) for case, row in rows.items()])]))
    assert [case for case, _, _ in page.marks] == ["c", "a", "b", "d"]
    assert page.data["files"] == ["cases/a.yaml", "cases/x.yaml", ""]
    assert [case[2] for case in page.data["cases"]] == [0, 1, 1, 2]


def test_a_behaviour_that_is_gone_is_in_the_headline_and_with_its_entry(run_of: Maker) -> None:
    known = {"covered": [ENTRY["id"], GONE["id"]], "behaviours": [ENTRY["id"]]}
    cells = [
        cell("a", "torch", "diverges", **known, powerless=True),
        cell("b", "torch", "conforms", covered=[GONE["id"]], gone=[GONE]),
        cell("c", "torch", "conforms", covered=[GONE["id"], ENTRY["id"]], gone=[GONE]),
    ]
    page = Page(render([run_of(cells)]))
    assert page.headline == "All 3 cells conform or diverge as known; 1 declared behaviour is gone."
    assert [each.text for each in page.root.all("p", **{"class": "news"})] == [
        "Gone: 1 declared behaviour: adds-in-float16 (seen in 0 cells, gone from 2).",
        "Without power: 1 diverging cell rests on bounds as wide as the answer.",
    ]
    gone, seen = page.root.all("section", id="divergences")[0].all("section", **{"class": "group"})
    assert "cases/divergences/jax.yaml:5" in gone.text
    assert "in 0 of the 3 cells that it covers" in gone.text
    assert [each.text for each in gone.all("a") if "cell?" in each.attributes["href"]] == ["b", "c"]
    assert "in 1 of the 2 cells that it covers" in seen.text
    assert "Gone from" not in seen.text
    (expected_text,) = (each for each in page.cells if each.case == "b")
    assert expected_text.detail is not None
    assert expected_text.detail["others"]["gone"].startswith("adds-in-float16 (cases/divergences/jax.yaml:5): sums are")


def test_a_cell_shows_its_new_failure_and_not_its_declared_ones(run_of: Maker) -> None:
    known, new = EVIDENCE["diverges"]["checks"][0], EVIDENCE["violates"]["checks"][1]
    near = [{"id": ENTRY["id"], "where": ENTRY["where"]}]
    checks = [known, {**new, "check": "gradients", "near": near, "under": "off by 0.1"}]
    crash = {"step": "output", "reason": "SIGABRT", "stderr": ""}
    page = Page(render([run_of([cell("a", "torch", "violates", checks=checks, crash=crash)])]))
    assert page.headline == "1 of 1 cell fails."
    (news,) = page.root.all("p", **{"class": "news"})
    assert news.text == "New: 1 cell fails, neither as the rule says nor as declared."
    (expected_text,) = page.cells
    assert expected_text.detail is not None
    assert expected_text.detail["summary"] == (
        "gradients: off by 0.25 (declared for this cell, but not what was seen: refuses-rank-1"
        " (cases/divergences/keras.yaml:12); with it applied: off by 0.1)"
    )


def test_numbers_that_are_not_finite_are_the_worst(run_of: Maker) -> None:
    checks = [{"check": "a", "outcome": "violates", "margin": each} for each in (0.5, finite(float("nan")), "inf")]
    page = Page(render([run_of([cell("a", "torch", "violates", checks=checks)])]))
    assert [each.margin for each in page.cells] == ["nan"]


@pytest.mark.parametrize(
    ("margin", "expected_text"),
    [(0.0, "0"), (0.434, "0.43"), (0.996, ">0.99"), (1.0, "1"), (17.25, "17"), (1234.5, "1.23e+03"), (1e-9, "1e-09")],
)
def test_a_margin_is_never_rounded_up_to_the_limit(margin: float, expected_text: str) -> None:
    assert text.short(margin) == expected_text


@pytest.mark.parametrize(
    ("seconds", "expected_text"),
    [
        (0.0031, "3.1 ms"),
        (12.34, "12.3 s"),
        (200, "3 min 20 s"),
        (7260, "2 h 1 min"),
        (None, "unknown"),
        (-1, "unknown"),
    ],
)
def test_times_have_readable_units(seconds: float | None, expected_text: str) -> None:
    assert text.duration(seconds) == expected_text
