"""
What is published of a night, and whether it is: one folder for each environment, its page, badges and history.

A night in which nothing was shown to be right (it was broken off, nothing ran, everything failed) is never published
over a good one: it is kept aside and said so. The rest is published, and is the night that later ones are compared with
unless something got worse in it. This module decides that and writes files; it runs no framework and talks to nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from conformance.commands.nightly.archive import (
    STARTED,
    NightlyError,
    keep_night,
    last_good,
    prune,
    read_pointer,
    thin,
    write_pointer,
)
from conformance.commands.nightly.issues import Cause, causes, issues, kept_aside
from conformance.commands.nightly.pages import write_pages
from conformance.results import ResultsError, Run, read
from conformance.results.diff.comparison import Diff, diff
from conformance.results.record import HeaderRecord
from conformance.text import printable

#: Nights kept aside; older ones are of no use to anybody.
_ASIDE: Final = 10
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Night:
    """
    What became of a night.

    `reason` is empty where it was published, and else why it was kept aside; `found` is what changed since the last
    good night, `since`, or what there is where there was none.
    """

    environment: str
    started: str
    reason: str
    since: str
    found: Diff | None
    causes: tuple[Cause, ...]

    @property
    def is_worse(self) -> bool:
        """Whether something got worse since the last good night."""
        return self.found is not None and self.found.is_worse

    def sentence(self) -> str:
        """Return what became of the night, in a line."""
        name = f"{self.environment}: the night of {self.started or 'an unknown time'}"
        if self.reason:
            return printable(f"{name} is kept aside: {self.reason}")
        if not self.since:
            failing = "some cells fail" if self.is_worse else "no cell fails"
            return printable(f"{name} is published; there was no good night before it, and {failing}")
        verdict = "worse than the last good night" if self.is_worse else "nothing got worse"
        return printable(f"{name} is published: {verdict}")


def unfit(run: Run) -> str:
    """Return why a night is not published, nothing where it is."""
    counts = run.counts
    judged = sum(counts[each] for each in ("crashed", "timed_out", "violates", "diverges", "conforms"))
    if not STARTED.fullmatch(run.header.started):
        return "its header has no time at which it started"
    if not run.complete:
        return "the run was broken off"
    if not judged:
        return "nothing ran"
    if not counts["conforms"] + counts["diverges"]:
        return "everything failed: not one cell conforms or diverges as known"
    return ""


def publish(results: Path, site: Path, *, accept: bool = False, keep: int = 300) -> Night:
    """
    Publish one night, the results file `ENVIRONMENT/results.jsonl`, into the folder `ENVIRONMENT` of `site`.

    `index.html` is the page with what changed since the last good night, `diff.md` that alone; `badges/` has a file for
    each implementation, `history/` the last `keep` nights, `aside/` those that were not fit, and `latest.json` names
    the night that is shown and the last good one. `accept` makes this night the good one, whatever got worse.

    Raises:
        NightlyError: the environment's name is not fit for a folder, or what is in the site is not what was put there.
    """
    environment = results.parent.name
    if not _ENVIRONMENT.fullmatch(environment):
        raise NightlyError(f"{results}: the folder names the environment, and {environment!r} is no name for one")
    with _draft(site / environment) as draft:
        return _publish(results, draft, environment, accept=accept, keep=keep)


@contextlib.contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Yield a copy of a folder that takes its place at the end; where something goes wrong, all stays as it is."""
    draft, old = folder.with_name(f".{folder.name}.draft"), folder.with_name(f".{folder.name}.old")
    for each in (draft, old):
        shutil.rmtree(each, ignore_errors=True)
    if folder.exists():
        shutil.copytree(folder, draft, copy_function=_link)
    else:
        draft.mkdir(parents=True)
    try:
        yield draft
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        for each in (draft, old):
            shutil.rmtree(each, ignore_errors=True)


def _link(source: str, target: str) -> None:
    """Copy a file; of a night, which is never written into again, only its name."""
    if source.endswith(".jsonl.gz"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _publish(results: Path, folder: Path, environment: str, *, accept: bool, keep: int) -> Night:
    """Publish one night into the folder of its environment."""
    pointer = read_pointer(folder)
    try:
        run = read(results)
        reason = unfit(run) or _older(run, pointer)
    except ResultsError as error:
        # What is published says nothing of the folders of the machine that did it.
        run, reason = None, str(error).replace(str(results), results.name)
    if run is None or reason:
        return _keep_aside(results, run, folder, environment, pointer, reason)
    file = keep_night(results, folder / "history", run)
    good = last_good(folder, pointer, file)
    # Without a good night, what fails is worse than nothing.
    old = Run(path="", header=HeaderRecord(), implementations=(), cells=(), footer=None) if good is None else good
    found = diff(old, run)
    night = Night(
        environment=environment,
        started=run.header.started,
        reason="",
        since="" if good is None else good.header.started,
        found=found,
        causes=tuple(causes(found, old, run, environment)),
    )
    here = {"file": file, "started": night.started, "counts": run.counts}
    baseline = pointer.get("good") if night.is_worse and not accept else here
    prune(folder / "history", keep, {file, str((baseline or here)["file"])})
    thin(folder / "history")
    write_pages(run, good, found, folder, environment)
    write_pointer(folder, {"latest": {**here, "worse": night.is_worse}, "good": baseline, "aside": None})
    return night


def _keep_aside(
    results: Path, run: Run | None, folder: Path, environment: str, pointer: Mapping[str, Any], reason: str
) -> Night:
    """Keep what there is of a night that is not published, beside what is."""
    started = "" if run is None else run.header.started
    file = ""
    if results.is_file():
        file = keep_night(results, folder / "aside", run)
        prune(folder / "aside", _ASIDE, {file})
    write_pointer(
        folder, {"latest": None, "good": None, **pointer, "aside": {"file": file, "started": started, "reason": reason}}
    )
    cause = kept_aside(environment, reason, started or "an unknown time")
    return Night(environment=environment, started=started, reason=reason, since="", found=None, causes=(cause,))


def _older(run: Run, pointer: Mapping[str, Any]) -> str:
    """Return that a newer night is published already, where one is; the same night may be published again."""
    shown = str((pointer.get("latest") or {}).get("started", ""))
    return f"a newer night is published, of {shown}" if run.header.started < shown else ""


def write_issues(nights: Sequence[Night], folder: Path) -> list[Path]:
    """Write a file for each cause of all nights, `KEY.json` with `key`, `title` and `body`, into an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = []
    for each in issues(cause for night in nights for cause in night.causes):
        path = folder / f"{each.key}.json"
        path.write_text(json.dumps(asdict(each), indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
        written.append(path)
    return written
