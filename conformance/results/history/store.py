"""
A folder of results files, thousands of nights, as columns that an embedded engine can search.

Every file is read once by the engine, DuckDB, and kept as a Parquet file of the columns a history is asked for; after
that only new files are read. This module knows how nights are kept and nothing of what is asked of them; it reads no
record itself, since a loop over tens of millions of lines would take hours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conformance.results import NO_RESULTS, OUTCOMES, SCHEMA, ResultsError

if TYPE_CHECKING:
    import duckdb

#: Ends of the names of files that are looked at; the engine unpacks the last two itself.
ENDS: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst")
#: Goes into the name of every kept file: raise it when the columns change, and all are made anew.
_LAYOUT: Final = "1"
#: A line longer than this is no record: a cell carries at most some megabytes of stderr.
_LONGEST_LINE: Final = 256 * 2**20
#: Bytes at either end of a compressed file that tell it from another; its own checksum is among the last.
_TELLING: Final = 2**16

#: What is read of a line; numbers as text where a results file may hold `inf` as a string.
_COLUMNS: Final = """{
    type: 'VARCHAR', schema: 'VARCHAR', started: 'VARCHAR', cells: 'VARCHAR', distributions: 'JSON',
    complete: 'VARCHAR', "case": 'VARCHAR', implementation: 'VARCHAR', device: 'VARCHAR', outcome: 'VARCHAR',
    reason: 'VARCHAR', question: 'STRUCT(dtype VARCHAR)', versions: 'JSON',
    checks: 'STRUCT("check" VARCHAR, outcome VARCHAR, margin VARCHAR, message VARCHAR)[]'}"""

_READ: Final = f"""
CREATE OR REPLACE TEMP TABLE line AS
SELECT * FROM read_ndjson($path, columns = {_COLUMNS}, ignore_errors = true, maximum_object_size = {_LONGEST_LINE})
"""

#: One row a cell. `cell` and `versions_id` stand for texts that are slow to group by; `said` is the first reason.
_CELLS: Final = """
CREATE OR REPLACE TEMP TABLE kept AS
WITH process AS (
    SELECT implementation, max(versions::VARCHAR)::JSON AS versions FROM line WHERE type = 'implementation' GROUP BY ALL
), judged AS (
    SELECT line.* EXCLUDE (versions), process.versions AS told,
        list_filter(line.checks, lambda each: each.outcome = line.outcome) AS blamed
    FROM line LEFT JOIN process USING (implementation)
    WHERE type = 'cell' AND "case" IS NOT NULL AND implementation IS NOT NULL AND outcome IS NOT NULL
)
SELECT
    hash(device, implementation, "case") AS cell, device, implementation, "case", outcome, question.dtype AS dtype,
    list_max(list_filter(
        list_transform(checks, lambda each: TRY_CAST(each.margin AS DOUBLE)), lambda each: isfinite(each)
    )) AS margin,
    blamed[1]."check" AS "check",
    left(split_part(coalesce(nullif(reason, ''), blamed[1].message, ''), chr(10), 1), 200) AS said,
    json_merge_patch($distributions::JSON, coalesce(told, '{}'::JSON))::VARCHAR AS versions,
    hash(versions) AS versions_id,
    hash($file) AS night_id
