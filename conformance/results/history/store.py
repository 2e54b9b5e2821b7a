"""
A folder of results files, thousands of nights, as columns that an embedded engine can query.

The engine, DuckDB, reads each results file once and writes the columns that a history needs as a Parquet file. After
that only new files are read. Python reads no record: a loop over tens of millions of lines would take hours.
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

#: Endings of the names of results files. The engine unpacks the last two itself.
ENDS: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst")
#: A part of the name of every cached file. Raise it when the columns change; all files are then written again.
_LAYOUT: Final = "2"
#: A longer line is not a record (bytes): a cell has at most some megabytes of stderr.
_LONGEST_LINE: Final = 256 * 2**20
#: Bytes at either end of a compressed file that identify it. The last of them include its checksum.
_IDENTIFYING: Final = 2**16

#: The fields that are read from a line. A number is read as text where a results file may have `inf` as a string.
_COLUMNS: Final = """{
    type: 'VARCHAR', schema: 'VARCHAR', started: 'VARCHAR', cells: 'VARCHAR', distributions: 'JSON',
    complete: 'VARCHAR', "case": 'VARCHAR', implementation: 'VARCHAR', device: 'VARCHAR', outcome: 'VARCHAR',
    reason: 'VARCHAR', question: 'STRUCT(dtype VARCHAR)', versions: 'JSON',
    checks: 'STRUCT("check" VARCHAR, outcome VARCHAR, margin VARCHAR, message VARCHAR)[]'}"""

_READ: Final = f"""
CREATE OR REPLACE TEMP TABLE line AS
SELECT * FROM read_ndjson($path, columns = {_COLUMNS}, ignore_errors = true, maximum_object_size = {_LONGEST_LINE})
"""

#: One row for each cell. `cell` and `versions_id` are hashes of texts that are slow to group by.
_CELLS: Final = """
CREATE OR REPLACE TEMP TABLE night_cell AS
WITH process AS (
    SELECT implementation, max(versions::VARCHAR)::JSON AS versions FROM line WHERE type = 'implementation' GROUP BY ALL
), judged AS (
    SELECT line.* EXCLUDE (versions), process.versions AS process_versions,
        list_filter(line.checks, lambda each: each.outcome = line.outcome) AS deciding
    FROM line LEFT JOIN process USING (implementation)
    WHERE type = 'cell' AND "case" IS NOT NULL AND implementation IS NOT NULL AND outcome IS NOT NULL
)
SELECT
    hash(device, implementation, "case") AS cell, device, implementation, "case", outcome, question.dtype AS dtype,
    list_max(list_filter(
        list_transform(checks, lambda each: TRY_CAST(each.margin AS DOUBLE)), lambda each: isfinite(each)
    )) AS margin,
    deciding[1]."check" AS "check",
    left(split_part(coalesce(nullif(judged.reason, ''), deciding[1].message, ''), chr(10), 1), 200) AS reason,
    json_merge_patch($distributions::JSON, coalesce(process_versions, '{}'::JSON))::VARCHAR AS versions,
    hash(versions) AS versions_id,
    hash($file) AS night_id
