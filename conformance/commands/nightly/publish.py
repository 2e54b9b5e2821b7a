"""
Publishes a night: one folder for each environment, with its page, badges and history.

A night that was broken off, ran nothing or failed everywhere is set aside: it is stored but not published. Any other
night is published. If nothing got worse in it, it is the good night that later nights are compared with.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from conformance.commands.nightly.archive import (
    STARTED,
    NightAside,
    NightlyError,
    Pointer,
    PublishedNight,
    last_good,
    prune,
    read_pointer,
    store_night,
    thin,
    write_pointer,
)
from conformance.commands.nightly.issues import Cause, causes, issues, unpublished_cause
from conformance.commands.nightly.pages import write_pages
from conformance.results import ResultsError, Run, read
from conformance.results.diff.comparison import Diff, diff
from conformance.results.record import HeaderRecord
from conformance.text import printable

#: The number of nights that stay in `aside/`.
_ASIDE: Final = 10
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Night:
    """A night that was published or set aside."""

    environment: str
    started: str
    #: Why the night was set aside; empty where it was published.
    reason: str
    #: The start of the last good night; empty where there was none.
    since: str
    #: What changed since the last good night, or since nothing; None where the night was set aside.
    changes: Diff | None
    causes: tuple[Cause, ...]

    @property
    def is_worse(self) -> bool:
        """Whether something got worse since the last good night."""
        return self.changes is not None and self.changes.is_worse

    def sentence(self) -> str:
        """Return whether the night was published, and whether it is worse, in one line."""
        name = f"{self.environment}: the night of {self.started or 'an unknown time'}"
        if self.reason:
            return printable(f"{name} is set aside: {self.reason}")
        if not self.since:
            failing = "some cells fail" if self.is_worse else "no cell fails"
            return printable(f"{name} is published; there was no good night before it, and {failing}")
        verdict = "worse than the last good night" if self.is_worse else "nothing got worse"
        return printable(f"{name} is published: {verdict}")


def reason_to_set_aside(run: Run) -> str:
    """Return why a night must not be published, empty where it may."""
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


def publish(results: Path, site: Path, *, accept: bool = False, limit: int = 300) -> Night:
    """
    Publish one night, the results file `ENVIRONMENT/results.jsonl`, into the folder `ENVIRONMENT` of `site`.

    The folder has `index.html`, the page with the changes since the last good night; `diff.md`, these changes alone;
    `badges/` with a file for each implementation; `history/` with the last nights; `aside/` with nights that were set
    aside; and `latest.json`, which names the night that is shown and the last good night.

    - `results`: the results file.
    - `site`: the folder of the site.
    - `accept`: whether this night becomes the good night even if something got worse.
    - `limit`: the number of nights in `history/`.

    Raises:
        NightlyError: the environment's name cannot be that of a folder, or a file in the site was changed by others.
    """
    environment = results.parent.name
    if not _ENVIRONMENT.fullmatch(environment):
        raise NightlyError(f"{results}: the folder names the environment, and {environment!r} is no name for one")
    with _draft(site / environment) as draft:
        return _publish(results, draft, environment, accept=accept, limit=limit)


@contextlib.contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Yield a copy of a folder that replaces the folder at the end. After an error the folder is unchanged."""
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
    """Copy a file. A night is linked: it is never written into again."""
    if source.endswith(".jsonl.gz"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _publish(results: Path, folder: Path, environment: str, *, accept: bool, limit: int) -> Night:
    """Publish one night into the folder of its environment."""
    pointer = read_pointer(folder)
    try:
        run = read(results)
        reason = reason_to_set_aside(run) or _older(run, pointer)
    except ResultsError as error:
        # A published text must not name the folders of this machine.
        run, reason = None, str(error).replace(str(results), results.name)
    if run is None or reason:
        return _set_aside(results, run, folder, environment, pointer, reason)
    file = store_night(results, folder / "history", run)
    good = last_good(folder, pointer, file)
    # Without a good night, the night is compared with an empty run.
    old = Run(path="", header=HeaderRecord(), implementations=(), cells=(), footer=None) if good is None else good
    changes = diff(old, run)
    night = Night(
        environment=environment,
        started=run.header.started,
        reason="",
        since="" if good is None else good.header.started,
        changes=changes,
        causes=tuple(causes(changes, old, run, environment)),
    )
    published = PublishedNight(file=file, started=night.started, counts=run.counts)
    baseline = pointer.good if night.is_worse and not accept else published
    prune(folder / "history", limit, {file, (baseline or published).file})
    thin(folder / "history")
    write_pages(run, good, changes, folder, environment)
    write_pointer(folder, Pointer(latest=replace(published, worse=night.is_worse), good=baseline))
    return night


def _set_aside(results: Path, run: Run | None, folder: Path, environment: str, pointer: Pointer, reason: str) -> Night:
    """Store a night that is not published in `aside/`, if it has a file, and name it in the pointer."""
    started = "" if run is None else run.header.started
    file = ""
    if results.is_file():
        file = store_night(results, folder / "aside", run)
        prune(folder / "aside", _ASIDE, {file})
    write_pointer(folder, replace(pointer, aside=NightAside(file=file, started=started, reason=reason)))
    cause = unpublished_cause(environment, reason, started or "an unknown time")
    return Night(environment=environment, started=started, reason=reason, since="", changes=None, causes=(cause,))


def _older(run: Run, pointer: Pointer) -> str:
    """Return that a newer night is published, empty where none is. The same night may be published again."""
    latest = "" if pointer.latest is None else pointer.latest.started
    return f"a newer night is published, of {latest}" if run.header.started < latest else ""


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
