"""
What is published of a night, and whether it is: one folder for each environment, its page, badges and history.

A night in which nothing was shown to be right (it was broken off, nothing ran, everything failed) is never published
over a good one: it is kept aside and said so. The rest is published, and is the night that later ones are compared with
unless something got worse in it. This module decides that and writes files; it runs no framework and talks to nobody.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from conformance.commands import badge
from conformance.commands.nightly.issues import Cause, causes, issues, kept_aside
from conformance.report import write
from conformance.results import ResultsError, Run, header_of, read
from conformance.results.diff.compare import Diff, diff
from conformance.results.diff.text import as_json, as_markdown
from conformance.results.history.queries import summary
from conformance.text import printable

#: The file that says which night is shown, which is the last good one, and which was kept aside.
POINTER: Final = "latest.json"
#: The last nights that are kept with all they said. Older ones would soon be more than a host of pages takes.
WHOLE: Final = 14
#: What is kept of a cell of an older night, beside its question's dtype and its checks.
_KEPT: Final = (
    *("case", "implementation", "device", "outcome", "reason", "row", "seconds"),
    *("covered", "behaviours", "gone", "powerless"),
)
#: Nights kept aside; older ones are of no use to anybody.
_ASIDE: Final = 10
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STARTED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class NightlyError(ValueError):
    """What was asked for cannot be published at all; says why in a line."""


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
    if not _STARTED.fullmatch(str(run.header.get("started", ""))):
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
    pointer = _pointer(folder)
    try:
        run = read(results)
        reason = unfit(run) or _older(run, pointer)
    except ResultsError as error:
        # What is published says nothing of the folders of the machine that did it.
        run, reason = None, str(error).replace(str(results), results.name)
    if run is None or reason:
        return _keep_aside(results, run, folder, environment, pointer, reason)
    file = _keep(results, folder / "history", run)
    good = _good(folder, pointer, file)
    # Without a good night, what fails is worse than nothing.
    old = Run(path="", header={}, implementations=(), cells=(), footer=None) if good is None else good
    found = diff(old, run)
    night = Night(
        environment=environment,
        started=str(run.header["started"]),
        reason="",
        since="" if good is None else str(good.header.get("started", "")),
        found=found,
        causes=tuple(causes(found, old, run, environment)),
    )
    here = {"file": file, "started": night.started, "counts": run.counts}
    baseline = pointer.get("good") if night.is_worse and not accept else here
    _prune(folder / "history", keep, {file, str((baseline or here)["file"])})
    _thin(folder / "history")
    _show(run, good, found, folder, environment)
    _point(folder, {"latest": {**here, "worse": night.is_worse}, "good": baseline, "aside": None})
    return night


def _keep_aside(
    results: Path, run: Run | None, folder: Path, environment: str, pointer: Mapping[str, Any], reason: str
) -> Night:
    """Keep what there is of a night that is not published, beside what is."""
    started = "" if run is None else str(run.header.get("started", ""))
    file = ""
    if results.is_file():
        file = _keep(results, folder / "aside", run)
        _prune(folder / "aside", _ASIDE, {file})
    _point(
        folder, {"latest": None, "good": None, **pointer, "aside": {"file": file, "started": started, "reason": reason}}
    )
    cause = kept_aside(environment, reason, started or "an unknown time")
    return Night(environment=environment, started=started, reason=reason, since="", found=None, causes=(cause,))


def _older(run: Run, pointer: Mapping[str, Any]) -> str:
    """Return that a newer night is published already, where one is; the same night may be published again."""
    shown = str((pointer.get("latest") or {}).get("started", ""))
    return f"a newer night is published, of {shown}" if str(run.header["started"]) < shown else ""


def _keep(results: Path, folder: Path, run: Run | None) -> str:
    """Write a results file compressed, the same bytes for the same file; return its path below the environment."""
    started = "" if run is None else str(run.header.get("started", ""))
    name = re.sub(r"[^0-9TZ]", "", started) if _STARTED.fullmatch(started) else "unknown"
    target = folder / f"{name}.jsonl.gz"
    folder.mkdir(parents=True, exist_ok=True)
    _pack(results.read_bytes(), target)
    return f"{folder.name}/{target.name}"


def _prune(folder: Path, keep: int, needed: set[str]) -> None:
    """Remove the oldest nights beyond `keep`; their names are when they began."""
    files = sorted(folder.glob("*.jsonl.gz"))
    for each in files[: max(0, len(files) - keep)]:
        if f"{folder.name}/{each.name}" not in needed:
            each.unlink()


def _thin(folder: Path) -> None:
    """
    Take what only a page shows out of all but the last nights: evidence, values, scripts.

    What is left, a tenth, is a results file still, with all that a diff or a history asks of it. A night that cannot be
    read stays as it is: a history says so.
    """
    for path in sorted(folder.glob("*.jsonl.gz"))[:-WHOLE]:
        with contextlib.suppress(ResultsError):
            if header_of(path).get("thinned"):
                continue
            run = read(path)
            records = (run.header, *run.implementations, *run.cells, *([run.footer] if run.footer else []))
            _pack("".join(f"{json.dumps(_thinned(each), ensure_ascii=False)}\n" for each in records).encode(), path)


def _thinned(record: Mapping[str, Any]) -> dict[str, Any]:
    if record["type"] == "header":
        return {**record, "thinned": True}
    if record["type"] != "cell":
        return dict(record)
    kept = {key: record[key] for key in ("type", *_KEPT) if key in record}
    # Of what is said, what says why a cell is not well.
    said = (
        ("check", "outcome", "margin") if record["outcome"] == "conforms" else ("check", "outcome", "margin", "message")
    )
    checks = [{key: check[key] for key in said if key in check} for check in record["checks"]]
    return {**kept, "question": {"dtype": (record.get("question") or {}).get("dtype")}, "checks": checks}


def _pack(content: bytes, target: Path) -> None:
    """Write a compressed file, whole or not at all, and the same bytes for the same content."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(gzip.compress(content, mtime=0))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _good(folder: Path, pointer: Mapping[str, Any], file: str) -> Run | None:
    """Return the last good night before this one, if there is one."""
    good = pointer.get("good")
    if not good or good["file"] == file:
        return None
    try:
        return read(folder / str(good["file"]))
    except ResultsError as error:
        raise NightlyError(f"the last good night cannot be read: {error}") from None


