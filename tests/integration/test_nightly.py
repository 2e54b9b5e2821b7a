"""What is published of a night and what is not, and `make nightly` from end to end: good, bad, and dead."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.badge import file_name
from conformance.commands.cli import main
from conformance.commands.nightly.pages import cover
from conformance.commands.nightly.publish import Night, publish, unfit
from conformance.results import read
from conformance.results.diff.comparison import Diff, diff
from conformance.results.history.store import open_nights
from tests.support.nights import cell, started, written
from tests.support.paths import ROOT

GOOD = [cell("a"), cell("b", "diverges"), cell("a", implementation="jax")]
BAD = [cell("a", "violates", message="off"), cell("b", "diverges"), cell("a", implementation="jax")]
DEAD = [cell("a", "crashed"), cell("b", "timed_out"), cell("a", "violates", "jax")]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def night(
    tmp_path: Path, cells: Sequence[dict[str, Any]], number: int, environment: str = "pinned", **more: Any
) -> Path:
    return written(tmp_path / "nights" / environment / "results.jsonl", cells, night=number, **more)


def published(site: Path, environment: str = "pinned") -> dict[str, bytes]:
    """Return everything a visitor sees of an environment; what is kept aside and the columns of the engine are not."""
    folder = site / environment
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    names = {each.relative_to(folder).as_posix(): each for each in files}
    unseen = ("aside/", "history/.cache/", "latest.json")
    return {name: each.read_bytes() for name, each in names.items() if not name.startswith(unseen)}


def pointer(site: Path, environment: str = "pinned") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site / environment / "latest.json").read_text(encoding="utf-8"))
    return found


def test_a_first_night_is_published_whole_and_is_the_good_one(tmp_path: Path, site: Path) -> None:
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


def test_a_first_night_with_failing_cells_is_shown_and_is_no_good_one(tmp_path: Path, site: Path) -> None:
    for number in (0, 1):
        done = publish(night(tmp_path, BAD, number), site)
        assert done.is_worse
        assert [(each.check, each.since) for each in done.causes] == [("output", "")]
        assert (pointer(site)["latest"]["started"], pointer(site)["good"]) == (started(number), None)
    cover(site)
    assert "there was no good night yet" in (site / "index.html").read_text(encoding="utf-8")
    assert not publish(night(tmp_path, GOOD, 2), site).is_worse
    assert pointer(site)["good"]["started"] == started(2)


def test_a_worse_night_becomes_the_good_one_where_somebody_says_so(tmp_path: Path, site: Path) -> None:
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
def test_a_night_not_fit_to_be_shown_changes_nothing_of_what_is(
    tmp_path: Path, site: Path, cells: list[dict[str, Any]], more: dict[str, Any], reason: str
) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    before, shown = published(site), pointer(site)
    results = night(tmp_path, cells, 1, **more)
    assert unfit(read(results)).startswith(reason)
    done = publish(results, site)
    assert done.reason.startswith(reason)
    assert published(site) == before
    assert {**pointer(site), "aside": None} == shown
    kept = site / "pinned" / pointer(site)["aside"]["file"]
    assert gzip.decompress(kept.read_bytes()) == results.read_bytes()
    assert [each.check for each in done.causes] == ["not published"]


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"\xff\xff\n\n", b'{"type": "header", "schema": 9}\n'])
def test_what_is_no_results_file_is_kept_aside_too(tmp_path: Path, site: Path, content: bytes | None) -> None:
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


def test_an_unfit_first_night_leaves_no_page(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, DEAD, 0), site)
    assert published(site) == {}
    cover(site)
    assert "No night is shown yet" in (site / "index.html").read_text(encoding="utf-8")


def test_a_night_older_than_what_is_shown_is_kept_aside_and_the_same_one_may_come_again(
    tmp_path: Path, site: Path
) -> None:
    publish(night(tmp_path, GOOD, 5), site)
    before = published(site)
    assert publish(night(tmp_path, GOOD, 5), site).reason == ""
    assert published(site) == before
    assert "newer night is published" in publish(night(tmp_path, GOOD, 4), site).reason
    assert published(site) == before


def test_the_oldest_nights_go_and_the_good_one_stays(tmp_path: Path, site: Path) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    for number in range(1, 6):
        publish(night(tmp_path, BAD, number), site, keep=2)
    kept = sorted(each.name[:8] for each in (site / "pinned" / "history").glob("*.gz"))
    assert kept == ["20260101", "20260105", "20260106"]
    assert publish(night(tmp_path, BAD, 6), site, keep=2).is_worse


def test_older_nights_are_thinned_and_tell_a_diff_and_a_history_the_same(
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
    rows = nights.ask("SELECT DISTINCT * EXCLUDE (night) FROM cells")
    assert len(rows) == len(cells)


def test_badges_of_what_is_asked_no_more_go(tmp_path: Path, site: Path) -> None:
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


def test_the_first_page_leads_to_every_environment_and_says_which_night_it_shows(tmp_path: Path, site: Path) -> None:
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


def command(tmp_path: Path, site: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["nightly", "publish", str(tmp_path / "nights"), "--site", str(site), *more])
    return done.exit_code, done.output


def test_the_command_says_what_became_of_each_night_and_exits_with_the_worst(tmp_path: Path, site: Path) -> None:
    night(tmp_path, GOOD, 0, "newest")
    night(tmp_path, GOOD, 0)
    assert command(tmp_path, site)[0] == 0
    night(tmp_path, BAD, 1, "newest")
    night(tmp_path, GOOD, 1)
    code, said = command(tmp_path, site, "--issues", str(tmp_path / "issues"))
    assert code == 1
    assert f"newest: the night of {started(1)} is published: worse than the last good night" in said
    assert f"pinned: the night of {started(1)} is published: nothing got worse" in said
    assert len(list((tmp_path / "issues").iterdir())) == 1
    night(tmp_path, DEAD, 2)
    code, said = command(tmp_path, site)
    assert code == 3
    assert f"pinned: the night of {started(2)} is kept aside: everything failed" in said


@pytest.mark.parametrize("damaged", ["history/.cache/*.parquet", "history/20260101T030000Z.jsonl.gz"])
def test_what_was_kept_and_is_damaged_makes_no_night_worse(
    damaged: str, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.commands.nightly.archive.WHOLE", 1)
    for number in range(3):
        night(tmp_path, GOOD, number)
        code, said = command(tmp_path, site)
        assert (code, said.endswith("nothing got worse\n")) == (0, number > 0), said
        for file in (site / "pinned").glob(damaged) if number else ():  # the first is the last good night until then
            file.write_bytes(file.read_bytes()[:-20])


def test_a_site_with_a_night_that_cannot_be_read_is_one_line_of_error(tmp_path: Path, site: Path) -> None:
    night(tmp_path, GOOD, 0)
    night(tmp_path, GOOD, 0, "newest")
    assert command(tmp_path, site)[0] == 0
    shutil.rmtree(tmp_path / "nights" / "newest")
    (site / "newest" / pointer(site, "newest")["latest"]["file"]).write_bytes(b"")
    night(tmp_path, GOOD, 1)
    code, said = command(tmp_path, site)
    assert (code, said.count("\n")) == (2, 1), said


def test_an_environment_that_sent_nothing_is_missed(tmp_path: Path, site: Path) -> None:
    night(tmp_path, GOOD, 0)
    code, said = command(tmp_path, site, "--expect", "pinned", "--expect", "newest")
    assert code == 3
    assert "newest: the night of an unknown time is kept aside: results.jsonl: No such file" in said


@pytest.mark.parametrize("fault", ["no folder", "empty", "name", "pointer", "pointer elsewhere", "good night gone"])
def test_what_cannot_be_published_is_one_line_of_error(tmp_path: Path, site: Path, fault: str) -> None:
    (tmp_path / "nights").mkdir()
    if fault == "no folder":
        (tmp_path / "nights").rmdir()
    elif fault == "name":
        night(tmp_path, GOOD, 0, "a b")
    elif fault != "empty":
        publish(night(tmp_path, GOOD, 0), site)
        night(tmp_path, GOOD, 1)
        path = site / "pinned" / "latest.json"
        if fault == "good night gone":
            (site / "pinned" / pointer(site)["good"]["file"]).unlink()
        else:
            evil = path.read_text(encoding="utf-8").replace("history/", "../../")
            path.write_text("[]" if fault == "pointer" else evil, encoding="utf-8")
    code, said = command(tmp_path, site)
    assert (code, len(said.splitlines())) == (2, 1), said


ROWS = """
description: Two rows.
defaults:
  checks: [output_shape, parameters, output]
  values: uniform
