"""A folder of nights with planted regressions: what the queries find, and damaged or hostile files."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.results import read
from conformance.results.history import queries
from conformance.results.history.store import HistoryError, Nights, open_nights
from tests.support.nights import cell, started, written
from tests.support.paths import ROOT

#: The night on which `breaks` breaks, with a new version of torch.
BROKEN = 6
NIGHTS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten nights: one cell breaks, one is fixed, one alternates, one vanishes, one is not run on the last night."""
    folder = tmp_path_factory.mktemp("nights")
    for night in range(NIGHTS):
        bad = night >= BROKEN
        cells = [
            cell("fine", margin=0.1 + 0.01 * night),
            cell(
                "breaks", "violates" if bad else "conforms", message="output[0] = 1\nmore", margin=9.0 if bad else 0.5
            ),
            cell("mended", "conforms" if bad else "crashed"),
            cell("alternates", "timed_out" if night % 2 else "conforms"),
            cell("never", "violates"),
            cell("goes", "not_run" if night == NIGHTS - 1 else "diverges", reason="stopped"),
            cell("fine", implementation="jax", margin=0.4),
        ]
        cells += [cell("gone", "violates" if night == 3 else "conforms")] if night < 4 else []
        versions = {"torch": "2.14.0" if bad else "2.13.0"}
        written(folder / f"{night:02d}.jsonl", cells, night=night, versions=versions)
    return folder


@pytest.fixture(scope="module")
def nights(folder: Path) -> Nights:
    return open_nights(folder)


def test_the_first_bad_night_of_a_cell_is_found_with_its_versions(nights: Nights) -> None:
    (history,) = queries.cell_histories(nights, "torch/breaks")
    (turn,) = history.regressions
    assert (turn.before.started, turn.after.started) == (started(BROKEN - 1), started(BROKEN))
    assert (turn.after.file, turn.after.outcome, turn.after.check) == (f"{BROKEN:02d}.jsonl", "violates", "output")
    assert turn.after.reason == "output[0] = 1"
    assert turn.version_changes == ("torch 2.13.0 -> 2.14.0",)
    assert queries.cell_histories(nights, "cpu/torch/breaks") == (history,)


def test_every_night_of_a_cell_matches_its_results_file(folder: Path, nights: Nights) -> None:
    for name in ("breaks", "alternates", "goes", "gone"):
        (history,) = queries.cell_histories(nights, f"cpu/torch/{name}")
        said = [
            (run.header.started, each.outcome, max((float(c.margin or 0) for c in each.checks), default=None))
            for run in map(read, sorted(folder.glob("*.jsonl")))
            for each in run.cells
            if (each.case, each.implementation) == (name, "torch")
        ]
        assert [(each.started, each.outcome, each.margin) for each in history.nights] == said


def test_an_unknown_cell_is_an_error(nights: Nights) -> None:
    for name in ("torch/none", "gpu/torch/fine", "fine", ""):
        with pytest.raises(HistoryError, match="no night has this cell"):
            queries.cell_histories(nights, name)


def test_worse_cells_have_their_first_bad_night_and_versions(nights: Nights) -> None:
    found = {each.case: each for each in queries.worse_cells(nights, last=3)}
    assert sorted(found) == ["alternates", "breaks", "goes"]
    broken = found["breaks"]
    assert (broken.since, broken.before, broken.now) == (started(BROKEN), "conforms", "violates")
    assert broken.versions_before == {"numpy": "2.4.6", "torch": "2.13.0"}
    assert broken.versions_since == broken.versions_now == {"numpy": "2.4.6", "torch": "2.14.0"}
    assert (found["goes"].before, found["goes"].now) == ("diverges", "not_run")


def test_a_cell_that_no_longer_runs_is_left_out_after_some_nights(nights: Nights) -> None:
    assert "gone" in {each.case for each in queries.worse_cells(nights, last=7)}
    assert "gone" not in {each.case for each in queries.worse_cells(nights, last=6)}


def test_what_alternates_under_the_same_versions_is_flaky_and_a_regression_is_not(nights: Nights) -> None:
    found = [(each.case, each.turns, each.nights, each.outcomes) for each in queries.flaky(nights)]
    assert found == [
        ("alternates", 5, BROKEN, ["conforms", "timed_out"]),
        ("alternates", 3, NIGHTS - BROKEN, ["conforms", "timed_out"]),
    ]


def test_margins_are_those_of_cells_that_conform(nights: Nights) -> None:
    found = {(each.implementation, each.dtype): each for each in queries.margins(nights)}
    assert sorted(found) == [("jax", "float32"), ("torch", "float32")]
    assert found["jax", "float32"].medians == [0.4] * NIGHTS
    assert found["torch", "float32"].maxima == [0.5] * BROKEN + [0.25] * (NIGHTS - BROKEN)