FROM judged
ORDER BY implementation, device, "case"
"""

_MARGINS: Final = """
SELECT implementation, dtype, median(margin), max(margin) FROM kept
WHERE outcome = 'conforms' AND margin IS NOT NULL AND dtype IS NOT NULL GROUP BY ALL ORDER BY ALL
"""


class HistoryError(ResultsError):
    """A folder that is no history, or that cannot be kept; says which and why in a line."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """
    One results file, without its cells.

    `started` is ISO 8601 as the header has it. `counts` are by outcome, cells that never got a line as `not_run`;
    `versions` of everything that ran, by distribution; `margins` hold implementation, dtype, median and maximum over
    the cells that conform. `unread` lines were no records: a run that was killed leaves one, the last.
    """

    file: str
    started: str
    complete: bool
    counts: Mapping[str, int]
    versions: Mapping[str, str]
    margins: Sequence[tuple[str, str, float, float]]
    unread: int


@dataclass
class Nights:
    """
    The nights of a folder, oldest first, with a connection in which the view `cells` has their cells.

    Columns of `cells`: `night` (index into `nights`), `cell` (stands for device, implementation and case), `device`,
    `implementation`, `case`, `dtype`, `outcome`, `margin` (the largest of its checks, or NULL), `check`, `said`,
    `versions` (JSON) and `versions_id`. `skipped` maps a file that is no results file to the reason.
    """

    nights: list[Night]
    skipped: dict[str, str]
    connection: duckdb.DuckDBPyConnection = field(repr=False)

    def ask(self, query: str, **parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query as mappings."""
        answer = self.connection.execute(query, parameters or None)
        names = [each[0] for each in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def open_nights(folder: Path, cache: Path | None = None) -> Nights:
    """
    Return the nights of every results file in `folder`, reading those not yet kept in `cache`.

    `cache` is `.cache` in the folder unless named; what it holds is made anew whenever it is missing, damaged, of
    another file or of another version of the engine.

    Raises:
        HistoryError: the engine is not installed, the folder cannot be read or holds no results file, or the cache
            cannot be written.
    """
    duckdb = _engine()
    try:
        files = sorted(each for each in folder.iterdir() if each.name.endswith(ENDS) and each.is_file())
        cache = folder / ".cache" if cache is None else cache
        cache.mkdir(parents=True, exist_ok=True)
        kept = {each: _sound(cache, _kept_name(each, duckdb.__version__)) for each in files}
    except OSError as error:
        raise HistoryError(f"{error.filename}: {error.strerror}") from None
    # The engine must never look for extensions elsewhere: it has all that is needed.
    quiet = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config=quiet)
    connection.execute("SET enable_progress_bar = false")
    new = [source for source, target in kept.items() if target is None]

    def keep(source: Path) -> Path:
        # Files are many and small: one thread for each file does more than many threads for one.
        with connection.cursor() as cursor:
            return _keep(cursor, source, cache / _kept_name(source, duckdb.__version__))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            kept |= zip(new, pool.map(keep, new), strict=True)
        except (OSError, duckdb.Error) as error:
            pool.shutdown(cancel_futures=True)
            raise HistoryError(f"{cache}: {str(error).splitlines()[0]}") from None
    found = {source: target for source, target in kept.items() if target is not None}
    _forget(cache, set(found.values()))
    return _opened(connection, found, folder)


def _engine() -> Any:
    try:
        import duckdb
    except ImportError:
        raise HistoryError("a history needs DuckDB: pip install 'dense-conformance[history]'") from None
    return duckdb


def _kept_name(path: Path, engine: str) -> str:
    """
    Return the name under which a file is kept, which changes when the file does.

    A compressed file ends with a checksum of all of it, so that its ends are enough, wherever it was copied; a plain
    one has to be told by when it was written.
    """
    status = path.stat()
    known = [_LAYOUT, engine, path.name, str(status.st_size)]
    digest = hashlib.blake2b("\0".join(known).encode("utf-8", "surrogateescape"), digest_size=10)
    if path.name.endswith(".jsonl"):
        digest.update(str(status.st_mtime_ns).encode())
    else:
        with path.open("rb") as stream:
            digest.update(stream.read(_TELLING))
            stream.seek(-min(_TELLING, status.st_size), os.SEEK_END)
            digest.update(stream.read())
    return digest.hexdigest()


def _sound(cache: Path, name: str) -> Path | None:
    """Return what is kept under a name, None where it is missing or is not what was written: it ends with its sum."""
    found = (each for each in cache.glob(f"{name}-*.parquet") if each.name == _with_sum(each, name))
    return next(found, None)


def _with_sum(file: Path, name: str) -> str:
    """Return the name of a kept file with the checksum of what it holds: the engine takes damaged columns for whole."""
    return f"{name}-{zlib.crc32(file.read_bytes()):08x}.parquet"


def _keep(cursor: duckdb.DuckDBPyConnection, source: Path, target: Path) -> Path:
    """
    Write the columns of one results file, whole or not at all; of any other file, why it is none.

    Returns:
        The file written: `target` with the checksum of its content.
    """
    import duckdb

    night: dict[str, Any] = {"file": source.name}
    try:
        cursor.execute(_READ, {"path": _literally(source)})
        header = cursor.execute(
            "SELECT schema, started, cells, distributions FROM line WHERE type = 'header' LIMIT 1"
        ).fetchone()
        night |= _skipped(header)
    except duckdb.Error as error:
        header = None
        night["skipped"] = f"cannot be read: {str(error).splitlines()[0]}"
        cursor.execute("CREATE OR REPLACE TEMP TABLE line AS SELECT NULL::VARCHAR AS type WHERE false")
    if "skipped" in night:
        cells = "SELECT 0::UBIGINT AS cell WHERE false"
    else:
        assert header is not None
        cursor.execute(_CELLS, {"distributions": header[3] or "{}", "file": source.name})
        cells = "SELECT * FROM kept"
        night |= _told(cursor, header)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        cursor.execute(
            f"COPY ({cells}) TO $target (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{night: $night}})",
            {"target": str(partial), "night": json.dumps(night)},
        )
        return partial.replace(target.with_name(_with_sum(partial, target.name)))
    finally:
        partial.unlink(missing_ok=True)


