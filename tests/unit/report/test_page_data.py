"""Every number on the page is that of the results file, and the page counts what it leaves out."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.report import payload as data_of
from conformance.report import question_details, render
from conformance.results import Run, finite, part_of, read
from conformance.results.diff.comparison import Diff
from conformance.results.record import QuestionRecord
from conformance.run.selection import Selection
from conformance.table.loader import load
from tests.support.pages import CHANGES, ENTRY, HISTORY, MEASURED, SINCE, Maker, all_outcomes, cell
from tests.support.parsed_page import Page


def with_margins() -> Iterator[dict[str, Any]]:
    """Cells whose checks have margins with every digit a float can have."""
    for index in range(60):
        margins = [index / 61, (index * 7 % 61) / 67, 0.0]
        checks = [{"check": f"check-{n}", "outcome": "conforms", "margin": each} for n, each in enumerate(margins)]
        name, dtype = f"impl-{index % 3}", ("float32", "bfloat16")[index % 2]
        yield cell(f"case-{index}", name, "conforms", checks=checks, question={"dtype": dtype, "input_shape": [3]})


def test_every_margin_is_that_of_the_file(run_of: Maker) -> None:
    cells = [*with_margins(), *all_outcomes()]
    wanted = {
        (each["case"], each["implementation"]): max(
            (check["margin"] for check in each.get("checks", ()) if "margin" in check), default=None
        )
        for each in cells
    }
    page = Page(render([run_of(cells)]))
    assert {(each.case, each.column.removesuffix("/cpu")): each.margin for each in page.cells} == wanted


def test_the_spread_of_margins_is_that_of_the_file(run_of: Maker) -> None:
    cells = list(with_margins())
    page = Page(render([run_of(cells)]))
    (table,) = page.root.all("table", id="margins")
    rows = [[each.text for each in row.walk() if each.tag in ("th", "td")] for row in table.all("tbody")[0].all("tr")]
    assert len(rows) == 6
    for implementation, dtype, count, exact, median, _, largest in rows:
        margins = [
            max(check["margin"] for check in each["checks"])
            for each in cells
            if each["implementation"] == implementation.removesuffix("/cpu") and each["question"]["dtype"] == dtype
        ]
        assert int(count) == len(margins) == 10
        assert int(exact) == margins.count(0.0)
        inexact = [each for each in margins if each]
        assert float(median) == pytest.approx(statistics.median_low(inexact), rel=0.05)
        assert float(largest) == pytest.approx(max(margins), rel=0.05)


def test_measured_facts_are_drawn_unchanged(run_of: Maker) -> None:
    said = Page(render([run_of(all_outcomes())])).root.all("section", id="numerics")[0].text
    for each in MEASURED:
        assert each["finding"] in said
        assert each["evidence"] in said


def test_the_page_has_the_given_changes_and_history(run_of: Maker) -> None:
    root = Page(render([run_of(all_outcomes())], changes=CHANGES, since=SINCE, history=HISTORY)).root
    changes = root.all("section", id="changes")[0]
    assert "Compared with 2026-01-01T03:04:05Z." in changes.text
    for expected in ("Newly failing (1)", "conforms", "off by 0.25", "margin 0.12", "margin 0.38", "2.12.0 → 2.13.0"):
        assert expected in changes.text
    (sentence,) = root.all("p", **{"class": "since"})
    assert sentence.text == "Since the last run: 1 newly failing; 1 drifted in margin; 1 version changed."
    assert "Fixed" not in changes.text
    rows = [
        [each.text for each in row.all("td")] for row in root.all("table", id="nights")[0].all("tbody")[0].all("tr")
    ]
    for row, night in zip(rows, reversed(HISTORY.nights), strict=True):
        assert int(row[2]) == night.counts["violates"]
        assert int(row[4]) == night.counts["conforms"]
    assert [row[-1] for row in rows] == ["", "", "torch 2.12.0 → 2.13.0", "", ""]
    (first, *_) = root.all("table", id="trends")[0].all("tbody")[0].all("tr")
    assert [each.text for each in first.all("td")] == ["float32", "0.25", "0.28", "0.5", "0.81"]
    (worsened,) = root.all("section", id="history")[0].all("td", **{"class": "id"})
    assert worsened.all("a")[0].attributes["href"] == "#/cell?case=784x2-4-uniform&column=impl-0/cpu"


def test_a_page_without_changes_or_history_has_no_sections_for_them(run_of: Maker) -> None:
    root = Page(render([run_of(all_outcomes())])).root
    assert not root.all("section", id="changes")
    assert not root.all("section", id="history")
    unchanged = Page(render([run_of(all_outcomes())], changes=Diff())).root
    assert unchanged.all("p", **{"class": "since"})[0].text == "Since the last run: nothing changed."
    versions = (("torch", "torch", "2.12.0", "2.13.0"),)
    upgraded = Page(render([run_of(all_outcomes())], changes=Diff(versions=versions))).root
    assert upgraded.all("p", **{"class": "since"})[0].text == "Since the last run: 1 version changed."


def test_implementations_with_the_same_bits_are_one_class(run_of: Maker) -> None:
    def noted(name: str, digest: str | None) -> dict[str, Any]:
        facts = {} if digest is None else {"bits": digest}
        return cell("a", name, "conforms", checks=[{"check": "output", "outcome": "conforms", "facts": facts}])

    cells = [noted("a", "f0"), noted("b", "0f"), noted("c", None), noted("d", "f0")]
    assert Page(render([run_of(cells)])).data["bits"] == [0, 1, -1, 0]
    assert Page(render([run_of(cells[2:3])])).data["bits"] == []


def long(index: int, outcome: str, length: int) -> dict[str, Any]:
    check = {"check": "output", "outcome": outcome, "message": f"{index} {'m' * length}", "divergence": ENTRY}
    return cell(f"case-{index}", "torch", outcome, checks=[check])


def test_red_cells_get_their_details_first_and_the_page_counts_the_others(run_of: Maker) -> None:
    outcomes = ["conforms"] * 900 + ["diverges"] * 900 + ["violates"] * 300
    page = render([run_of([long(index, each, 3000) for index, each in enumerate(outcomes)])])
    assert len(page.encode()) < 5_000_000
    shown = Page(page)
    detailed = [each.outcome for each in shown.cells if each.detail is not None]
    assert detailed.count("violates") == 300
    assert 0 < detailed.count("diverges") < 900
    assert detailed.count("conforms") == 0
    (footer,) = shown.root.all("footer")
    assert f"For {2100 - len(detailed):,} of 2,100 cells this page has only the outcome" in footer.text


def test_one_cell_of_each_way_to_fail_has_its_details(run_of: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_of, "DETAIL", 2_000)
    ways = ["first way"] * 50 + ["second way"] * 50 + ["third way"]
    checks = [[{"check": "output", "outcome": "violates", "message": each}] for each in ways]
    cells = [cell(f"case-{index}", "torch", "violates", checks=each) for index, each in enumerate(checks)]
    shown = Page(render([run_of(cells)])).cells
    assert [each.detail is not None for each in (shown[0], shown[50], shown[100])] == [True] * 3
    assert shown[49].detail is None


def test_a_page_with_all_details_states_it(run_of: Maker) -> None:
    (footer,) = Page(render([run_of(all_outcomes())])).root.all("footer")
    assert footer.text.startswith("This page has all details of every cell")


def test_a_row_on_the_page_repeats_the_question_of_its_cell(tmp_path: Path) -> None:
    """The row on the page, in a table of its own, expands to a case with the same question."""
    wanted: list[tuple[str, dict[str, Any]]] = []
    lines: list[str] = []
    for case in Selection(tier="nightly").table():
        question = json.loads(json.dumps(finite(dict(case.question))))
        # That an answer is not finite a row must expect, which is no part of the question.
        if not case.expect.nonfinite:
            wanted.append((case.id, question))
            lines += [f"  {line}" for line in question_details.yaml(part_of(question, QuestionRecord))]
    source = "description: Every row of the page.\nrows:\n" + "\n".join(lines) + "\n"
    assert len(wanted) > 300
    path = tmp_path / "rows.yaml"
    path.write_text(source, encoding="utf-8")
    found = [json.loads(json.dumps(finite(dict(each.question)))) for each in load([path]).cases]
    missing = [name for name, question in wanted if question not in found]
    assert missing == []


def test_a_results_file_read_back_makes_the_same_page(run_of: Maker) -> None:
    run = run_of(all_outcomes())
    again: Run = read(Path(run.path), strict=False)
    assert render([again]) == render([run])
