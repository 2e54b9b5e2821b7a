"""The browser, and a page with every outcome, for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from conformance.report import write
from tests.support.browser import Opener, launched
from tests.support.pages import CHANGES, HISTORY, SCRIPT, SINCE, Maker, all_outcomes, cell


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as made:
        yield made


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    opener = Opener(browser)
    yield opener
    opener.close()


def noted(each: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Return a cell whose check `output` noted its bits."""
    checks = [
        {**check, "facts": {**check.get("facts", {}), "bits": digest}} if check["check"] == "output" else check
        for check in each["checks"]
    ]
    return {**each, "checks": checks}


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    """Seven cases by seven implementations, and one case of another framework, dtype and rank."""
    found = all_outcomes()
    question = {"input_shape": [2, 3], "dtype": "bfloat16", "units": [4], "lane": "exact"}
    for name, digest in (("keras-jax", "ab"), ("keras-torch", "cd"), ("torch", "ab")):
        each = cell("2x3-4-bfloat16", name, "conforms", question=question, row="cases/g.yaml:3", steps={"build": 0.5})
        found.append(noted(each, digest))
    return [{**each, "reproduce": SCRIPT} if each["outcome"] == "violates" else each for each in found]


@pytest.fixture(scope="module")
def page_of(cells: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write([Maker(folder)(cells)], folder / "index.html", changes=CHANGES, since=SINCE, history=HISTORY)
    return folder / "index.html"
