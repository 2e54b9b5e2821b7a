"""The issues of a night: one for each cause, opened and updated once."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.commands.nightly.github import TrackerError, open_or_update, read_issues
from conformance.commands.nightly.issues import Cause, Issue, causes, issues, mark, pattern
from conformance.results import read
from conformance.results.diff.comparison import diff
from tests.support.nights import cell, started, written

OFF = "output[{}] = 0.5, expected 0.25 (|difference| 2.5e-01 > allowed 1.2e-07); {} of 80 elements are off"


def found(
    tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], environment: str = "pinned"
) -> list[Cause]:
    before, after = (
        read(written(tmp_path / f"{night}.jsonl", cells, night=night, versions={"torch": version}))
        for night, (cells, version) in enumerate(((old, "2.13.0"), (new, "2.14.0")))
    )
    return causes(diff(before, after), before, after, environment)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OFF.format("6, 63", 496), OFF.format("0", 1)),
        (OFF.format("1", 2), OFF.format("2", 2).replace("output", "gradients: db of layer 0")),
        ("division by 3 in /tmp/a/b.py line 7", "division by 44 in /var/c d/e/f.py line 900"),
        ("at 0x7f00aa", "at 0x1234"),
        ("shape (2, 3, 4) is not (2, 3)", "shape (7, 1) is not (1, 1, 1, 2)"),
        ("a\nb", "a\nc"),
        ("-1.5e-07 nan", "+3 nan"),
    ],
)
def test_messages_of_one_cause_have_one_pattern(one: str, other: str) -> None:
    assert pattern(one.replace("c d/", "")) == pattern(other.replace("c d/", ""))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("build raised ZeroDivisionError", "build raised ValueError"),
        ("int32 is not float32", "int32 is not float64"),
        ("no evidence: step output", OFF.format("1", 2)),
        ("conv1 refused", "conv2 refused"),
    ],
)
def test_messages_of_two_causes_have_two(one: str, other: str) -> None:
    assert pattern(one) != pattern(other)


def test_worse_cells_are_grouped_by_cause(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "e", "f", "kept", "lost")
    old = [cell(each) for each in names] + [cell("a", implementation="torch:compile"), cell("a", implementation="jax")]
    new = [
        cell("a", "violates", message=OFF.format("1", 2)),
        cell("b", "violates", message=OFF.format("3, 4", 7)),
        cell("c", "violates", message="build raised ValueError: no"),
        cell("d", "violates", message=OFF.format("1", 2), check="gradients"),
        cell("e", "crashed", crash={"step": "sample 3 alone", "reason": "signal 6"}, checks=[]),
        cell("f", "not_run", reason="not installed: torch"),
        cell("kept"),
        cell("new", "violates", message=OFF.format("1", 2)),
        cell("a", "violates", "torch:compile", message=OFF.format("9", 9)),
        cell("a", "violates", "jax", message=OFF.format("1", 2)),
    ]
    told = found(tmp_path, old, new)
    assert [(each.framework, each.check, each.pattern, len(each.cells)) for each in told] == [
        ("torch", "output", "values beyond the bound", 4),
        ("jax", "output", "values beyond the bound", 1),
        ("torch", "crashed in sample # alone", "signal #", 1),
        ("torch", "gradients", "values beyond the bound", 1),
        ("torch", "lost", "no longer run, though the row is there", 1),
        ("torch", "not_run", "not installed: torch", 1),
        ("torch", "output", "build raised ValueError: no", 1),
    ]
    assert {each.versions for each in told} == {("torch 2.13.0 -> 2.14.0",)}
    assert len({each.key for each in told}) == len(told)


def test_a_cause_has_the_same_key_on_another_night_and_with_another_version(tmp_path: Path) -> None:
    bad = [cell("b", "violates", message=OFF.format("1", 2))]
    (first,) = found(tmp_path, [cell("b")], bad)
    (second,) = found(tmp_path, [cell("b"), cell("c")], [*bad, cell("c", "violates", message=OFF.format("8, 8", 1))])
    assert first.key == second.key
    assert first.key != replace(first, check="gradients").key


def test_a_night_in_which_nothing_got_worse_has_no_issue(tmp_path: Path) -> None:
    assert found(tmp_path, [cell("a"), cell("b", "violates")], [cell("a"), cell("b", "violates")]) == []


def test_an_issue_names_cause_night_and_versions_of_every_environment(tmp_path: Path) -> None:
    many = [f"c{index:02d}" for index in range(14)]
    bad = [cell(each, "violates", message=OFF.format("1", 2), reproduce="print('```')\n") for each in many]
    (one,) = found(tmp_path, [cell(each) for each in many], bad)
    (issue,) = issues([one, replace(one, environment="newest")])
    assert issue == issues([replace(one, environment="newest"), one])[0]
    assert issue.title == "torch: output: values beyond the bound"
    assert issue.body.startswith(mark(one.key) + "\n")
    assert issue.body.index("### newest") < issue.body.index("### pinned")
    for each in (
        f"Night of `{started(1)}`; last good night `{started(0)}`.",
        "- Versions that changed: `torch 2.13.0 -> 2.14.0`",
        "- Cells: 14",
        "  - `cpu/torch/c00`: conforms -> violates: `output[1] = 0.5, expected 0.25",
        "  - and 4 more",
        "````python\nprint('```')\n````",
    ):
        assert each in issue.body


def test_a_message_of_a_framework_is_escaped_in_the_issue(tmp_path: Path) -> None:
    nasty = "`@all` --> <script> \x1b[1m \u202e" + "x" * 300
    (one,) = found(tmp_path, [cell("a")], [cell("a", "violates", message=nasty, reproduce=nasty)])
    (issue,) = issues([one])
    assert issue.body.count("<!--") == 1
    assert all(each.isprintable() or each == "\n" for each in issue.title + issue.body)
    assert "`@all`" not in issue.body.split("```python")[0]
    assert len(issue.title) <= 120
    assert "\n" not in issue.title


#: A stand-in for `gh` that keeps its issues in a file and does what it is told.
GH = """
import json, pathlib, sys
store = pathlib.Path(__file__).with_suffix(".json")
held = json.loads(store.read_text()) if store.exists() else []
log = pathlib.Path(__file__).with_suffix(".log")
log.write_text((log.read_text() if log.exists() else "") + " ".join(sys.argv[1:3]) + "\\n")
def option(name): return sys.argv[sys.argv.index(name) + 1]
if sys.argv[1:3] == ["issue", "list"]:
    print(json.dumps([each for each in held if each["open"] and option("--label") == "nightly"]))