FROM judged
ORDER BY implementation, device, "case"
"""

_MARGINS: Final = """
SELECT implementation, dtype, median(margin), max(margin) FROM night_cell
WHERE outcome = 'conforms' AND margin IS NOT NULL AND dtype IS NOT NULL GROUP BY ALL ORDER BY ALL
"""


class HistoryError(ResultsError):
    """A folder that is not a history, or whose cache cannot be written. The message names it and the reason."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """
    One results file, without its cells.

    A file from a run that was killed has one line that is not a record, the last.
    """

    file: str
    #: ISO 8601, from the header.
    started: str
    complete: bool
    #: Outcome -> cells; cells without a line count as `not_run`.
    counts: Mapping[str, int]
    #: Distribution -> version, of all that ran.
    versions: Mapping[str, str]
    #: Implementation, dtype, and the median and the maximum of the margins of conforming cells.
    margins: Sequence[tuple[str, str, float, float]]
    #: Lines that are not records.
    unread: int


@dataclass
class Nights:
    """
    The nights of a folder, oldest first, with a connection in which the view `cells` has their cells.

    Columns of `cells`: `night` (index into `nights`), `cell` (hash of device, implementation and case), `device`,
    `implementation`, `case`, `dtype`, `outcome`, `margin` (the largest of its checks, or NULL), `check`, `reason`,
    `versions` (JSON) and `versions_id` (hash of `versions`). `skipped` maps a file that is not a results file to the
    reason.
    """

    nights: list[Night]
    skipped: dict[str, str]
    connection: duckdb.DuckDBPyConnection = field(repr=False)

    def query(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query as mappings."""
        result = self.connection.execute(sql, parameters or None)
        names = [each[0] for each in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def open_nights(folder: Path, cache: Path | None = None) -> Nights:
    """
    Return the nights of every results file in `folder`, and write those that are not in the cache yet into it.

    - `folder`: the folder of results files.
    - `cache`: the folder of the cache; by default `.cache` in `folder`. A cached file is written again if it is
      missing, damaged, of another results file, or of another version of the engine.

    Raises:
        HistoryError: the engine is not installed, the folder cannot be read or has no results file, or the cache
            cannot be written.
    """
    duckdb = _engine()
    try:
        files = sorted(each for each in folder.iterdir() if each.name.endswith(ENDS) and each.is_file())
        cache = folder / ".cache" if cache is None else cache
        cache.mkdir(parents=True, exist_ok=True)
        cached = {each: _cached_file(cache, _cache_name(each, duckdb.__version__)) for each in files}
    except OSError as error:
        raise HistoryError(f"{error.filename}: {error.strerror}") from None
    # The engine has all that is needed, and must not look for extensions on the network.
    offline = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config=offline)
    connection.execute("SET enable_progress_bar = false")
    new = [source for source, target in cached.items() if target is None]

    def convert(source: Path) -> Path:
        # Files are many and small: one thread for each file is faster than many threads for one.
        with connection.cursor() as cursor:
            return _write_columns(cursor, source, cache / _cache_name(source, duckdb.__version__))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            cached |= zip(new, pool.map(convert, new), strict=True)
        except (OSError, duckdb.Error) as error:
            pool.shutdown(cancel_futures=True)
            raise HistoryError(f"{cache}: {str(error).splitlines()[0]}") from None
    files_of = {source: target for source, target in cached.items() if target is not None}
    _remove_stale(cache, set(files_of.values()))
    return _nights(connection, files_of, folder)


def _engine() -> Any:
    try:
        import duckdb
    except ImportError:
        raise HistoryError("a history needs DuckDB: pip install 'dense-conformance[history]'") from None
    return duckdb


def _cache_name(path: Path, engine: str) -> str:
    """
    Return the name of the cached file of a results file, which changes with its content.

    A compressed file ends with a checksum of its content, so its two ends identify it, wherever it was copied. A plain
    file is identified by its time of modification.
    """
    status = path.stat()
    identity = [_LAYOUT, engine, path.name, str(status.st_size)]
    digest = hashlib.blake2b("\0".join(identity).encode("utf-8", "surrogateescape"), digest_size=10)
    if path.name.endswith(".jsonl"):
        digest.update(str(status.st_mtime_ns).encode())
    else:
        with path.open("rb") as stream:
            digest.update(stream.read(_IDENTIFYING))
            stream.seek(-min(_IDENTIFYING, status.st_size), os.SEEK_END)
            digest.update(stream.read())
    return digest.hexdigest()


def _cached_file(cache: Path, name: str) -> Path | None:
    """Return the cached file of a name, None where it is missing or does not match the checksum in its own name."""
    intact = (each for each in cache.glob(f"{name}-*.parquet") if each.name == _checksummed_name(each, name))
    return next(intact, None)


def _checksummed_name(file: Path, name: str) -> str:
    """Return the name of a cached file with its checksum. The engine itself does not notice damaged columns."""
    return f"{name}-{zlib.crc32(file.read_bytes()):08x}.parquet"


def _write_columns(cursor: duckdb.DuckDBPyConnection, source: Path, target: Path) -> Path:
    """
    Write the columns of one results file, whole or not at all. For any other file, write why it is skipped.

    Returns:
        The path of the written file: `target` with the checksum of its content.
    """
    import duckdb

    night: dict[str, object] = {"file": source.name}
    try:
        cursor.execute(_READ, {"path": _escape_pattern(source)})
        header = cursor.execute(
            "SELECT schema, started, cells, distributions FROM line WHERE type = 'header' LIMIT 1"
        ).fetchone()
        night |= _skip_reason(header)
    except duckdb.Error as error:
        header = None
        night["skipped"] = f"cannot be read: {str(error).splitlines()[0]}"
        cursor.execute("CREATE OR REPLACE TEMP TABLE line AS SELECT NULL::VARCHAR AS type WHERE false")
    if "skipped" in night:
        cells = "SELECT 0::UBIGINT AS cell WHERE false"
    else:
        assert header is not None
        cursor.execute(_CELLS, {"distributions": header[3] or "{}", "file": source.name})
        cells = "SELECT * FROM night_cell"
        night |= _night_fields(cursor, header)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        cursor.execute(
            f"COPY ({cells}) TO $target (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{night: $night}})",
            {"target": str(partial), "night": json.dumps(night)},
        )
        return partial.replace(target.with_name(_checksummed_name(partial, target.name)))
    finally:
        partial.unlink(missing_ok=True)


