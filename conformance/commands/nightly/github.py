"""
Opens and updates issues on GitHub, one for each cause, through `gh`, the command that has the credentials.

An issue is known again by the mark at the head of its body and by a label, which only those who may triage can set; one
that somebody closed is left closed, and the same cause opens a new one. This module decides nothing: what an issue says
is written before.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from conformance.commands.nightly.issues import Issue, mark

LABEL: Final = "nightly"
_MARK: Final = re.compile(re.escape(mark("KEY")).replace("KEY", "([0-9a-f]{12})"))


class TrackerError(ValueError):
    """Issues cannot be read or opened; says why in a line."""


def read_issues(folder: Path) -> list[Issue]:
    """Return the issues that `conformance.commands.nightly.publish.write_issues` wrote."""
    try:
        return [Issue(**json.loads(each.read_text(encoding="utf-8"))) for each in sorted(folder.glob("*.json"))]
    except (OSError, ValueError, TypeError) as error:
        raise TrackerError(f"{folder}: no issues of a night: {error}") from None


def open_or_update(wanted: Sequence[Issue], *, command: str = "gh") -> Iterator[str]:
    """
    Open an issue for each cause that has no open one, and rewrite those that say something else; yield what was done.

    Raises:
        TrackerError: the command is missing or fails.
    """
    if not wanted:
        return
    _call(command, "label", "create", LABEL, "--force", "--description", "Found by the nightly run")
    known = _known(command)
    for each in wanted:
        there = known.get(each.key)
        if there is None:
            said = _call(command, "issue", "create", "--title", each.title, "--label", LABEL, text=each.body)
            yield f"opened {said.strip()}: {each.title}"
        elif (there["title"], _ends(there["body"])) != (each.title, _ends(each.body)):
            _call(command, "issue", "edit", str(there["number"]), "--title", each.title, text=each.body)
            yield f"updated #{there['number']}: {each.title}"
        else:
            yield f"unchanged #{there['number']}: {each.title}"


def _known(command: str) -> dict[str, dict[str, Any]]:
    """Return the open issue of each cause; of several for one, the oldest."""
    asked = ("--state", "open", "--label", LABEL, "--limit", "1000", "--json", "number,title,body")
    answer = json.loads(_call(command, "issue", "list", *asked) or "[]")
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(answer, key=lambda issue: int(issue["number"]), reverse=True):
        if marked := _MARK.match(each["body"]):
            found[marked.group(1)] = each
    return found


def _ends(body: str) -> str:
    """Return a body without what a tracker changes of it: the ends of lines, and spaces at the end."""
    return body.replace("\r\n", "\n").rstrip()


def _call(command: str, *arguments: str, text: str | None = None) -> str:
    body = () if text is None else ("--body-file", "-")
    try:
        done = subprocess.run([command, *arguments, *body], input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise TrackerError(f"{command}: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise TrackerError(f"{command} {' '.join(arguments[:2])}: {said[0]}")
    return done.stdout
