"""The commands `conformance nightly ...` and `make nightly`: exit codes, messages, and what they leave in a site."""

from __future__ import annotations

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
from conformance.commands.nightly.publish import publish
from tests.support.nights import BAD, DEAD, GOOD, cell, night, pointer, published, started, written
from tests.support.paths import ROOT


def command(tmp_path: Path, site: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["nightly", "publish", str(tmp_path / "nights"), "--site", str(site), *more])
    return done.exit_code, done.output


def test_publish_reports_each_night_and_exits_with_the_worst_code(tmp_path: Path, site: Path) -> None:
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
    assert f"pinned: the night of {started(2)} is set aside: everything failed" in said


@pytest.mark.parametrize("damaged", ["history/.cache/*.parquet", "history/20260101T030000Z.jsonl.gz"])
def test_damaged_files_of_the_history_make_no_night_worse(
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


def test_an_expected_environment_without_results_is_set_aside(tmp_path: Path, site: Path) -> None:
    night(tmp_path, GOOD, 0)
    code, said = command(tmp_path, site, "--expect", "pinned", "--expect", "newest")
    assert code == 3
    assert "newest: the night of an unknown time is set aside: results.jsonl: No such file" in said


@pytest.mark.parametrize("fault", ["no folder", "empty", "name", "pointer", "pointer elsewhere", "good night gone"])
def test_a_fault_of_a_site_is_one_line_of_error(tmp_path: Path, site: Path, fault: str) -> None:
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


def test_make_nightly_publishes_good_and_bad_nights_and_sets_dead_ones_aside(tmp_path: Path) -> None:
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
    assert "values beyond the bound" in json.loads(issue.read_text(encoding="utf-8"))["title"]

    before = published(site)
    dead = nights.make("raise SystemError('no driver')\n")
    assert dead.returncode != 0
    assert "is set aside" in dead.stdout
    assert published(site) == before
    assert (pointer(site)["latest"], pointer(site)["good"]) == (shown["latest"], first["good"])
    assert "is not shown" in (site / "index.html").read_text(encoding="utf-8")


def test_a_night_removes_the_results_of_the_one_before(tmp_path: Path) -> None:
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


def test_a_behaviour_that_is_gone_is_reported_and_does_not_make_a_night_worse(tmp_path: Path, site: Path) -> None:
    seen = {**cell("b", "diverges"), "behaviours": ["adds"], "covered": ["adds"]}
    publish(night(tmp_path, [cell("a"), seen], 0), site)
    done = publish(night(tmp_path, [cell("a"), {**cell("b"), "gone": GONE, "covered": ["adds"]}], 1), site)
    assert not done.is_worse
    assert "`adds (x.yaml:1)`: seen in 1 cell -> gone from 1 cell: `why`" in published(site)["diff.md"].decode()
    assert "1 behaviour gone" in published(site)["index.html"].decode()


def test_an_error_while_publishing_leaves_the_site_unchanged(
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
