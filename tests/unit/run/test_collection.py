"""Which files of tests generate tests from the table: for others it is not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.run.collection import count_other_files, needs_table
from tests.support.paths import ROOT

SUITE = "from conformance.run.runner import test_dense\n"
FILES = {
    "tests/test_dense.py": SUITE,
    "tests/test_a.py": "def test_a(): pass\n",
    "tests/unit/test_b.py": "# test_dense\n",
}


@pytest.mark.parametrize(
    ("words", "needs", "others"),
    [
        (["tests"], True, 2),
        (["tests/unit"], False, 1),
        (["tests/test_a.py::test_a", "tests/unit/test_b.py"], False, 2),
        (["tests/unit", "tests/test_dense.py::test_dense[cpu/numpy/784-4-exact]"], True, 1),
        ([str(ROOT / "conformance" / "run" / "runner.py")], True, 0),
        (["conformance.run.runner::test_dense"], True, 1),
    ],
)
def test_a_file_with_the_test_of_a_cell_needs_the_table(
    words: list[str], needs: bool, others: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert (needs_table(words), count_other_files(words)) == (needs, others)
