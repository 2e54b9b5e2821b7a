"""
The search: pass after pass of Hypothesis over random rows, until the time is over.

A pass is steered towards large margins and disagreement. It ends when a cell fails in a way that neither the ledger nor
an earlier pass has. Hypothesis then makes the row as small as possible, and the next pass searches for other failures.
The rows of finds, and those nearest to a bound, are saved; the next search runs them first.
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
from typing import Final, cast

import hypothesis
from cachetools import LRUCache
from hypothesis import HealthCheck, Phase, Verbosity, given, reject, settings, target
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Unsatisfiable

from conformance.adapters.registry import Implementation
from conformance.commands.search.oracle import Answers, Oracle
from conformance.commands.search.sign import Sign, sign_of
from conformance.commands.search.strategies import Row, rows
from conformance.ledger import Behaviour
from conformance.results import FAILING, CellRecord
from conformance.table.case import Case
from conformance.table.loader import TableError

#: Rows of a pass. Hypothesis steers by margins in the second half.
ROWS_OF_A_PASS: Final = 200
#: The longest time in which one row is made smaller (seconds).
SHRINKING_TIME: Final = 90.0
#: The largest margin that steers a search.
_LARGEST: Final = 1e6
#: The number of rows whose answers are cached.
CACHED_ROWS: Final = 1000
_FINDS: Final = "finds.json"
_NEAREST: Final = "nearest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Find:
    """A row in which a cell fails, made small, and the record of that cell."""

    row: Row
    case: Case
    record: CellRecord
    sign: Sign
    #: The outcome of the same cell in a new process; None if it was not run there.
    isolated_outcome: str | None = None
    #: If that outcome is another: the rows that ran in the process of the find, including its own.
    preceding_rows: tuple[Row, ...] = ()


@dataclass(kw_only=True)
class SearchResult:
    """The result of a search."""

    #: New failures.
    finds: list[Find] = field(default_factory=list)
    #: Id of a behaviour -> the number of cells that need it, and the first case.
    declared: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: Implementation and kind (`output`, `dx`, `dW`, `db`) -> the largest margin that conforms, and its case.
    best: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    #: The number of rows that ran.
    row_count: int = 0
    passes: int = 0
    #: The largest difference between two implementations over the allowed error, and its case.
    disagreement: tuple[float, str] = (0.0, "")
    #: Wall time.
    seconds: float = 0.0
    #: Whether Ctrl-C ended the search.
    interrupted: bool = False
    #: Why the finds could not be saved for the next search; empty if they were.
    save_error: str = ""


class _OutOfTime(BaseException):
    """Ends a pass. It is a `BaseException`, since Hypothesis takes an `Exception` for a failure."""


class _Failure(Exception):
    """A new failure. Each kind has a class of its own, so that Hypothesis shrinks one kind at a time."""


def search(
    implementations: Sequence[Implementation],
    *,
    seconds: float,
    behaviours: Sequence[Behaviour] = (),
    device: str = "cpu",
    database: Path | None = None,
    seed: int | None = None,
    most: int | None = None,
    report_progress: Callable[[SearchResult, float], None] | None = None,
) -> SearchResult:
    """
    Search for new failures.

    - `implementations`: the implementations to search.
    - `seconds`: the wall time of the search. Ctrl-C ends it early.
    - `behaviours`: the declared behaviours, which are no failures.
    - `device`: the device, as `cpu`.
    - `database`: the folder of saved rows; it has a folder for each set of implementations. None saves nothing.
    - `seed`: makes a search repeatable.
    - `most`: ends the search after this many finds.
    - `report_progress`: is called after each row with the result and the part of the time that is over.

    Raises:
        OSError: `database` cannot be written at the start of the search.
    """
    with Oracle(implementations, device=device, behaviours=behaviours) as oracle:
        folder = None if database is None else database / _folder_name(implementations, device)
        run = Search(oracle, seconds=seconds, folder=folder, report_progress=report_progress)
        return run.run(seed, most)


def _folder_name(implementations: Sequence[Implementation], device: str) -> str:
    names = "+".join(sorted(each.name for each in implementations))
    return f"{device}-{hashlib.sha256(names.encode()).hexdigest()[:16]}"


class Search:
    """One search with an oracle."""

    def __init__(
        self,
        oracle: Oracle,
        *,
        seconds: float,
        folder: Path | None,
        report_progress: Callable[[SearchResult, float], None] | None,
    ) -> None:
        self._oracle = oracle
        self._folder = folder
        self._report_progress = report_progress
        self._started = time.monotonic()
        self._end = self._started + seconds
        self._until = self._end
        self._result = SearchResult()
        self._find: Find | None = None
        self._pending: dict[str, list[Row]] = {}
        self._nearest: dict[tuple[str, str], Row] = {}
        self._cache: LRUCache[str, Answers] = LRUCache(CACHED_ROWS)
        self._failure_classes: dict[tuple[str, str, str], type[_Failure]] = {}

    def run(self, seed: int | None, most: int | None) -> SearchResult:
        """Run the saved rows, then search pass after pass; return the result."""
        enough = math.inf if most is None else most
        self._pending = {name: self._load_rows(name) for name in (_FINDS, _NEAREST)}
        self._save()
        if self._report_progress is not None:
            self._report_progress(self._result, 0.0)
        try:
            for earlier in self._pending.values():
                while earlier and len(self._result.finds) < enough:
                    self._retry(earlier[0])
                    del earlier[0]
            while time.monotonic() < self._end and len(self._result.finds) < enough:
                # Distinct seeds must have distinct passes, so `seed + passes` would not do.
                self._pass(None if seed is None else f"{seed}, {self._result.passes}")
                self._save_or_note_error()
        except _OutOfTime:
            pass
        except KeyboardInterrupt:  # the finds of hours must not be lost
            self._result.interrupted = True
        finally:
            self._save_or_note_error()
            self._result.seconds = time.monotonic() - self._started
        return self._result

    def _pass(self, seed: str | None) -> None:
        """Search until a new failure was found and made small, or the pass is over."""
        # Only the first pass uses the examples of Hypothesis; failures of earlier searches are in our own list.
        phases = [Phase.generate, Phase.target, Phase.shrink, *([Phase.reuse] if not self._result.passes else [])]
        self._result.passes += 1
        self._until = self._end
        self._find = None
        examples = None if self._folder is None else DirectoryBasedExampleDatabase(self._folder / "examples")

        @settings(
            max_examples=ROWS_OF_A_PASS,
            phases=phases,
            database=examples,
            derandomize=False,  # it is True where CI is set, and then every pass would have the same rows
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )
        @given(rows())
        def test_row(row: Row) -> None:
            self._test_row(row)

        steered = test_row if seed is None else hypothesis.seed(seed)(test_row)
        try:
            steered()
        except KeyboardInterrupt:
            self._record_find(is_isolated=False)
            raise
        except _OutOfTime:
            if self._find is None:
                raise
        except Unsatisfiable:  # no row of this pass could run
            pass
        except Exception:  # a `_Failure`, or the error of Hypothesis about a failure that comes and goes
            if self._find is None:
                raise
        self._record_find(is_isolated=True)

    def _record_find(self, *, is_isolated: bool) -> None:
        """Add the smallest row of the failure that Hypothesis followed to the result."""
        if self._find is not None:
            find, self._find = self._find, None
            # Added before it runs in a new process, since Ctrl-C may come in between.
            self._result.finds.append(find)
            if is_isolated:
                self._result.finds[-1] = self._isolated(find)

    def _isolated(self, find: Find) -> Find:
        """Return a find with its outcome in a new process."""
        name = find.record.implementation
        outcome = self._oracle.run_isolated(find.case, name).outcome
        preceding = () if outcome == find.record.outcome else self._oracle.preceding_rows(name)
        return replace(find, isolated_outcome=outcome, preceding_rows=preceding)

    def _test_row(self, row: Row) -> None:
        """Run a row and report its margins to Hypothesis; raises `_Failure` for a new failure."""
        answers = self._answers(row)
        if answers is None:
            reject()
        for kind, margin in answers.margins.items():
            target(min(margin, _LARGEST), label=kind)
        target(answers.disagreement, label="disagreement")
        for find in self._new_finds(row, answers):
            if self._find is None:
                self._until = min(self._end, time.monotonic() + SHRINKING_TIME)
            self._find = find
            raise self._failure_class(find.sign.kind)

    def _retry(self, row: Row) -> None:
        """Run a row of an earlier search."""
        answers = self._answers(row)
        if answers is not None:
            self._result.finds += map(self._isolated, self._new_finds(row, answers))

    def _answers(self, row: Row) -> Answers | None:
        """Return the answers to a row; None for a row that cannot run."""
        if time.monotonic() >= self._until:
            raise _OutOfTime
        # A third of the rows of Hypothesis are repetitions.
        key = json.dumps(row, sort_keys=True)
        if (cached := self._cache.get(key)) is not None:
            return cached
        try:
            answers = self._oracle.answers(row)
        except TableError:
            return None
        if all(each.outcome == "not_run" for each in answers.records.values()):
            return None
        self._cache[key] = answers
        self._result.row_count += 1
        self._record_margins(row, answers)
        if self._report_progress is not None:
            self._report_progress(self._result, (time.monotonic() - self._started) / (self._end - self._started))
        return answers

    def _new_finds(self, row: Row, answers: Answers) -> list[Find]:
        """Return the failing cells of a row that this search has not found yet."""
        finds = []
        for record in answers.records.values():
            if record.outcome not in FAILING:
                for name in record.behaviours:
                    count, first = self._result.declared.get(name, (0, answers.case.id))
                    self._result.declared[name] = (count + 1, first)
                continue
            find = Find(row=row, case=answers.case, record=record, sign=sign_of(answers.case, record))
            if not self._is_reported(find.sign):
                finds.append(find)
        return finds

    def _is_reported(self, sign: Sign) -> bool:
        return any(each.sign.explains(sign) for each in self._result.finds)

    def _record_margins(self, row: Row, answers: Answers) -> None:
        """Record the largest margins that conform, and their rows."""
        for name in answers.records:
            for kind, margin in answers.margins_of(name).items():
                if margin > self._result.best.get((name, kind), (0.0, ""))[0]:
                    self._result.best[name, kind] = (margin, answers.case.id)
                    self._nearest[name, kind] = row
        if answers.disagreement > self._result.disagreement[0]:
            self._result.disagreement = (answers.disagreement, answers.case.id)
            self._nearest["", "disagreement"] = row

    def _failure_class(self, kind: tuple[str, str, str]) -> _Failure:
        if kind not in self._failure_classes:
            self._failure_classes[kind] = type("_Failure", (_Failure,), {})
        return self._failure_classes[kind](": ".join(kind))

    def _load_rows(self, name: str) -> list[Row]:
        """Return the rows that earlier searches saved; none if the file is missing or has another form."""
        if self._folder is None:
            return []
        try:
            saved = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        rows_saved = [each for each in saved if isinstance(each, dict)] if isinstance(saved, list) else []
        return cast(list[Row], rows_saved)  # the loader checks the fields of each

    def _save(self) -> None:
        """
        Save the rows of finds, and those nearest to a bound, for the next search.

        Rows of earlier searches that did not run yet are saved too. Those that conform now are dropped.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        saved = {_FINDS: [each.row for each in self._result.finds], _NEAREST: list(self._nearest.values())}
        for name, rows_to_save in saved.items():
            distinct = {json.dumps(row, sort_keys=True): row for row in [*rows_to_save, *self._pending[name]]}
            partial = self._folder / f".{name}.{os.getpid()}.part"
            try:
                partial.write_text(json.dumps(list(distinct.values()), indent=1) + "\n", encoding="utf-8")
                partial.replace(self._folder / name)
            finally:
                partial.unlink(missing_ok=True)

    def _save_or_note_error(self) -> None:
        """Save the rows. An error is only noted, since the result must still be printed."""
        try:
            self._save()
        except OSError as error:
            self._result.save_error = f"{error.filename or self._folder}: {error.strerror}"
