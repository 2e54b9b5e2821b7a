"""No command that needs no framework imports one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conformance.adapters.registry import BUILT_IN
from tests.support.paths import ROOT

FRAMEWORKS = sorted({each for known in BUILT_IN for each in known.packages} - {"numpy"})


def frameworks_after(code: str) -> set[str]:
    """Return the frameworks loaded in a fresh interpreter once `code` has run."""
    tail = f"\nimport sys; print('LOADED', *(each for each in {FRAMEWORKS!r} if each in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=False, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert lines, done.stdout + done.stderr
    return set(lines[-1].split()[1:])


EVERY_MODULE = """
import pkgutil, importlib, conformance
for each in pkgutil.walk_packages(conformance.__path__, "conformance."):
    if not each.name.endswith(("child", "__main__")):
        importlib.import_module(each.name)
"""
COLLECTING = "import pytest; pytest.main(['--collect-only', '-q', 'tests/test_dense.py'])"
COMMANDS = """
from click.testing import CliRunner
from conformance.commands.cli import main
EXPLAIN = ["explain", "--input-shape", "784", "--units", "4"]
for command in (["lint", "cases/seed.yaml"], ["list", "implementations"], EXPLAIN):
    assert CliRunner().invoke(main, command).exit_code == 0, command
"""


@pytest.mark.parametrize(
    "code",
    [EVERY_MODULE, COLLECTING, COMMANDS],
    ids=["importing every module", "collecting", "lint, list and explain"],
)
def test_no_framework_is_imported(code: str) -> None:
    assert frameworks_after(code) == set()


def test_the_alarm_rings_when_a_framework_is_imported() -> None:
    assert frameworks_after("import sys, types; sys.modules['torch'] = types.ModuleType('torch')") == {"torch"}
