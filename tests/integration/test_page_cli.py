"""The options of `conformance report`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.commands.cli import main
from tests.support.pages import Maker, cell
from tests.support.parsed_page import Page


@pytest.fixture
def run_of(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def report(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def test_the_page_shows_changes_since_another_run(run_of: Maker, tmp_path: Path) -> None:
    old = run_of([cell("a", "torch", "conforms"), cell("b", "torch", "violates")], "old")
    new = run_of([cell("a", "torch", "violates"), cell("b", "torch", "conforms")], "new")
    page = tmp_path / "page.html"
    done = report(new.path, "--against", old.path, "-o", str(page))
    assert done.exit_code == 0, done.output
    root = Page(page.read_text(encoding="utf-8")).root
    (sentence,) = root.all("p", **{"class": "since"})
    assert sentence.text == "Since the last run: 1 newly failing; 1 fixed."
    (changes,) = root.all("section", id="changes")
    assert "Compared with old.jsonl, started 2026-01-02T03:04:05Z." in changes.text
    assert [each.attributes["href"] for each in changes.all("a")] == [
        "#/cell?case=a&column=torch/cpu",
        "#/cell?case=b&column=torch/cpu",
    ]


def test_the_page_shows_the_nights_of_a_folder(run_of: Maker, tmp_path: Path) -> None:
    for day, outcome in enumerate(("conforms", "conforms", "violates"), start=1):
        run = run_of([cell("a", "torch", outcome)], f"nights/{day}", started=f"2026-01-0{day}T03:00:00Z")
    page = tmp_path / "page.html"
    done = report(run.path, "--history", str(tmp_path / "nights"), "-o", str(page))
    assert done.exit_code == 0, done.output
    (section,) = Page(page.read_text(encoding="utf-8")).root.all("section", id="history")
    assert "3 nights." in section.text
    nights = section.all("table", id="nights")[0].all("tbody")[0].all("tr")
    assert [each.all("td")[2].text for each in nights] == ["1", "0", "0"]
    (worsened,) = section.all("td", **{"class": "id"})
    assert worsened.all("a")[0].attributes["href"] == "#/cell?case=a&column=torch/cpu"
    assert "2026-01-03T03:00:00Z" in section.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "{folder}/gone.jsonl"], "No such file"),
        (["--against", "{folder}/not.jsonl"], "not.jsonl:1: not a results file; `conformance run` writes one"),
        (["{run}", "--against", "{run}"], "--against compares one results file with OLD: give one results file"),
        (["--history", "{folder}/gone"], "gone"),
    ],
)
def test_an_unreadable_file_exits_2_with_one_line(
    run_of: Maker, tmp_path: Path, arguments: list[str], message: str
) -> None:
    run = run_of([cell("a", "torch", "conforms")])
    (tmp_path / "not.jsonl").write_text("{}\n", encoding="utf-8")
    given = [each.format(folder=tmp_path, run=run.path) for each in arguments]
    done = report(run.path, *given, "-o", str(tmp_path / "page.html"))
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "page.html").exists()
