"""A file with more faults than anybody reads: the first are printed, the others counted, and memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.table.yaml_document import MAX_FAULTS, Fault, Faults
from tests.support.runs import environment

#: Runs the linter and prints by how many bytes for each byte of the file its memory has grown.
MEASURED = """
import resource, sys
from conformance.commands.lint.inspection import inspect
size = len(open(sys.argv[1]).read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = inspect(sys.argv[1:])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(sum(each.count for each in found.faults), len(found.faults), 1024 * grown / size)
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("rows:\n" + "-\n" * 50_000, 1),
        ("rows:\n" + "- {}\n" * 20_000, 40_000),
        ("rows:\n- input_shape: [4]\n  units: 3\n" + "  units: 4\n" * 20_000, 20_000),
        ("rows:\n- input_shape: [4]\n  units: 3\n  tags:\n" + "  -\n" * 30_000, 1),
        ("rows: [{}]\n" + "".join(f"k{each}: 1\n" for each in range(20_000)), 1),
    ],
    ids=["bad rows", "empty rows", "keys that are there already", "a bad list", "unknown keys"],
)
def test_memory_and_what_is_printed_are_bounded(tmp_path: Path, content: str, count: int) -> None:
    """A list of bad values took 1,200 bytes of memory for each byte of the file, and every fault was printed."""
    file = tmp_path / "rows.yaml"
    file.write_text(content, encoding="utf-8")
    words = [sys.executable, "-c", MEASURED, str(file)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, printed, ratio = map(float, done.stdout.split())
    assert said == count
    assert printed == min(count, MAX_FAULTS + 1)
    assert ratio < 250


def test_faults_beyond_the_first_are_counted_by_file_and_stand_at_its_end() -> None:
    faults = Faults(Fault("a", line, 1, "wrong") for line in (*range(1, 201), *range(1, 51)))
    faults.add(Fault("b", 3, 1, "wrong"))
    *first, more, other = faults.all()
    assert [each.line for each in first] == list(range(1, MAX_FAULTS + 1))
    assert str(more) == "a:200:1: and 100 more faults of this file, the last one here"
    assert (more.count, other) == (100, Fault("b", 3, 1, "wrong"))
    assert Faults(faults.all()).all() == faults.all()
