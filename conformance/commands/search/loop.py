"""
The search: pass after pass of Hypothesis over the rows there are, until the time is used up.

A pass is steered towards large margins and disagreement. It ends when some cell is red in a way that neither the ledger
nor an earlier pass knows; Hypothesis then makes the row as small as it can, and the next pass looks for what else there
is. What was found is kept, and asked first by the next search; so is what came nearest to a bound.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import hypothesis
from cachetools import LRUCache
from hypothesis import HealthCheck, Phase, Verbosity, given, reject, settings, target
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Unsatisfiable

from conformance.adapters.registry import Implementation
from conformance.commands.search.oracle import Answers, Asking
from conformance.commands.search.sign import Sign, sign_of
from conformance.commands.search.strategies import Row, rows
from conformance.ledger import Behaviour
from conformance.results import FAILING, CellRecord
from conformance.table.case import Case
from conformance.table.loader import TableError

#: Rows of a pass; Hypothesis steers by margins in the second half of it.
OF_A_PASS: Final = 200
#: How long one row is made smaller, at most (seconds).
OF_SHRINKING: Final = 90.0
#: A margin beyond this is no nearer to anything.
_LARGEST: Final = 1e6
#: Rows whose answers are remembered.
REMEMBERED: Final = 1000
_FINDS: Final = "finds.json"
_NEAREST: Final = "nearest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Find:
    """
    A row in which a cell is red, as small as it was made, and the record of that cell.

    `alone` is the outcome of the same cell in a process that was asked nothing else, and None where nobody looked.
    Where it is another, `before` holds the rows that the process of the find was asked, its own among them.
    """

    row: Row
    case: Case
    record: CellRecord
    sign: Sign
    alone: str | None = None
    before: tuple[Row, ...] = ()


@dataclass(kw_only=True)
class Found:
    """
    What a search came to.

    `finds` are red under the ledger; `known` maps the id of a behaviour to how many cells showed it, and to the first
    case; `best` maps implementation and kind (`output`, `dx`, `dW`, `db`) to the largest margin that conforms, with
    its case. `asked` counts rows, `seconds` is wall time. `interrupted` is of a search that Ctrl-C ended before its
    time, `forgotten` says why the next search will not know what was found.
    """

    finds: list[Find] = field(default_factory=list)
    known: dict[str, tuple[int, str]] = field(default_factory=dict)
    best: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    asked: int = 0
    passes: int = 0
    disagreement: tuple[float, str] = (0.0, "")
    seconds: float = 0.0
    interrupted: bool = False
    forgotten: str = ""


class _OutOfTime(BaseException):
    """Ends a pass from within: no exception that Hypothesis would take for a failure."""


class _Trouble(Exception):
    """A red cell that nobody knows of; each kind has a class of its own, so that shrinking keeps to it."""


def search(
    implementations: Sequence[Implementation],
    *,
    seconds: float,
    behaviours: Sequence[Behaviour] = (),
    device: str = "cpu",
    database: Path | None = None,
    seed: int | None = None,
    most: int | None = None,
    tell: Callable[[Found, float], None] | None = None,
) -> Found:
    """
    Search for so many seconds, or until `most` rows were found, and return what was found.

    `behaviours` say what is known. `database` is the folder in which this search leaves off
    and the next begins, one within it for each set of implementations. `tell` is called after each row. Ctrl-C ends a
    search early.

    Raises:
        OSError: `database` cannot be written, as far as can be told before the search.
    """
    with Asking(implementations, device=device, behaviours=behaviours) as asking:
        folder = None if database is None else database / _key(implementations, device)
        run = Search(asking, seconds=seconds, folder=folder, tell=tell)
        return run.run(seed, most)


def _key(implementations: Sequence[Implementation], device: str) -> str:
    names = "+".join(sorted(each.name for each in implementations))
    return f"{device}-{hashlib.sha256(names.encode()).hexdigest()[:16]}"


class Search:
    """One search, of what `asking` asks."""

    def __init__(
        self,
        asking: Asking,
        *,
        seconds: float,
        folder: Path | None,
        tell: Callable[[Found, float], None] | None,
    ) -> None:
        self._asking = asking
        self._folder = folder
        self._tell = tell
        self._started = time.monotonic()
        self._end = self._started + seconds
        self._until = self._end
        self._found = Found()
        self._seen: Find | None = None
        self._waiting: dict[str, list[Row]] = {}
        self._nearest: dict[tuple[str, str], Row] = {}
        self._remembered: LRUCache[str, Answers] = LRUCache(REMEMBERED)
        self._troubles: dict[tuple[str, str, str], type[_Trouble]] = {}

    def run(self, seed: int | None, most: int | None) -> Found:
        """Ask what was found before, then search pass after pass; return what was found."""
        enough = math.inf if most is None else most
        self._waiting = {name: self._earlier(name) for name in (_FINDS, _NEAREST)}
        self._keep()
        if self._tell is not None:
            self._tell(self._found, 0.0)
        try:
            for earlier in self._waiting.values():
                while earlier and len(self._found.finds) < enough:
                    self._again(earlier[0])
                    del earlier[0]
            while time.monotonic() < self._end and len(self._found.finds) < enough:
                # The passes of one seed are none of those of the next.
                self._pass(None if seed is None else f"{seed}, {self._found.passes}")
                self._keep_or_say()
        except _OutOfTime:
            pass
        except KeyboardInterrupt:  # what was found in hours is not lost with the last question
            self._found.interrupted = True
        finally:
            self._keep_or_say()
            self._found.seconds = time.monotonic() - self._started
        return self._found

    def _pass(self, seed: str | None) -> None:
        """Search until something new is red and has been made small, or the pass is over."""
        # What failed before is asked from our own list: Hypothesis would drop what is no longer news.
        phases = [Phase.generate, Phase.target, Phase.shrink, *([Phase.reuse] if not self._found.passes else [])]
        self._found.passes += 1
        self._until = self._end
        self._seen = None
        kept = None if self._folder is None else DirectoryBasedExampleDatabase(self._folder / "examples")

        @settings(
            max_examples=OF_A_PASS,
            phases=phases,
            database=kept,
            derandomize=False,  # as it is by default where CI is set, and every pass would ask the same rows
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )
        @given(rows())
        def holds(row: Row) -> None:
            self._attempt(row)

        steered = holds if seed is None else hypothesis.seed(seed)(holds)
        try:
            steered()
        except KeyboardInterrupt:
            self._keep_what_was_seen(looked_into=False)
            raise
        except _OutOfTime:
            if self._seen is None:
                raise
        except Unsatisfiable:  # no row of this pass could be asked
            pass
        except Exception:  # what was raised says less than what was seen: a trouble, or one that comes and goes
            if self._seen is None:
                raise
        self._keep_what_was_seen(looked_into=True)

    def _keep_what_was_seen(self, *, looked_into: bool) -> None:
        """Keep the smallest row of the trouble that Hypothesis followed; what else was met on the way is met again."""
        if self._seen is not None:
            find, self._seen = self._seen, None
            # Kept before it is looked into: Ctrl-C may come in between.
            self._found.finds.append(find)
            if looked_into:
                self._found.finds[-1] = self._looked_into(find)

    def _looked_into(self, find: Find) -> Find:
        """Return a find with what becomes of it in a process of its own."""
        name = find.record.implementation
        alone = self._asking.alone(find.case, name).outcome
        return replace(find, alone=alone, before=() if alone == find.record.outcome else self._asking.before(name))

    def _attempt(self, row: Row) -> None:
        """Ask a row, tell Hypothesis how near it came, and raise where something new is red."""
        answers = self._answers(row)
        if answers is None:
            reject()
        for kind, margin in answers.margins.items():
            target(min(margin, _LARGEST), label=kind)
        target(answers.disagreement, label="disagreement")
        for find in self._news(row, answers):
            if self._seen is None:
                self._until = min(self._end, time.monotonic() + OF_SHRINKING)
            self._seen = find
            raise self._trouble(find.sign.kind)

    def _again(self, row: Row) -> None:
        """Ask a row that was found before."""
        answers = self._answers(row)
        if answers is not None:
            self._found.finds += map(self._looked_into, self._news(row, answers))

    def _answers(self, row: Row) -> Answers | None:
        """Return what came of a row; None of one that cannot be asked."""
        if time.monotonic() >= self._until:
            raise _OutOfTime
        # Hypothesis comes to one row on many ways, a third of the time.
        written = json.dumps(row, sort_keys=True)
        if (remembered := self._remembered.get(written)) is not None:
            return remembered
        try:
            answers = self._asking.ask(row)
        except TableError:
            return None
        if all(each.outcome == "not_run" for each in answers.records.values()):
            return None
        self._remembered[written] = answers
        self._found.asked += 1
        self._note(row, answers)
        if self._tell is not None:
            self._tell(self._found, (time.monotonic() - self._started) / (self._end - self._started))
        return answers

    def _news(self, row: Row, answers: Answers) -> list[Find]:
        """Return the red cells of a row that this search has not reported yet."""
        news = []
        for record in answers.records.values():
            if record.outcome not in FAILING:
                for name in record.behaviours:
                    count, first = self._found.known.get(name, (0, answers.case.id))
                    self._found.known[name] = (count + 1, first)
                continue
            find = Find(row=row, case=answers.case, record=record, sign=sign_of(answers.case, record))
            if not self._is_reported(find.sign):
                news.append(find)
        return news

    def _is_reported(self, sign: Sign) -> bool:
        return any(each.sign.explains(sign) for each in self._found.finds)

    def _note(self, row: Row, answers: Answers) -> None:
        """Take note of the largest margins that conform, and of the rows that have them."""
        for name in answers.records:
            for kind, margin in answers.margins_of(name).items():
                if margin > self._found.best.get((name, kind), (0.0, ""))[0]:
                    self._found.best[name, kind] = (margin, answers.case.id)
                    self._nearest[name, kind] = row
        if answers.disagreement > self._found.disagreement[0]:
            self._found.disagreement = (answers.disagreement, answers.case.id)
            self._nearest["", "disagreement"] = row

    def _trouble(self, kind: tuple[str, str, str]) -> _Trouble:
        if kind not in self._troubles:
            self._troubles[kind] = type("_Trouble", (_Trouble,), {})
        return self._troubles[kind](": ".join(kind))

    def _earlier(self, name: str) -> list[Row]:
        """Return the rows that earlier searches kept, those of a file that is not one of ours left alone."""
        if self._folder is None:
            return []
        try:
            kept = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [each for each in kept if isinstance(each, dict)] if isinstance(kept, list) else []

    def _keep(self) -> None:
        """
        Keep the rows found, and those nearest to a bound, for the next search; what conforms by now is dropped.

        What there was no time to ask again is kept too.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = {_FINDS: [each.row for each in self._found.finds], _NEAREST: list(self._nearest.values())}
        for name, kept_rows in kept.items():
            each_once = {json.dumps(row, sort_keys=True): row for row in [*kept_rows, *self._waiting[name]]}
            partial = self._folder / f".{name}.{os.getpid()}.part"
            try:
                partial.write_text(json.dumps(list(each_once.values()), indent=1) + "\n", encoding="utf-8")
                partial.replace(self._folder / name)
            finally:
                partial.unlink(missing_ok=True)

    def _keep_or_say(self) -> None:
        """Keep what was found; a disk that is full by now must not cost what is still to be told."""
        try:
            self._keep()
        except OSError as error:
            self._found.forgotten = f"{error.filename or self._folder}: {error.strerror}"
