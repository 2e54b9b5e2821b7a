"""The tests notice every small wrong edit of what judges: an oracle that is never wrong on purpose proves nothing."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.power.mutation import Mutation
from tests.power.mutation_runner import NOTICED, ONE_THREAD, PRELOADED
from tests.power.mutations import MUTATIONS
from tests.support.command_process import run_module
from tests.support.paths import ROOT
from tests.support.runs import environment

MODULES = sorted({each.module.removeprefix("conformance.") for each in MUTATIONS})


def test_every_mutation_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(each.name for each in MUTATIONS).items() if count > 1] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_the_text_a_mutation_takes_out_is_there_once(mutation: Mutation) -> None:
    """The source moved: give the mutation the text as it is now, or take it off the list if what it broke is gone."""
    found = mutation.path.read_text(encoding="utf-8").count(mutation.old)
    assert found == 1, f"{mutation.name}: {mutation.old!r} occurs {found} times in {mutation.module}"
    compile(mutation.source(), mutation.module, "exec")


@pytest.mark.parametrize("module", MODULES)
def test_every_mutation_is_noticed(module: str) -> None:
    """A mutation that survives shows a hole in the tests: write the test that notices it."""
    done = run_module(
        "tests.power.mutation_runner", module, cwd=ROOT, environment=environment(**ONE_THREAD), imports=PRELOADED
    )
    assert done.returncode == 0, done.stderr
    unchanged, *changed = map(json.loads, done.stdout.splitlines())
    assert unchanged["code"] == 0, f"the tests fail without a mutation:\n{unchanged['words']}"
    assert len(changed) == sum(each.module == f"conformance.{module}" for each in MUTATIONS)
    survivors = [f"{each['name']} ({each['code']})\n{each['words']}" for each in changed if each["code"] != NOTICED]
    assert survivors == [], "\n".join(survivors)
