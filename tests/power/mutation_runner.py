"""
Runs mutations of the package: `python -m tests.power.mutation_runner` all of them, with names of modules those of these
alone.

One process imports what every run needs, and of the package only what the changed module imports itself: imports go one
way, so that none of that imports the module. It is forked for each mutation: the child takes the module from its
changed source, runs the tests that must notice, and ends. No file is written.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from tests.power.mutation import Mutation
from tests.power.mutations import MUTATIONS
from tests.support.paths import ROOT

#: What takes long to import and is no part of the package, imported once for all children.
PRELOADED = (
    "click",
    "flint",
    "hypothesis.strategies",
    "jinja2",
    "ml_dtypes",
    "numpy.random",
    "psutil",
    "pydantic",
    "_hypothesis_pytestplugin",
    "pytest",
    "xdist.plugin",
    "yaml",
)
#: Threads do not survive a fork.
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
#: What pytest answers where tests ran and some failed; all else but 0 says that they did not run.
NOTICED = 1
#: What a child answers where the package that was tested is not the one that was changed.
ANOTHER_PACKAGE = 99


class _Changed(SourceFileLoader):
    """Loads a module from a source given, not from its file."""

    def __init__(self, mutation: Mutation) -> None:
        super().__init__(mutation.module, str(mutation.path))
        self._source = mutation.source()

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Finds the module that is changed, and leaves all others to those who come after it."""

    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutation.module:
            return None
        return spec_from_file_location(fullname, self._mutation.path, loader=_Changed(self._mutation))


def _run(tests: Sequence[str], mutation: Mutation | None) -> int:
    """Return what pytest answers for these tests, with a mutation or without one."""
    import pytest

    if mutation is not None:
        sys.meta_path.insert(0, _Finder(mutation))
    # A test of random examples notices what it happens to meet: none counts, so that no result hangs on luck. And the
    # package's own plugin is left out, since it reads the table of cases, which finds fault with some mutations first.
    options = ["-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider"]
    options += ["-p", "_hypothesis_pytestplugin", "-m", "not hypothesis"]
    # pytest collects garbage five times at its end, to find what could not be raised: the child ends with it.
    options += ["-p", "no:unraisableexception"]
    settings = ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-o", "addopts=--import-mode=importlib"]
    code = int(pytest.main([*options, *settings, *tests]))
    package = sys.modules.get("conformance")
    if package is None or Path(str(package.__file__)).parent != ROOT / "conformance":
        return ANOTHER_PACKAGE
    if mutation is not None and not isinstance(sys.modules[mutation.module].__loader__, _Changed):
        return ANOTHER_PACKAGE
    return code


def forked(tests: Sequence[str], mutation: Mutation | None = None) -> tuple[int, str]:
    """Return exit status and last words of a child that runs tests with a mutation."""
    with tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = ANOTHER_PACKAGE
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                code = _run(tests, mutation)
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        words = said.read().decode(errors="replace")[-2000:]
    return os.waitstatus_to_exitcode(status), words


def below(path: Path) -> list[str]:
    """Return the modules of the package that a file imports when it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    files = {each: ROOT / each.replace(".", "/") for each in found if each.startswith("conformance.")}
    return sorted(name for name, file in files.items() if file.is_dir() or file.with_suffix(".py").is_file())


def of_module(mutations: Sequence[Mutation]) -> None:
    """Print one JSON object a line: that of the tests without a mutation, then one for each mutation of one module."""
    own = ".".join(mutations[0].module.split(".")[:2])
    opens = (ROOT / own.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    for name in below(mutations[0].path):
        # A room that has its modules imported when it is imported itself would bring the changed one.
        if "import " not in opens or not name.startswith(own):
            import_module(name)
    assert mutations[0].module not in sys.modules
    gc.disable()  # A child is short. Collections would walk all that was imported, several times.
    code, words = forked(sorted({each.test for each in mutations}))
    print(json.dumps({"name": None, "code": code, "words": words}), flush=True)
    for each in mutations:
        started = time.perf_counter()
        code, words = forked([each.test], each)
        seconds = round(time.perf_counter() - started, 2)
        print(json.dumps({"name": each.name, "code": code, "words": words, "seconds": seconds}), flush=True)


def main(names: Sequence[str]) -> int:
    """Run the mutations of modules, of each in a process of its own; return 2 where a name is none of them."""
    known = {each.module.removeprefix("conformance.") for each in MUTATIONS}
    if unknown := sorted({*names} - known):
        print(f"error: no mutation is of {', '.join(unknown)}", file=sys.stderr)
        return 2
    for name in PRELOADED:
        import_module(name)
    for module in sorted({*names} or known):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            of_module([each for each in MUTATIONS if each.module == f"conformance.{module}"])
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


if __name__ == "__main__":
    # Plugins that are installed are no part of these tests.
    os.environ |= ONE_THREAD | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.exit(main(sys.argv[1:]))
