"""Which nights are published, what is compared with them, and what stays in a site."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.commands.nightly.pages import cover
from conformance.commands.nightly.publish import Night, publish, reason_to_set_aside
from conformance.results import read
from conformance.results.diff.comparison import Diff, diff
from conformance.results.history.store import open_nights
from tests.support.nights import BAD, DEAD, GOOD, cell, night, pointer, published, started, written


def test_a_first_good_night_is_published_and_becomes_the_good_one(tmp_path: Path, site: Path) -> None:
    results = night(tmp_path, GOOD, 0)
    done = publish(results, site)
    assert (done.reason, done.since, done.is_worse) == ("", "", False)
    assert sorted(published(site)) == [
        "badges/jax.json",
        "badges/torch.json",
        "diff.md",
        "history/20260101T030000Z.jsonl.gz",
        "index.html",
    ]
    assert gzip.decompress(published(site)["history/20260101T030000Z.jsonl.gz"]) == results.read_bytes()
    assert pointer(site)["latest"]["file"] == pointer(site)["good"]["file"] == "history/20260101T030000Z.jsonl.gz"


def test_a_worse_night_is_published_and_later_ones_are_still_compared_with_the_good_one(
    tmp_path: Path, site: Path
) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    for number in (1, 2):
        done = publish(night(tmp_path, BAD, number), site)
        assert done.is_worse
        assert [(each.framework, each.check, each.pattern) for each in done.causes] == [("torch", "output", "off")]
        assert pointer(site)["good"]["started"] == started(0)
        assert pointer(site)["latest"]["started"] == started(number)
        assert "cpu/torch/a" in published(site)["diff.md"].decode()
    assert not publish(night(tmp_path, GOOD, 3), site).is_worse
    assert pointer(site)["good"]["started"] == started(3)
    assert len([name for name in published(site) if name.startswith("history/")]) == 4


def test_a_first_night_with_failing_cells_is_published_and_is_not_good(tmp_path: Path, site: Path) -> None:
    for number in (0, 1):
        done = publish(night(tmp_path, BAD, number), site)
        assert done.is_worse
        assert [(each.check, each.since) for each in done.causes] == [("output", "")]
        assert (pointer(site)["latest"]["started"], pointer(site)["good"]) == (started(number), None)
    cover(site)
    assert "there was no good night yet" in (site / "index.html").read_text(encoding="utf-8")
    assert not publish(night(tmp_path, GOOD, 2), site).is_worse
    assert pointer(site)["good"]["started"] == started(2)


def test_a_worse_night_becomes_the_good_one_with_accept(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    assert publish(night(tmp_path, BAD, 1), site, accept=True).is_worse
    assert pointer(site)["good"]["started"] == started(1)
    assert not publish(night(tmp_path, BAD, 2), site).is_worse


@pytest.mark.parametrize(
    ("cells", "more", "reason"),
    [
        (DEAD, {}, "everything failed"),
        ([], {}, "nothing ran"),
        ([cell("a", "not_run"), cell("b", "unsupported")], {}, "nothing ran"),
        (GOOD, {"complete": False}, "the run was broken off"),
        (GOOD[:1], {"complete": False, "announced": 9}, "the run was broken off"),
    ],
    ids=["everything failed", "no cell", "no cell ran", "no footer", "most cells missing"],
)
def test_a_night_that_is_set_aside_changes_no_published_file(
    tmp_path: Path, site: Path, cells: list[dict[str, Any]], more: dict[str, Any], reason: str
) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    before, shown = published(site), pointer(site)
    results = night(tmp_path, cells, 1, **more)
    assert reason_to_set_aside(read(results)).startswith(reason)
    done = publish(results, site)
    assert done.reason.startswith(reason)
    assert published(site) == before
    assert {**pointer(site), "aside": None} == shown
    kept = site / "pinned" / pointer(site)["aside"]["file"]
    assert gzip.decompress(kept.read_bytes()) == results.read_bytes()
    assert [each.check for each in done.causes] == ["not published"]


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"\xff\xff\n\n", b'{"type": "header", "schema": 9}\n'])
def test_a_file_that_is_not_a_results_file_is_set_aside(tmp_path: Path, site: Path, content: bytes | None) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    before = published(site)
    results = tmp_path / "nights" / "pinned" / "results.jsonl"
    results.unlink()
    if content is not None:
        results.write_bytes(content)
    done = publish(results, site)
    assert done.reason
    assert str(tmp_path) not in done.reason
    assert published(site) == before


def test_a_first_night_that_is_set_aside_has_no_page(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, DEAD, 0), site)
    assert published(site) == {}
    cover(site)
    assert "No night is shown yet" in (site / "index.html").read_text(encoding="utf-8")


def test_an_older_night_is_set_aside_and_the_same_night_is_published_again(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, GOOD, 5), site)
    before = published(site)
    assert publish(night(tmp_path, GOOD, 5), site).reason == ""
    assert published(site) == before
    assert "newer night is published" in publish(night(tmp_path, GOOD, 4), site).reason
    assert published(site) == before


def test_the_oldest_nights_are_removed_and_the_good_one_stays(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    for number in range(1, 6):
        publish(night(tmp_path, BAD, number), site, limit=2)
    kept = sorted(each.name[:8] for each in (site / "pinned" / "history").glob("*.gz"))
    assert kept == ["20260101", "20260105", "20260106"]
    assert publish(night(tmp_path, BAD, 6), site, limit=2).is_worse


def test_thinned_nights_give_the_same_diff_and_history(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.commands.nightly.archive.WHOLE", 2)
    heavy = {"reproduce": "x" * 1000, "why": "because", "steps": {"build": 0.1}}
    cells = [{**each, **heavy} for each in (*GOOD, cell("c", "not_run", reason="stopped"))]
    whole = []
    for number in range(4):
        whole.append(read(night(tmp_path, cells, number)))
        publish(Path(whole[-1].path), site)
    files = sorted((site / "pinned" / "history").glob("*.gz"))
    kept = [read(each) for each in files]
    assert [each.header.thinned for each in kept] == [True, True, False, False]
    assert not kept[0].cells[0].reproduce
    for run, thinned in zip(whole, kept, strict=True):
        assert diff(run, thinned) == diff(thinned, run) == Diff()
        assert run.counts == thinned.counts
    assert kept[3].cells == whole[3].cells
    nights = open_nights(site / "pinned" / "history")
    rows = nights.query("SELECT DISTINCT * EXCLUDE (night) FROM cells")
    assert len(rows) == len(cells)


def test_badges_of_removed_implementations_are_removed(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    publish(night(tmp_path, GOOD[:2], 1), site)
    assert [each for each in published(site) if each.startswith("badges/")] == ["badges/torch.json"]


def test_the_same_nights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for number, cells in enumerate((GOOD, BAD)):
            publish(night(tmp_path, cells, number), tmp_path / name)
        cover(tmp_path / name)
    assert published(tmp_path / "one") == published(tmp_path / "two")
    assert (tmp_path / "one" / "index.html").read_bytes() == (tmp_path / "two" / "index.html").read_bytes()


def test_the_cover_links_to_every_environment_and_names_its_night(tmp_path: Path, site: Path) -> None:
    for environment, versions in (("pinned", {"torch": "2.9.0"}), ("newest", {"torch": "2.13.0"})):
        publish(night(tmp_path, GOOD, 0, environment, versions=versions), site)
    publish(night(tmp_path, DEAD, 1, "newest"), site)
    cover(site)
    first = (site / "index.html").read_text(encoding="utf-8")
    assert [name in first for name in ('href="pinned/index.html"', 'href="newest/index.html"', "beside.html")] == [
        True
    ] * 3
    assert "everything failed" in first
    beside = (site / "beside.html").read_text(encoding="utf-8")
    assert all(each in beside for each in ("torch/cpu (torch 2.9.0, pinned)", "torch/cpu (torch 2.13.0, newest)"))


def test_the_sentence_of_a_night_is_one_line() -> None:
    told = Night(environment="a", started="b\n\x1b", reason="c", since="", changes=None, causes=()).sentence()
    assert told.isprintable()


def test_runs_of_two_versions_in_separate_environments_make_a_matrix(tmp_path: Path) -> None:
    """The files have one name, in folders of their own, as two environments write them."""
    files = [
        written(tmp_path / name / "results.jsonl", GOOD if name == "old" else BAD, versions={"torch": version})
        for name, version in (("old", "2.9.0"), ("new", "2.13.0"))
    ]
    done = CliRunner().invoke(main, ["report", *map(str, files), "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "torch/cpu (torch 2.9.0, old/results.jsonl)" in page
    assert "torch/cpu (torch 2.13.0, new/results.jsonl)" in page
