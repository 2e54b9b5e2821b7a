"""
Opens and updates issues on GitHub, one for each cause, with the command `gh`, which has the credentials.

The mark at the head of its body and a label identify the issue of a cause. Only people with the right to triage can set
the label. A closed issue stays closed; the same cause then opens a new one.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from conformance.commands.nightly.issues import Issue, mark

LABEL: Final = "nightly"
_MARK: Final = re.compile(re.escape(mark("KEY")).replace("KEY", "([0-9a-f]{12})"))


class TrackerError(ValueError):
    """Issues that cannot be read or opened. The message gives the reason in one line."""


def read_issues(folder: Path) -> list[Issue]:
    """Return the issues that `conformance.commands.nightly.publish.write_issues` wrote."""
    try:
        return [Issue(**json.loads(each.read_text(encoding="utf-8"))) for each in sorted(folder.glob("*.json"))]
    except (OSError, ValueError, TypeError) as error:
        raise TrackerError(f"{folder}: no issues of a night: {error}") from None


class OpenIssue(msgspec.Struct):
    """An open issue as `gh issue list` prints it."""

    number: int
    title: str
    body: str


def open_or_update(issues: Sequence[Issue], *, command: str = "gh") -> Iterator[str]:
    """
    Open an issue for each cause without an open one, and update those with another text; yield a line for each.

    Raises:
        TrackerError: the command is missing or fails.
    """
    if not issues:
        return
    _call(command, "label", "create", LABEL, "--force", "--description", "Found by the nightly run")
    current = _open_issues(command)
    for each in issues:
        issue = current.get(each.key)
        if issue is None:
            address = _call(command, "issue", "create", "--title", each.title, "--label", LABEL, text=each.body)
            yield f"opened {address.strip()}: {each.title}"
        elif (issue.title, _normalize(issue.body)) != (each.title, _normalize(each.body)):
            _call(command, "issue", "edit", str(issue.number), "--title", each.title, text=each.body)
            yield f"updated #{issue.number}: {each.title}"
        else:
            yield f"unchanged #{issue.number}: {each.title}"


def _open_issues(command: str) -> dict[str, OpenIssue]:
    """Return the open issue of each cause by key; the oldest if there are several."""
    arguments = ("--state", "open", "--label", LABEL, "--limit", "1000", "--json", "number,title,body")
    output = _call(command, "issue", "list", *arguments) or "[]"
    listed = msgspec.json.decode(output, type=list[OpenIssue])
    issues: dict[str, OpenIssue] = {}
    for each in sorted(listed, key=lambda issue: issue.number, reverse=True):
        if match := _MARK.match(each.body):
            issues[match.group(1)] = each
    return issues


def _normalize(body: str) -> str:
    """Return a body with plain ends of lines and no spaces at the end: GitHub changes both."""
    return body.replace("\r\n", "\n").rstrip()


def _call(command: str, *arguments: str, text: str | None = None) -> str:
    body = () if text is None else ("--body-file", "-")
    try:
        done = subprocess.run([command, *arguments, *body], input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise TrackerError(f"{command}: {error.strerror}") from None
    if done.returncode:
        errors = done.stderr.strip().splitlines() or ["no reason given"]
        raise TrackerError(f"{command} {' '.join(arguments[:2])}: {errors[0]}")
    return done.stdout