def _escape_pattern(path: Path) -> str:
    """Return a path with its wildcards escaped for the engine."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in str(path))


def _skip_reason(header: tuple[object, ...] | None) -> dict[str, str]:
    if header is None:
        return {"skipped": NO_RESULTS}
    if header[0] != str(SCHEMA):
        return {"skipped": f"schema {header[0]}, but this version reads schema {SCHEMA}"}
    return {}


def _night_fields(cursor: duckdb.DuckDBPyConnection, header: tuple[Any, ...]) -> dict[str, object]:
    """Return the fields of a `Night` but for `file`, from the tables `line` and `night_cell`."""
    counts = dict(cursor.execute("SELECT outcome, count(*) FROM night_cell GROUP BY ALL").fetchall())
    announced = int(header[2]) if re.fullmatch("[0-9]{1,16}", str(header[2])) else 0
    counts["not_run"] = counts.get("not_run", 0) + max(0, announced - sum(counts.values()))
    versions = cursor.execute(
        "SELECT DISTINCT versions FROM line WHERE type = 'implementation' ORDER BY ALL"
    ).fetchall()
    merged: dict[str, str] = {}
    for text in (header[3], *(each for (each,) in versions)):
        content = json.loads(text) if text else {}
        merged |= {key: str(each) for key, each in content.items()} if isinstance(content, dict) else {}
    complete, unread = cursor.execute(
        "SELECT count(*) FILTER (type = 'footer' AND complete = 'true'), count(*) FILTER (type IS NULL) FROM line"
    ).fetchall()[0]
    return {
        "started": header[1] or "",
        "complete": bool(complete),
        "counts": {outcome: counts.get(outcome, 0) for outcome in OUTCOMES},
        "versions": merged,
        "margins": cursor.execute(_MARGINS).fetchall(),
        "unread": unread,
    }


def _remove_stale(cache: Path, current: set[Path]) -> None:
    """Remove the cached files of results files that were removed or changed."""
    for each in cache.glob("*.parquet"):
        if each not in current:
            each.unlink(missing_ok=True)


def _nights(connection: duckdb.DuckDBPyConnection, cached: Mapping[Path, Path], folder: Path) -> Nights:
    """Return the nights of cached files, by results file; raises `HistoryError` if none is a night."""
    paths = [str(each) for each in cached.values()]
    if not paths:
        raise HistoryError(f"{folder}: no file ends with {', '.join(ENDS)}")
    metadata = connection.execute(
        "SELECT decode(value) FROM parquet_kv_metadata($paths) WHERE decode(key) = 'night'",
        {"paths": [_escape_pattern(Path(each)) for each in paths]},
    )
    contents = [json.loads(text) for (text,) in metadata.fetchall()]
    skipped = {each["file"]: each["skipped"] for each in contents if "skipped" in each}
    nights = [Night(**each) for each in contents if "skipped" not in each]
    nights.sort(key=lambda each: (each.started, each.file))
    if not nights:
        file, reason = next(iter(sorted(skipped.items())))
        more = f"; {len(skipped) - 1} more are skipped" if len(skipped) > 1 else ""
        raise HistoryError(f"{folder}: no results file: {file}: {reason}{more}")
    readable = [str(target) for source, target in cached.items() if source.name not in skipped]
    connection.execute(
        "CREATE TEMP TABLE night AS SELECT hash(unnest($files)) AS night_id, unnest(range(len($files)))::INT AS night",
        {"files": [each.file for each in nights]},
    )
    # A view takes no parameters, so the paths are in a variable.
    connection.execute(
        "SET VARIABLE cached_paths = $paths", {"paths": [_escape_pattern(Path(each)) for each in readable]}
    )
    connection.execute(
        "CREATE TEMP VIEW cells AS SELECT * EXCLUDE (night_id) "
        "FROM read_parquet(getvariable('cached_paths')) JOIN night USING (night_id)"
    )
    return Nights(nights=nights, skipped=skipped, connection=connection)