elif sys.argv[1:3] == ["issue", "create"]:
    held.append({"number": len(held) + 1, "title": option("--title"), "body": sys.stdin.read(), "open": True})
    print(f"https://tracker.test/{len(held)}")
elif sys.argv[1:3] == ["issue", "edit"]:
    held[int(sys.argv[3]) - 1].update(title=option("--title"), body=sys.stdin.read().replace("\\n", "\\r\\n"))
elif sys.argv[1:3] != ["label", "create"]:
    sys.exit("unknown command")
store.write_text(json.dumps(held))
"""


@pytest.fixture
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `gh` on the path; return where it keeps its issues."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gh").write_text(f"#!{sys.executable}\n{GH}", encoding="utf-8")
    (folder / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "gh.json"


def issue(key: str, text: str = "text") -> Issue:
    return Issue(key=key * 12, title=f"title of {key}", body=f"{mark(key * 12)}\n{text}\n")


def test_each_cause_has_one_issue_however_often_it_occurs(tracker: Path) -> None:
    assert list(open_or_update([issue("a"), issue("b")])) == [
        "opened https://tracker.test/1: title of a",
        "opened https://tracker.test/2: title of b",
    ]
    assert list(open_or_update([issue("a", "more"), issue("b")])) == [
        "updated #1: title of a",
        "unchanged #2: title of b",
    ]
    assert list(open_or_update([issue("a", "more")])) == ["unchanged #1: title of a"]
    held = json.loads(tracker.read_text(encoding="utf-8"))
    assert [each["body"].replace("\r\n", "\n") for each in held] == [issue("a", "more").body, issue("b").body]


def test_an_issue_that_was_closed_stays_closed(tracker: Path) -> None:
    list(open_or_update([issue("a")]))
    held = json.loads(tracker.read_text(encoding="utf-8"))
    tracker.write_text(json.dumps([{**each, "open": False} for each in held]), encoding="utf-8")
    assert list(open_or_update([issue("a")])) == ["opened https://tracker.test/2: title of a"]


def test_a_mark_in_the_middle_of_a_body_is_ignored(tracker: Path) -> None:
    tracker.write_text(json.dumps([{"number": 1, "title": "t", "body": f"see {mark('a' * 12)}", "open": True}]))
    assert list(open_or_update([issue("a")])) == ["opened https://tracker.test/2: title of a"]


def test_without_issues_gh_is_not_called(tmp_path: Path) -> None:
    assert list(open_or_update([], command=str(tmp_path / "absent"))) == []


def test_a_failure_of_gh_is_one_line(tmp_path: Path, tracker: Path) -> None:
    with pytest.raises(TrackerError, match="No such file"):
        list(open_or_update([issue("a")], command=str(tmp_path / "absent")))
    (tracker.parent / "gh").write_text("#!/bin/sh\necho 'no token' >&2\nexit 4\n", encoding="utf-8")
    (tmp_path / "issues").mkdir()
    (tmp_path / "issues" / "a.json").write_text(json.dumps({"key": "a" * 12, "title": "t", "body": "b"}))
    done = CliRunner().invoke(main, ["nightly", "issues", str(tmp_path / "issues")])
    assert (done.exit_code, done.output) == (2, "error: gh label create: no token\n")
    (tmp_path / "issues" / "b.json").write_text("[]")
    with pytest.raises(TrackerError, match="no issues of a night"):
        read_issues(tmp_path / "issues")