def test_the_summary_counts_as_the_files_do(folder: Path) -> None:
    found = queries.summary(folder)
    files = sorted(folder.glob("*.jsonl"))
    assert [each.file for each in found.nights] == [each.name for each in files]
    for night, file in zip(found.nights, files, strict=True):
        assert night.counts == read(file).counts
    assert found.nights[-1].versions == {"numpy": "2.4.6", "torch": "2.14.0"}
    assert {each.cell for each in found.worsened} >= {"cpu/torch/breaks", "cpu/torch/goes"}


def test_nights_are_ordered_by_start_and_not_by_name(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [cell("a", "violates")], night=2)
    written(tmp_path / "z.jsonl", [cell("a")], night=1)
    (history,) = queries.cell_histories(open_nights(tmp_path), "torch/a")
    assert [each.outcome for each in history.nights] == ["conforms", "violates"]


def test_cells_without_a_line_are_counted_as_not_run(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [cell("a")], announced=5, complete=False)
    (night,) = open_nights(tmp_path).nights
    assert night.counts == read(path).counts
    assert (night.counts["not_run"], night.complete) == (4, False)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_cut_file_is_read_to_its_last_whole_line(tmp_path: Path, share: float) -> None:
    whole = written(tmp_path / "a.jsonl", [cell(f"ü{index}") for index in range(20)]).read_bytes()
    (tmp_path / "a.jsonl").write_bytes(whole[: int(len(whole) * share)])
    kept = read(tmp_path / "a.jsonl")
    nights = open_nights(tmp_path)
    assert nights.nights[0].counts == kept.counts
    assert nights.nights[0].unread <= 1
    assert nights.query("SELECT count(*) AS cells FROM cells") == [{"cells": len(kept.cells)}]