rows:
  - input_shape: [3]
    units: 2
  - input_shape: [3]
    units: 3
"""


class Nights:
    """`make nightly` on two rows and one implementation, whose source is written anew for each night."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        assert code is not None
        self.right = code.group(1)
        (folder / "rows.yaml").write_text(ROWS, encoding="utf-8")
        (folder / "stamp").touch()

    def make(self, source: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "my_numpy.py").write_text(source, encoding="utf-8")
        given = {
            "BIN": str(Path(sys.executable).parent),
            "STAMP": str(self.folder / "stamp"),
            "NIGHTLY_ARGS": "rows.yaml -i my_numpy:NumPyAdapter -n 0 --tier nightly",
            "NIGHTLY_STEPS": "nightly-run nightly-publish",
        }
        # Rules look for what they need beside the Makefile; what they make is made here.
        for name in ("pyproject.toml", "constraints.txt"):
            (self.folder / name).touch()
        os.utime(self.folder / "stamp")
        command = ["make", "-f", str(ROOT / "Makefile"), *(f"{key}={value}" for key, value in given.items()), "nightly"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "PYTEST"))}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )


def test_make_nightly_publishes_a_good_night_and_a_bad_one_and_not_a_dead_one(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    site = tmp_path / "build" / "site"
    wrong = nights.right.replace("x @ layer.kernel", "x @ (layer.kernel * (1.5 if layer.units == 3 else 1))")
    assert wrong != nights.right

    good = nights.make(nights.right)
    assert good.returncode == 0, good.stdout + good.stderr
    first = pointer(site)
    assert first["good"] == {key: each for key, each in first["latest"].items() if key != "worse"}
    assert first["latest"]["counts"]["conforms"] == 2
    assert f"badges/{file_name('my_numpy:NumPyAdapter')}" in published(site)

    bad = nights.make(wrong)
    assert bad.returncode != 0
    assert "is published: worse than the last good night" in bad.stdout
    shown = pointer(site)
    assert (shown["latest"]["worse"], shown["good"]) == (True, first["good"])
    assert "conforms -> violates" in published(site)["diff.md"].decode()
    (issue,) = (tmp_path / "build" / "nightly-issues").iterdir()
    assert "values beyond what is allowed" in json.loads(issue.read_text(encoding="utf-8"))["title"]

    before = published(site)
    dead = nights.make("raise SystemError('no driver')\n")
    assert dead.returncode != 0
    assert "is kept aside" in dead.stdout
    assert published(site) == before
    assert (pointer(site)["latest"], pointer(site)["good"]) == (shown["latest"], first["good"])
    assert "is not shown" in (site / "index.html").read_text(encoding="utf-8")


def test_a_night_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    stale = night(tmp_path, GOOD, 0)
    done = CliRunner().invoke(main, ["nightly", "run", "-o", str(stale.parent), str(tmp_path / "no.yaml")])
    assert done.exit_code == 2
    assert not stale.exists()


GONE = [{"id": "adds", "where": "x.yaml:1", "why": "why"}]


@pytest.mark.parametrize(
    ("options", "cells", "code"),
    [
        ((), [{**cell("a"), "gone": GONE}], 0),
        (("--strict-ledger",), [{**cell("a"), "gone": GONE}], 1),
        (("--strict-ledger",), [cell("a")], 0),
        (("--strict-ledger",), [cell("a", "violates")], 0),
    ],
)
def test_a_strict_night_is_red_where_a_known_divergence_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Sequence[str], cells: list[dict[str, Any]], code: int
) -> None:
    def run(command: Sequence[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert "--strict-ledger" not in command, "a red run is no fault of a night"
        written(Path(command[-1]) / "results.jsonl", cells, night=0)
        return subprocess.CompletedProcess(command, int(cells[0]["outcome"] == "violates"))

    monkeypatch.setattr("conformance.commands.nightly.command.subprocess.run", run)
    done = CliRunner().invoke(main, ["nightly", "run", *options, "-o", str(tmp_path / "pinned"), "rows.yaml"])
    assert done.exit_code == code, done.output


def test_a_behaviour_that_is_gone_is_told_of_a_night_and_does_not_make_it_worse(tmp_path: Path, site: Path) -> None:
    seen = {**cell("b", "diverges"), "behaviours": ["adds"], "covered": ["adds"]}
    publish(night(tmp_path, [cell("a"), seen], 0), site)
    done = publish(night(tmp_path, [cell("a"), {**cell("b"), "gone": GONE, "covered": ["adds"]}], 1), site)
    assert not done.is_worse
    assert "`adds (x.yaml:1)`: seen in 1 cell -> gone from 1 cell: `why`" in published(site)["diff.md"].decode()
    assert "1 behaviour gone" in published(site)["index.html"].decode()


def test_the_sentence_of_a_night_is_one_line() -> None:
    told = Night(environment="a", started="b\n\x1b", reason="c", since="", found=None, causes=()).sentence()
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


def test_what_goes_wrong_on_the_way_leaves_the_site_as_it_was(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(night(tmp_path, GOOD, 0), site)
    before, shown = published(site), pointer(site)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "badges")

    monkeypatch.setattr("conformance.commands.badge.write", full)
    night(tmp_path, BAD, 1)
    assert command(tmp_path, site) == (2, "error: badges: No space left on device\n")
    assert (published(site), pointer(site)) == (before, shown)
    assert sorted(each.name for each in site.iterdir()) == ["pinned"]