def _literally(path: Path) -> str:
    """Return a path that the engine does not take for a pattern of many."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in str(path))


def _skipped(header: tuple[Any, ...] | None) -> dict[str, str]:
    if header is None:
        return {"skipped": NO_RESULTS}
    if header[0] != str(SCHEMA):
        return {"skipped": f"schema {header[0]}, but this version reads schema {SCHEMA}"}
    return {}


def _told(cursor: duckdb.DuckDBPyConnection, header: tuple[Any, ...]) -> dict[str, Any]:
    """Return the night of the tables `line` and `kept`."""
    counts = dict(cursor.execute("SELECT outcome, count(*) FROM kept GROUP BY ALL").fetchall())
    announced = int(header[2]) if re.fullmatch("[0-9]{1,16}", str(header[2])) else 0
    counts["not_run"] = counts.get("not_run", 0) + max(0, announced - sum(counts.values()))
    versions = cursor.execute(
        "SELECT DISTINCT versions FROM line WHERE type = 'implementation' ORDER BY ALL"
    ).fetchall()
    told: dict[str, str] = {}
    for text in (header[3], *(each for (each,) in versions)):
        content = json.loads(text) if text else {}
        told |= {key: str(each) for key, each in content.items()} if isinstance(content, dict) else {}
    complete, unread = cursor.execute(
        "SELECT count(*) FILTER (type = 'footer' AND complete = 'true'), count(*) FILTER (type IS NULL) FROM line"
    ).fetchall()[0]
    return {
        "started": header[1] or "",
        "complete": bool(complete),
        "counts": {outcome: counts.get(outcome, 0) for outcome in OUTCOMES},
        "versions": told,
        "margins": cursor.execute(_MARGINS).fetchall(),
        "unread": unread,
    }


def _forget(cache: Path, wanted: set[Path]) -> None:
    """Remove what is kept of files that are gone or have changed."""
    for each in cache.glob("*.parquet"):
        if each not in wanted:
            each.unlink(missing_ok=True)


def _opened(connection: duckdb.DuckDBPyConnection, kept: Mapping[Path, Path], folder: Path) -> Nights:
    paths = [str(each) for each in kept.values()]
    if not paths:
        raise HistoryError(f"{folder}: no file ends with {', '.join(ENDS)}")
    said = connection.execute(
        "SELECT decode(value) FROM parquet_kv_metadata($paths) WHERE decode(key) = 'night'",
        {"paths": [_literally(Path(each)) for each in paths]},
    )
    found = [json.loads(text) for (text,) in said.fetchall()]
    skipped = {each["file"]: each["skipped"] for each in found if "skipped" in each}
    nights = [Night(**each) for each in found if "skipped" not in each]
    nights.sort(key=lambda each: (each.started, each.file))
    if not nights:
        file, reason = next(iter(sorted(skipped.items())))
        more = f", and {len(skipped) - 1} more alike" if len(skipped) > 1 else ""
        raise HistoryError(f"{folder}: no results file: {file}: {reason}{more}")
    readable = [str(target) for source, target in kept.items() if source.name not in skipped]
    connection.execute(
        "CREATE TEMP TABLE night AS SELECT hash(unnest($files)) AS night_id, unnest(range(len($files)))::INT AS night",
        {"files": [each.file for each in nights]},
    )
    # A view takes no parameters: the paths are kept beside it.
    connection.execute("SET VARIABLE kept_paths = $paths", {"paths": [_literally(Path(each)) for each in readable]})
    connection.execute(
        "CREATE TEMP VIEW cells AS SELECT * EXCLUDE (night_id) "
        "FROM read_parquet(getvariable('kept_paths')) JOIN night USING (night_id)"
    )
    return Nights(nights=nights, skipped=skipped, connection=connection)