def test_files_of_other_projects_are_skipped_with_the_reason(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [cell("a")])
    (tmp_path / "other.jsonl").write_text('{"name": "x"}\n[1]\n7\n', encoding="utf-8")
    (tmp_path / "newer.jsonl").write_text('{"type": "header", "schema": 2}\n', encoding="utf-8")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "binary.jsonl").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"x" * 9999)[:20])
    (tmp_path / "a*[b]?.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "note.txt").write_text("no", encoding="utf-8")
    (tmp_path / "folder.jsonl").mkdir()
    for _ in range(2):  # what is kept of them is the same the second time
        nights = open_nights(tmp_path)
        assert [each.file for each in nights.nights] == ["a.jsonl"]
        assert sorted(nights.skipped) == [
            "a*[b]?.jsonl",
            "binary.jsonl",
            "cut.jsonl.gz",
            "empty.jsonl",
            "newer.jsonl",
            "other.jsonl",
        ]
        assert nights.skipped["newer.jsonl"] == "schema 2, but this version reads schema 1"
    shown = CliRunner().invoke(main, ["history", str(tmp_path)])
    assert (shown.exit_code, shown.output.count("skipped: ")) == (0, 6)


def test_a_compressed_night_is_the_same_night(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain" / "a.jsonl", [cell("a", "violates"), cell("b")])
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    first, second = (open_nights(tmp_path / name).nights[0] for name in ("plain", "packed"))
    assert (first.counts, first.margins, first.versions) == (second.counts, second.margins, second.versions)


def test_a_night_is_read_once_and_again_when_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [cell("a")])
    open_nights(tmp_path)
    (kept,) = (tmp_path / ".cache").iterdir()
    before = kept.stat().st_mtime_ns
    open_nights(tmp_path)
    assert kept.stat().st_mtime_ns == before
    path.write_text(path.read_text(encoding="utf-8").replace('"conforms"', '"violates"'), encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert open_nights(tmp_path).nights[0].counts["violates"] == 1
    (after,) = (tmp_path / ".cache").iterdir()
    assert after != kept


@pytest.mark.parametrize("damage", ["empty", "cut", "a bit", "another file", "not a file of the engine"])
def test_a_damaged_cached_file_is_written_again(tmp_path: Path, damage: str) -> None:
    """The engine raises for some of these files, and accepts others as intact."""
    written(tmp_path / "a.jsonl", [cell("a"), cell("b", "violates")])
    before = open_nights(tmp_path)
    cells = before.query("SELECT * FROM cells")
    (kept,) = (tmp_path / ".cache").iterdir()
    content = bytearray(kept.read_bytes())
    if damage == "a bit":
        content[len(content) // 3] ^= 1
    ends = {"empty": 0, "cut": len(content) // 2}
    whole = {"another file": b"PAR1", "not a file of the engine": b"{}"}.get(damage, bytes(content))
    kept.write_bytes(whole[: ends.get(damage)])
    after = open_nights(tmp_path)
    assert (after.nights, after.query("SELECT * FROM cells")) == (before.nights, cells)
    assert [each.name for each in (tmp_path / ".cache").iterdir()] == [kept.name]
    assert kept.read_bytes() != whole[: ends.get(damage)]


def test_a_compressed_night_that_was_copied_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(written(tmp_path / "x" / "a.jsonl", [cell("a")]).read_bytes()))
    open_nights(tmp_path)
    (kept,) = (tmp_path / ".cache").iterdir()
    os.utime(path, ns=(1, 1))
    open_nights(tmp_path)
    assert list((tmp_path / ".cache").iterdir()) == [kept]


def test_the_cache_may_be_elsewhere(tmp_path: Path) -> None:
    written(tmp_path / "nights" / "a.jsonl", [cell("a")])
    done = CliRunner().invoke(main, ["history", str(tmp_path / "nights"), "--cache", str(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    assert [each.name for each in (tmp_path / "nights").iterdir()] == ["a.jsonl"]


def test_the_command_prints_text_and_json(folder: Path) -> None:
    shown = CliRunner().invoke(main, ["history", str(folder)]).output
    assert f"cpu/torch/breaks: conforms -> violates since {started(BROKEN)} (torch 2.13.0 -> 2.14.0)" in shown
    assert "cpu/torch/alternates: conforms or timed_out, 5 changes in 6 nights" in shown
    one = CliRunner().invoke(main, ["history", str(folder), "torch/breaks"]).output
    assert f"went bad: {started(BROKEN)}, conforms -> violates; last good night {started(BROKEN - 1)}" in one
    assert "  versions: torch 2.13.0 -> 2.14.0\n" in one
    whole = json.loads(CliRunner().invoke(main, ["history", str(folder), "--format", "json"]).output)
    assert {"nights", "skipped", "worsened", "flaky", "margins"} <= set(whole)
    (history,) = json.loads(
        CliRunner().invoke(main, ["history", str(folder), "torch/breaks", "--format", "json"]).output
    )
    assert history["turns"][0]["changed"] == ["torch 2.13.0 -> 2.14.0"]


def test_a_hostile_night_does_not_write_to_the_terminal(tmp_path: Path) -> None:
    nasty = "\x1b[31m\u202e<script>'; DROP"
    for night, outcome in enumerate(("conforms", "violates")):
        written(tmp_path / f"{night}.jsonl", [cell(nasty, outcome, nasty, message=nasty)], night=night)
    whole = CliRunner().invoke(main, ["history", str(tmp_path)])
    one = CliRunner().invoke(main, ["history", str(tmp_path), f"{nasty}/{nasty}"])
    assert (whole.exit_code, one.exit_code) == (0, 0)
    assert "<script>'; DROP: conforms -> violates" in whole.output
    assert all(each.isprintable() or each == "\n" for each in whole.output + one.output)


@pytest.mark.parametrize("made", ["nothing", "empty", "others", "a file"])
def test_a_folder_without_a_history_is_one_line_of_error(tmp_path: Path, made: str) -> None:
    folder = tmp_path / "nights"
    if made == "a file":
        folder.touch()
    elif made != "nothing":
        folder.mkdir()
    if made == "others":
        (folder / "a.jsonl").write_text("{}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["history", str(folder)])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert str(folder) in done.output


def test_without_the_engine_the_error_names_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    done = CliRunner().invoke(main, ["history", str(folder)])
    assert (done.exit_code, done.output) == (
        2,
        "error: a history needs DuckDB: pip install 'dense-conformance[history]'\n",
    )


def report(folder: Path, *more: str) -> tuple[int, str]:
    results = written(folder / "results.jsonl", [cell("a")])
    done = CliRunner().invoke(main, ["report", str(results), "-o", str(folder / "index.html"), *more])
    return done.exit_code, done.output


def test_the_page_shows_the_nights(folder: Path, tmp_path: Path) -> None:
    assert report(tmp_path, "--history", str(folder))[0] == 0
    assert started(BROKEN) in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_page_needs_the_engine_only_for_nights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert report(tmp_path)[0] == 0
    code, said = report(tmp_path, "--history", str(folder))
    assert (code, said) == (2, "error: a history needs DuckDB: pip install 'dense-conformance[history]'\n")


def test_a_folder_without_nights_is_one_line_of_the_page_too(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    code, said = report(tmp_path, "--history", str(tmp_path / "none"))
    assert (code, len(said.splitlines())) == (2, 1)


def test_a_compressed_night_can_be_compared_with(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.jsonl", [cell("a")])
    packed, cut = tmp_path / "a.jsonl.gz", tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    cut.write_bytes(packed.read_bytes()[:50])
    assert CliRunner().invoke(main, ["diff", str(plain), str(packed)]).output == "Nothing changed.\n"
    for broken in (cut, plain.rename(tmp_path / "b.jsonl.gz")):
        done = CliRunner().invoke(main, ["diff", str(packed), str(broken)])
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1)


@pytest.mark.integration
def test_the_benchmark_finds_its_planted_regression(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.history", str(tmp_path / "nights"), "24", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "24 nights of 10 cells" in done.stdout
    assert not (tmp_path / "nights").exists()