def _pointer(folder: Path) -> dict[str, Any]:
    path = folder / POINTER
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = [found[key] for key in ("latest", "good") if found[key] is not None]
        files = [str(each["file"]) for each in known if isinstance(each["started"], str)]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NightlyError(f"{path}: not what was published: {error!r}") from None
    if not all(re.fullmatch(r"history/[0-9TZ]+\.jsonl\.gz", each) for each in files):
        raise NightlyError(f"{path}: not what was published: names a file outside of history/")
    return dict(found)


def _point(folder: Path, content: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / POINTER).write_text(text, encoding="utf-8", newline="\n")


def _show(run: Run, good: Run | None, found: Diff, folder: Path, environment: str) -> None:
    """Write the page, the diff and the badges."""
    changes: dict[str, Any] | None = None
    text = "There was no good night to compare with."
    if good is not None:
        since = f"the last good night, {good.header.get('started', 'of an unknown time')}"
        changes = {**json.loads(as_json(found)), "since": since}
        text = as_markdown(found)
    (folder / "diff.md").write_text(f"{text}\n", encoding="utf-8", newline="\n")
    # A page says where its results are, which is no path of the machine that wrote it.
    shown = replace(run, path=f"{environment}/results.jsonl")
    write([shown], folder / "index.html", changes=changes, history=summary(folder / "history"))
    shutil.rmtree(folder / "badges", ignore_errors=True)
    for _ in badge.write(run, folder / "badges"):
        pass


def cover(site: Path) -> None:
    """
    Write the page that leads to those of every environment, and the one that shows their last nights beside each other.

    The pages are `index.html` and `beside.html` of the site. Nothing is read but what was published.
    """
    shown: list[dict[str, Any]] = []
    runs: list[Run] = []
    for folder in sorted(each for each in site.iterdir() if (each / POINTER).is_file()):
        pointer = _pointer(folder)
        shown.append({"name": folder.name, **pointer})
        if latest := pointer["latest"]:
            run = read(folder / str(latest["file"]))
            runs.append(replace(run, path=folder.name))
    beside = site / "beside.html"
    if len(runs) > 1:
        write(runs, beside)
    else:
        beside.unlink(missing_ok=True)
    template = _templates().get_template("cover.html.jinja")
    page = template.render(environments=shown, beside=len(runs) > 1)
    (site / "index.html").write_text(page, encoding="utf-8", newline="\n")
    # Pages of GitHub leave out what begins with a dot unless told not to build anything.
    (site / ".nojekyll").touch()


def _templates() -> Environment:
    loader = PackageLoader("conformance.commands.nightly", ".")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters["plain"] = lambda content: printable(str(content))
    return found


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
