"""The page is read back with a parser and held to what the file says; every fault it guards against is planted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader, UndefinedError

import conformance.report
from conformance.report import render, text, write
from conformance.report.page import environment, render_with
from conformance.results import OUTCOMES, Run, Writer, finite, read

SHAPE = {"check": "output_shape", "outcome": "conforms", "expected": [[None, 4]], "observed": [[None, 4]]}
OUTPUT = {"check": "output", "outcome": "conforms", "margin": 0.43, "line": "proven"}
ENTRY = {
    "where": "cases/divergences.yaml:12",
    "why": "rank 1 is refused",
    "link": "https://a.test/1",
    "kind": "refuses",
}
#: The rest of a cell's record, by outcome.
EVIDENCE: Mapping[str, Mapping[str, Any]] = {
    "conforms": {"checks": [SHAPE, OUTPUT, {"check": "gradients", "outcome": "unsupported", "message": "no tape"}]},
    "diverges": {
        "checks": [
            {
                "check": "output",
                "outcome": "diverges",
                "expected": "accepted",
                "observed": "refused",
                "raised": {"step": "call", "type": "ValueError", "message": "min_ndim=2", "module": "keras.src"},
                "divergence": ENTRY,
            }
        ]
    },
    "violates": {
        "checks": [
            SHAPE,
            {
                "check": "output",
                "outcome": "violates",
                "margin": 17.5,
                "worst": [1, 17, 3],
                "got": 0.75,
                "exact": 0.5,
                "allowed": 0.0142857,
                "line": "declared",
                "message": "off by 0.25",
                "facts": {"beyond": 412},
                "later": "a key of a later version",
            },
        ]
    },
    "crashed": {
        "reason": "signal 6",
        "crash": {"step": "forward", "reason": "SIGABRT", "stderr": "Check failed\nAborted", "notes": ["again alone"]},
        "checks": [SHAPE],
    },
    "timed_out": {"reason": "no answer within 60 s", "crash": {"step": "gradients", "reason": "no answer within 60 s"}},
    "unsupported": {"reason": "has no rank 0", "checks": []},
    "not_run": {"reason": "flax is not installed", "checks": []},
}
HEADER: Mapping[str, Any] = {
    "started": "2026-01-02T03:04:05Z",
    "distributions": {"numpy": "2.3.5"},
    "platform": {"system": "Linux", "machine": "x86_64"},
    "selection": {"tier": "full"},
}


def cell(case: str, implementation: str, outcome: str, **more: Any) -> dict[str, Any]:
    row = {"row": "cases/seed.yaml:4", "question": {"input_shape": [784], "dtype": "float32"}, "seconds": 0.25}
    why = {"why": "the comma adds no axis", "source": "https://a.test/2"}
    evidence = EVIDENCE.get(outcome, {})
    names = {"case": case, "implementation": implementation, "device": "cpu", "outcome": outcome}
    return {**names, **row, **why, **evidence, **more}


def all_outcomes() -> list[dict[str, Any]]:
    """Seven cases by seven implementations, every outcome in every column."""
    return [
        cell(
            f"784x{case}-4-uniform",
            f"impl-{column}",
            OUTCOMES[(case + column) % 7],
            row=f"cases/f{case % 2}.yaml:{case}",
        )
        for case in range(7)
        for column in range(7)
    ]


@dataclass
class Maker:
    """Writes results files as a run does, and reads them back."""

    folder: Path

    def __call__(
        self, cells: Sequence[Mapping[str, Any]], name: str = "results", /, complete: bool | None = True, **header: Any
    ) -> Run:
        path = self.folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            writer = Writer(stream)
            writer.header(**{"cells": len(cells), **HEADER, **header})
            settings = {"allow_tf32": False}
            for implementation in dict.fromkeys(str(each["implementation"]) for each in cells):
                versions = {"torch": "2.13.0"}
                writer.implementation(
                    implementation=implementation, versions=versions, settings=settings, devices=["cpu"], threads="1"
                )
            for each in cells:
                writer.cell(each)
            if complete is not None:
                writer.footer(complete=complete)
        return read(path)


@pytest.fixture
def run_of(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str, **wanted: str) -> list[Node]:
        return [each for each in self.walk() if each.tag == tag and wanted.items() <= each.attributes.items()]

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()


class Page(HTMLParser):
    """A page as a tree; what a browser would have to repair is an error."""

    VOID = ("meta", "input", "wbr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = self.here = Node("#root", {})
        self.feed(page)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(node)
        if tag not in self.VOID:
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)

    @property
    def counts(self) -> dict[str, int]:
        parts = [each for each in self.root.all("span") if "data-outcome" in each.attributes]
        return {each.attributes["data-outcome"]: int(each.all("b")[1].text.replace(",", "")) for each in parts}

    @property
    def total(self) -> int:
        (total,) = self.root.all("span", **{"class": "total"})
        return int(total.all("b")[0].text.replace(",", ""))

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """Case, column and outcome of every mark in the table."""
        (matrix,) = [each for each in self.root.all("table") if "cells" in each.attributes["class"].split()]
        columns = [each.text for each in matrix.all("thead")[0].all("th")][1:]
        found = []
        for row in matrix.all("tr"):
            if places := row.all("td"):
                assert len(places) == len(columns)
                case = row.all("th")[0].text
                for column, place in zip(columns, places, strict=True):
                    for mark in (each for each in place.children if isinstance(each, Node) and each.tag in ("a", "b")):
                        assert mark.attributes["title"]
                        assert mark.text.strip()
                        found.append((case, column, mark.attributes["class"].split()[0]))
        return found

    @property
    def headline(self) -> str:
        return self.root.all("h1")[0].text

    @property
    def warnings(self) -> list[str]:
        return [item.text for box in self.root.all("ul", **{"class": "warnings"}) for item in box.all("li")]


def tell(cells: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str, str]]:
    return Counter((each["case"], f"{each['implementation']}/{each['device']}", each["outcome"]) for each in cells)


def test_the_headline_counts_every_outcome_as_the_file_does(run_of: Maker) -> None:
    run = run_of([*all_outcomes(), cell("x", "impl-0", "conforms")])
    page = Page(render([run]))
    assert page.counts == run.counts
    assert list(page.counts) == list(OUTCOMES)
    assert page.total == sum(page.counts.values()) == 50
    assert page.headline == "21 of 50 cells fail."


def test_cells_that_never_got_a_line_are_counted_as_not_run(run_of: Maker) -> None:
    run = run_of(all_outcomes(), cells=1_000_000, complete=None)
    page = Page(render([run]))
    assert page.counts == run.counts
    assert page.counts["not_run"] == 7 + 999_951
    assert page.total == 1_000_000
    assert "results.jsonl set out to do 1,000,000 cells; 999,951 of them never got a line." in page.warnings


def test_every_cell_stands_in_the_table_exactly_once(run_of: Maker) -> None:
    cells = all_outcomes()[:-5]
    assert Counter(Page(render([run_of(cells)])).marks) == tell(cells)


def test_several_lines_for_one_cell_are_all_shown_and_said(run_of: Maker) -> None:
    cells = [cell("a", "torch", "conforms"), cell("a", "torch", "violates")]
    page = Page(render([run_of(cells)]))
    assert Counter(page.marks) == tell(cells)
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
    ("complete", "said"),
    [(None, "it has no footer"), (False, "its footer says that it is not complete")],
)
def test_a_run_that_was_broken_off_is_shown_as_such(run_of: Maker, complete: bool | None, said: str) -> None:
    page = Page(render([run_of([cell("a", "torch", "conforms")], complete=complete)]))
    assert page.warnings == [f"results.jsonl was broken off: {said}."]


def test_a_complete_run_has_no_warning(run_of: Maker) -> None:
    assert Page(render([run_of(all_outcomes())])).warnings == []


def test_no_files_and_empty_records_make_a_page() -> None:
    assert Page(render([])).headline == "Nothing ran: there is no cell in these results."
    bare = Run(path="x", header={}, implementations=({},), cells=({}, {"outcome": 3}), footer={})
    page = Page(render([bare]))
    assert page.counts["unknown"] == 2
    assert page.headline.startswith("2 of 2 cells fail")


def test_an_unknown_outcome_fails_and_is_said(run_of: Maker) -> None:
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


def test_a_footer_that_counts_otherwise_is_said(run_of: Maker) -> None:
    run = run_of([cell("a", "torch", "conforms")])
    lying = Run(
        path=run.path,
        header=run.header,
        implementations=run.implementations,
        cells=run.cells,
        footer={"counts": {"conforms": 9}, "complete": True},
    )
    assert any("contradicts itself: its footer counts" in each for each in Page(render([lying])).warnings)


def test_each_failure_shows_everything_the_file_says_of_it(run_of: Maker) -> None:
    page = Page(render([run_of([cell("a", name, name) for name in ("violates", "crashed", "timed_out", "diverges")])]))
    said = page.root.text
    for expected in (
        "exact",
        "0.5",
        "got",
        "0.75",
        "0.0142857",
        "[1, 17, 3]",
        "declared",
        "off by 0.25",
        "beyond",
        "412",
    ):
        assert expected in said
    for expected in ("a key of a later version", "SIGABRT", "signal 6", "Check failed\nAborted", "again alone"):
        assert expected in said
    for expected in ("accepted", "refused", "ValueError: min_ndim=2", "rank 1 is refused", "cases/divergences.yaml:12"):
        assert expected in said
    for expected in ("torch", "2.13.0", "allow_tf32", "false", "Linux", "2026-01-02T03:04:05Z", "numpy", "2.3.5"):
        assert expected in said


def test_the_details_of_a_cell_stand_under_its_case(run_of: Maker) -> None:
    page = Page(render([run_of(all_outcomes())]))
    detailed = [each for each in page.root.all("article") if "problem" in each.attributes["class"]]
    assert len(detailed) == 7 * 4
    for each in detailed:
        assert each.parent is not None
        assert each.attributes["id"].startswith(each.parent.attributes["id"].replace("case~", "cell~") + "~")


def test_every_link_on_the_page_has_a_target_and_every_target_one_place(run_of: Maker) -> None:
    odd = [cell(f"case {index}\u202e<i>", "a b", "violates", copy=index) for index in range(3)]
    page = Page(render([run_of([*all_outcomes(), *odd, *odd])]))
    ids = Counter(each.attributes["id"] for each in page.root.walk() if "id" in each.attributes)
    assert set(ids.values()) == {1}
    links = {each.attributes["href"] for each in page.root.all("a")}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert {link for link in links if not link.startswith("#")} == {"https://a.test/1", "https://a.test/2"}


def test_cells_that_were_not_run_for_one_reason_are_one_entry(run_of: Maker) -> None:
    cells = [cell(f"case-{index}", "flax", "not_run") for index in range(100)]
    page = Page(render([run_of([*cells, cell("case-0", "torch", "conforms")])]))
    (section,) = page.root.all("section", id="unasked")
    groups = section.all("section", **{"class": "group"})
    groups = [each for each in groups if "flax is not installed" in each.text]
    assert len(groups) == 1
    assert "flax/cpu: all 100 of its cells" in groups[0].text


def test_checks_that_cannot_be_answered_are_said_of_green_cells(run_of: Maker) -> None:
    page = Page(render([run_of([cell("a", "torch", "conforms")])]))
    (section,) = page.root.all("section", id="unasked")
    assert "gradients: no tape" in section.text
    (mark,) = [each for each in page.root.all("b") if each.attributes.get("class") == "conforms m2"]
    assert mark.text == "✓ 0.43*"
    assert mark.attributes["title"] == "conforms, margin 0.43, cannot answer gradients"


def test_rows_are_grouped_by_file_and_in_the_order_of_its_lines(run_of: Maker) -> None:
    rows = {"b": "cases/x.yaml:10", "a": "cases/x.yaml:9", "c": "cases/a.yaml:1", "d": None}
    page = Page(render([run_of([cell(case, "torch", "conforms", row=row) for case, row in rows.items()])]))
    assert [case for case, _, _ in page.marks] == ["c", "a", "b", "d"]
    files = [each.text for each in page.root.all("tr", **{"class": "file"})]
    assert files == ["cases/a.yaml", "cases/x.yaml", "(no row named)"]


# Several files


def test_shards_of_one_run_share_their_columns(run_of: Maker) -> None:
    cells = all_outcomes()
    runs = [run_of(cells[::2], "one/results"), run_of(cells[1::2], "two/results")]
    page = Page(render(runs))
    assert Counter(page.marks) == tell(cells)
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


def test_a_file_given_twice_is_counted_twice_and_told_apart(run_of: Maker) -> None:
    run = run_of([cell("a", "torch", "conforms")])
    page = Page(render([run, run]))
    assert page.total == 2
    assert len({column for _, column, _ in page.marks}) == 2


def test_the_broken_one_of_several_files_is_named(run_of: Maker) -> None:
    runs = [run_of([cell("a", "x", "conforms")], "whole"), run_of([cell("a", "y", "conforms")], "cut", complete=None)]
    page = Page(render(runs))
    assert page.warnings == ["cut.jsonl was broken off: it has no footer."]
    assert page.headline.startswith("Broken off")


# Nothing but the files decides what the page says


def test_the_same_file_gives_the_same_bytes_whatever_the_hash_seed_and_folder(tmp_path: Path) -> None:
    pages = set()
    for seed in ("1", "2"):
        run = Maker(tmp_path / seed)(all_outcomes())
        code = "import sys, pathlib; from conformance import report, results\n"
        code += "report.write([results.read(pathlib.Path(sys.argv[1]))], pathlib.Path(sys.argv[2]))"
        page = tmp_path / seed / "new" / "page.html"
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run([sys.executable, "-c", code, run.path, str(page)], check=True, env=env)
        pages.add(page.read_bytes())
        assert sorted(path.name for path in page.parent.iterdir()) == ["page.html"]
    assert len(pages) == 1


def test_the_order_of_lines_in_the_file_is_no_matter(run_of: Maker) -> None:
    cells = all_outcomes()
    assert render([run_of(cells)]) == render([run_of(cells[::-1])])


def test_a_page_that_cannot_be_made_leaves_the_old_one(run_of: Maker, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write([run_of([])], page)
    before = page.read_bytes()
    with pytest.raises(AttributeError):
        write([None], page)  # type: ignore[list-item]
    assert page.read_bytes() == before


def test_the_report_imports_no_framework_and_nothing_of_the_suite_but_results() -> None:
    code = "import sys, conformance.report; print(*sorted(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True, text=True)
    modules = done.stdout.split()
    ours = {each for each in modules if each.startswith("conformance.") and not each.startswith("conformance.report")}
    assert ours == {"conformance.results"}
    assert not {"numpy", "torch", "keras", "tensorflow", "jax", "flax", "pytest"} & set(modules)


# Hostile content

INVISIBLE = "\x00\x1b[31m\x7f\x9b\r\u202e\u2066\u200b\u2028\ufeff\ud800\U000e0041"
MARKUP = "</td></pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\"' onclick='x' {{ 7*7 }} &lt;"
HOSTILE = MARKUP + INVISIBLE
SEEN = MARKUP + r"\x00\x1b[31m\x7f\x9b\x0d[U+202E][U+2066][U+200B][U+2028][U+FEFF][U+D800][U+E0041]"
#: What is a name of the format, or must stay a number, a link or an outcome for the page to have the same parts.
FIXED = (
    "type",
    "outcome",
    "line",
    "row",
    "source",
    "link",
    "complete",
    "counts",
    "cells",
    "schema",
    "seconds",
    "margin",
)


def hostile(content: Any, suffix: str, key: str = "") -> Any:
    """Put `suffix` to every string, names in free mappings included, that is not a name of the format itself."""
    if key in FIXED:
        return content
    if isinstance(content, str):
        return content + suffix
    if isinstance(content, Mapping):
        free = key in ("versions", "settings", "distributions", "platform", "selection", "facts", "question")
        return {name + suffix if free else name: hostile(each, suffix, name) for name, each in content.items()}
    if isinstance(content, list | tuple):
        return [hostile(each, suffix, key) for each in content]
    return content


def spoilt(run: Run, suffix: str) -> Run:
    return Run(
        path=run.path + suffix.replace("/", "\\"),
        header=hostile(run.header, suffix),
        implementations=tuple(hostile(each, suffix) for each in run.implementations),
        cells=tuple(hostile(each, suffix) for each in run.cells),
        footer=run.footer,
    )


def skeleton(page: str) -> list[tuple[str, tuple[str, ...], str]]:
    """Return the page without any text or value: its elements, their attributes and their classes, in order."""
    return [
        (each.tag, tuple(sorted(each.attributes)), each.attributes.get("class", "")) for each in Page(page).root.walk()
    ]


def every_part(run_of: Maker) -> Run:
    """A run that fills every hole of the template when it is given twice."""
    cells = [cell(f"784x{outcome}-4-uniform", "torch", outcome) for outcome in OUTCOMES]
    cells += [cell(f"32x{index}-4-uniform", "torch", "not_run") for index in range(8)]
    return run_of([*cells, cell("bare", "torch", "violates", checks=[])])


def hold_text_as_text(fill: Callable[[Sequence[Run]], str], run: Run) -> None:
    """Raise unless the page with hostile content has the very same elements as the page without, and shows it all."""
    page = fill([spoilt(run, HOSTILE)] * 2)
    assert not text._INVISIBLE.search(page)
    assert skeleton(page) == skeleton(fill([spoilt(run, " and more")] * 2))
    assert SEEN in Page(page).root.text
    page.encode("utf-8")


def test_hostile_content_is_shown_as_text(run_of: Maker) -> None:
    run = every_part(run_of)
    hold_text_as_text(render, run)
    page = Page(render([spoilt(run, HOSTILE)]))
    assert not page.root.all("script")
    assert not [name for each in page.root.walk() for name in each.attributes if name.startswith("on")]
    tags = {each.tag for each in page.root.walk()}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "svg", "template"}


SOURCE = (Path(conformance.report.__file__).parent / "page.html.jinja").read_text(encoding="utf-8")
STYLE = (Path(conformance.report.__file__).parent / "style.css").read_text(encoding="utf-8")
HOLES = list(re.finditer(r"\{\{-? (.+?) -?\}\}", SOURCE))
#: Holes that are filled with names and numbers of our own, never with content of a results file.
OUR_OWN = re.compile(
    r"(facts|chip|bar|mark|group|problem)\(|^label$|kind\.|cell\.(shade|sign)|count|total|headline\.|loop\.|anchor|row\.loud"
    r"|table\.columns\|length|unlisted|margin\|short|duration|length|each\.cell\.kind\.name|fragment|check\.entry"
    r"|group\.link|asked\.(link|source|row)|cell\.copy|warning|file\.name"
)


def filled_by(source: str) -> Callable[[Sequence[Run]], str]:
    made = environment(DictLoader({"page.html.jinja": source, "style.css": STYLE}))
    return lambda runs: render_with(made, runs)


@pytest.mark.parametrize("hole", HOLES, ids=lambda match: f"{match.start()}-{match[1]}")
def test_a_hole_left_unescaped_is_found(run_of: Maker, hole: re.Match[str]) -> None:
    """Every hole of the template in turn is opened; the test above must fail for all that content reaches."""
    if OUR_OWN.search(hole[1]):
        return
    opened = SOURCE[: hole.start()] + "{{ (" + hole[1] + ")|safe }}" + SOURCE[hole.end() :]
    run = every_part(run_of)
    with pytest.raises(AssertionError):
        hold_text_as_text(filled_by(opened), run)


def test_the_holes_that_are_opened_are_not_few() -> None:
    assert sum(1 for hole in HOLES if not OUR_OWN.search(hole[1])) >= 25


@pytest.mark.parametrize(
    "holes", ["asked.source", "asked.row", "group.link", "warning", "file.name", 'file.name or "(no row named)"']
)
def test_links_rows_and_warnings_are_escaped(run_of: Maker, holes: str) -> None:
    """The fields that `hostile` leaves alone, because the page has other parts with them than without."""
    nasty = "https://a.test/<b>\"'" + HOSTILE
    checks = [{**EVIDENCE["diverges"]["checks"][0], "divergence": {**ENTRY, "link": nasty}}]
    cells = [cell("a", "torch", "diverges", source=nasty, row=f"{nasty}:7", checks=checks)]
    for run in (run_of(cells, complete=None), spoilt(run_of(cells, complete=None), HOSTILE)):
        page = render([run])
        Page(page)
        assert "<script" not in page
        assert "<img" not in page
        assert "a.test/&lt;b&gt;" in page
        assert [
            each.attributes["href"] for each in Page(page).root.all("a") if "a.test" in each.attributes["href"]
        ] == []
    assert "autoescape" not in SOURCE
    assert "|safe" not in SOURCE.replace(" ", "")
    assert holes


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "\x01javascript:alert(1)",
        " https://a.test",
        "https://a.test/\u202e",
        "https://a.test/ x",
        "https://",
        "https://[",
        "http:/a.test",
        "//a.test",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://a.test",
        'https://a.test/" onclick="x',
        7,
        None,
    ],
)
def test_only_web_addresses_become_links(run_of: Maker, link: object) -> None:
    checks = [{**EVIDENCE["diverges"]["checks"][0], "divergence": {**ENTRY, "link": link}}]
    page = Page(render([run_of([cell("a", "torch", "diverges", source=link, checks=checks)])]))
    assert [each for each in page.root.all("a") if not each.attributes["href"].startswith("#")] == []
    if isinstance(link, str):
        assert page.root.text.count(text.visible(link)) >= 2


@pytest.mark.parametrize("link", ["https://a.test/x?y=1&z=%20#f", "http://a.test", "HTTPS://a.test/~(x)"])
def test_web_addresses_become_links_that_tell_nobody_where_they_were_found(run_of: Maker, link: str) -> None:
    page = Page(render([run_of([cell("a", "torch", "conforms", source=link)])]))
    (found,) = [each for each in page.root.all("a") if not each.attributes["href"].startswith("#")]
    assert found.attributes == {"href": link, "rel": "noopener noreferrer"}


def test_a_long_log_is_cut_at_its_beginning_and_says_so(run_of: Maker) -> None:
    stderr = "x" * 1_000_000 + "\x1b[31mthe reason"
    page = render([run_of([cell("a", "torch", "crashed", crash={"step": "forward", "stderr": stderr})])])
    assert len(page) < 60_000
    assert "\\x1b[31mthe reason" in page
    assert re.search(r"\[cut: 99\d,\d{3} earlier characters in the results file\]", page)


def test_many_long_logs_still_make_a_page_one_can_open(run_of: Maker) -> None:
    crash = {"step": "forward", "stderr": "y" * 50_000}
    page = render([run_of([cell(f"case-{index}", "torch", "crashed", crash=crash) for index in range(2_000)])])
    assert len(page) < 6_000_000


def test_long_values_and_names_are_cut_and_say_so(run_of: Maker) -> None:
    check = {"check": "output", "outcome": "violates", "expected": list(range(100_000)), "message": "m" * 100_000}
    cells = [cell("c" * 100_000 + end, "torch", "violates", checks=[check]) for end in "ab"]
    page = render([run_of(cells)])
    assert len(page) < 120_000
    assert "more characters in the results file]" in page
    assert len({case for case, _, _ in Page(page).marks}) == 2


def test_values_of_any_type_in_any_place_make_a_page(run_of: Maker) -> None:
    odd: list[Any] = [None, True, -1, 1.5, "text", [], [1], {}, {"a": 1}, 10**400]
    keys = ("checks", "crash", "reason", "row", "question", "why", "source", "seconds", "device")
    cells = [
        cell(f"{key}-{index}", "torch", "crashed", **{key: each}) for key in keys for index, each in enumerate(odd)
    ]
    inner = ("check", "margin", "worst", "expected", "message", "raised", "divergence", "facts", "outcome", "reason")
    cells += [
        cell(
            f"check-{key}-{index}", "torch", "violates", checks=[{"check": "output", "outcome": "violates", key: each}]
        )
        for key in inner
        for index, each in enumerate(odd)
    ]
    inside = ("step", "reason", "stderr", "notes")
    cells += [
        cell(f"crash-{key}-{index}", "torch", "crashed", crash={key: each})
        for key in inside
        for index, each in enumerate(odd)
    ]
    page = Page(render([run_of(cells)]))
    assert len(page.marks) == len(cells)


def test_numbers_that_are_not_finite_are_the_worst(run_of: Maker) -> None:
    checks = [{"check": "a", "outcome": "violates", "margin": each} for each in (0.5, finite(float("nan")), "inf")]
    page = Page(render([run_of([cell("a", "torch", "violates", checks=checks)])]))
    (mark,) = [
        each for each in page.root.all("a") if each.text.startswith("×") and "violates" in each.attributes["class"]
    ]
    assert mark.text == "× nan"


def test_the_page_asks_nothing_of_anybody(run_of: Maker) -> None:
    page = render([run_of(all_outcomes())])
    root = Page(page).root
    (policy,) = root.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert not [each for each in root.walk() if {"src", "srcset", "action", "data"} & set(each.attributes)]
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_a_template_that_names_something_that_is_not_there_is_an_error(run_of: Maker) -> None:
    with pytest.raises(UndefinedError):
        filled_by(SOURCE.replace("{{ warning }}", "{{ wraning }}"))([run_of([], complete=None)])


@pytest.mark.parametrize(
    ("margin", "shown"),
    [(0.0, "0"), (0.434, "0.43"), (0.996, ">0.99"), (1.0, "1"), (17.25, "17"), (1234.5, "1.23e+03"), (1e-9, "1e-09")],
)
def test_a_margin_is_never_rounded_up_to_the_limit(margin: float, shown: str) -> None:
    assert text.short(margin) == shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0031, "3.1 ms"),
        (12.34, "12.3 s"),
        (200, "3 min 20 s"),
        (7260, "2 h 1 min"),
        (None, "unknown"),
        (-1, "unknown"),
    ],
)
def test_times_are_said_as_people_do(seconds: float | None, said: str) -> None:
    assert text.duration(seconds) == said


def test_results_of_all_outcomes_survive_as_json() -> None:
    assert json.loads(json.dumps(all_outcomes())) == all_outcomes()
