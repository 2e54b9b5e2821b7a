"""What the workflows may do: little, by actions that cannot change, and the nightly one nothing but `make nightly`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def loaded(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def steps(workflow: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


NIGHTLY = loaded(ROOT / ".github" / "workflows" / "nightly.yml")
#: Targets of the Makefile that the nightly workflow calls through `make nightly`.
STEPS = {"nightly-run", "soak", "nightly-merge", "nightly-publish", "nightly-issues", "qemu", "portable"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_with_its_version(path: Path) -> None:
    used = [line for line in path.read_text(encoding="utf-8").split("\n") if "uses:" in line]
    assert used
    for line in used:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_the_same_action_is_pinned_alike_everywhere() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w-]+/[\w-]+)@([0-9a-f]{40})", text))
    assert len({action for action, _ in pins}) == len(pins)


def test_what_runs_frameworks_may_write_nothing_and_what_may_write_runs_none() -> None:
    assert NIGHTLY["permissions"] == {}
    for name, job in NIGHTLY["jobs"].items():
        writes = {key for key, each in job["permissions"].items() if each == "write"}
        runs = any(each in step.get("run", "") for step in job["steps"] for each in ("nightly-run", "portable"))
        assert writes == (set() if runs else {"contents", "issues"}), name
        kept = [step["with"] for step in job["steps"] if "checkout" in step.get("uses", "") and "with" in step]
        assert all(each["persist-credentials"] is False for each in kept)
        assert bool(kept) is runs


def test_everything_it_does_is_make_nightly() -> None:
    """Beside it only what brings nights from job to job and pushes what was published."""
    commands = [line.strip() for step in steps(NIGHTLY) for line in step.get("run", "").split("\n") if line.strip()]
    done = [each for each in commands if each.startswith("make ")]
    assert all(each.startswith("make nightly ") for each in done)
    steps_of = (each.split("NIGHTLY_STEPS=")[1] for each in done)
    assert {name for each in steps_of for name in re.findall(r"nightly-\w+|soak|qemu|portable", each)} == STEPS
    others = {each.split()[0] for each in commands} - {"make", "for", "done", "if", "else", "fi"}
    assert others == {"gh", "git", "cat"}


def test_its_steps_are_targets_and_its_settings_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("nightly", *sorted(STEPS)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    text = (ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\b(NIGHTLY_[A-Z]+)[=:]", text)) | {"EXTRAS", "CONSTRAINT"}
    assert used >= {"NIGHTLY_STEPS", "NIGHTLY_ENVIRONMENT", "NIGHTLY_EXPECT", "NIGHTLY_PUBLISH", "NIGHTLY_ARGS"}
    for name in used:
        assert re.search(rf"^{name} \?=", makefile, re.MULTILINE), name


def test_there_are_two_environments_and_a_gpu_that_is_off_unless_named() -> None:
    matrix = NIGHTLY["jobs"]["cpu"]["strategy"]["matrix"]["include"]
    assert {each["environment"]: each["constraint"] for each in matrix} == {
        "pinned": "--constraint constraints.txt",
        "newest": "",
    }
    gpu = NIGHTLY["jobs"]["gpu"]
    assert gpu["if"] == "${{ vars.NIGHTLY_GPU != '' }}"
    assert gpu["runs-on"] == ["self-hosted", "${{ vars.NIGHTLY_GPU }}"]


def test_the_pinned_night_alone_is_strict_with_the_ledger() -> None:
    """The rule is in the Makefile, by the name of the environment; no job says otherwise."""
    text = (ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8")
    assert "NIGHTLY_STRICT" not in text
    for environment, is_strict in (("pinned", True), ("newest", False), ("gpu", False)):
        given = [f"NIGHTLY_ENVIRONMENT={environment}", "STAMP=Makefile", "NIGHTLY_STEPS=nightly-run"]
        told = subprocess.run(
            ["make", "--dry-run", "nightly-run", *given], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert ("nightly run --strict-ledger --tier nightly" in told.stdout) is is_strict, told.stdout


def test_every_shard_is_run_once_and_fetched() -> None:
    job = NIGHTLY["jobs"]["cpu"]
    shards = job["strategy"]["matrix"]["shard"]
    assert shards == list(range(1, len(shards) + 1))
    assert job["env"]["NIGHTLY_SHARD"] == f"${{{{ matrix.shard }}}}/{len(shards)}"
    kept = [step["with"]["name"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept[0] == "${{ matrix.environment }}-${{ matrix.shard }}"
    fetched = next(step["run"] for step in NIGHTLY["jobs"]["publish"]["steps"] if "run download" in step.get("run", ""))
    assert 'for part in "" ' + " ".join(f"-{each}" for each in shards) + "; do" in fetched
    # Only the first has what is the same for all.
    soak = [step for step in job["steps"] if "soak" in str(step)]
    assert [step["if"] for step in soak] == ["${{ !cancelled() && matrix.shard == 1 }}"] * 2


def test_nothing_a_stranger_writes_becomes_a_command() -> None:
    """Expressions stand in `env` and `with` alone, never within a script."""
    assert [step["run"] for step in steps(NIGHTLY) if "${{" in step.get("run", "")] == []
