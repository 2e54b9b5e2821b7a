"""The page in a browser: every view opens from its address, and nothing of the files runs or leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from conformance.report import write
from tests.support.browser import Opener
from tests.support.pages import EVIDENCE, SCRIPT, Maker, cell

VIEWS = {
    "overview": "#/overview",
    "matrix": "#/matrix",
    "cell": "#/cell?case=784x2-4-uniform&column=impl-0/cpu",
    "case": "#/case?case=784x2-4-uniform",
    "divergences": "#/divergences",
    "numerics": "#/numerics",
    "history": "#/history",
    "unjudged": "#/unjudged",
    "rule": "#/rule",
    "environment": "#/environment",
}


def test_every_view_opens_from_its_address_and_alone(opened: Opener, page_of: Path) -> None:
    shown = "[...document.querySelectorAll('.view')].filter((each) => each.offsetHeight > 0).map((each) => each.id)"
    for name, address in VIEWS.items():
        page = opened(page_of, address)
        assert page.evaluate(shown) == [name]
        assert page.locator(f"#{name} h2").first.is_visible()
        marked = page.locator("nav [aria-current=page]")
        assert marked.count() == (0 if name in ("cell", "case") else 1)
        page.context.close()
    page = opened(page_of, "#/nowhere?x=%zz")
    assert page.evaluate(shown) == ["overview"]


def test_a_view_of_a_missing_cell_or_case_names_it(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, "#/cell?case=gone&column=torch/cpu")
    assert "no cell of torch/cpu on gone" in page.locator("#cell").inner_text()
    page.goto(page_of.as_uri() + "#/case?case=gone")
    assert "no case gone" in page.locator("#case").inner_text()


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it is."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] }).then((each) => each.violations)")
    return [f"{each['id']}: {node['html'][:150]}" for each in found for node in each["nodes"][:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_fault_of_accessibility(opened: Opener, page_of: Path, scheme: str) -> None:
    page = opened(page_of, color_scheme=scheme, bypass_csp=True)
    found = []
    for name, address in VIEWS.items():
        page.evaluate("(address) => { location.hash = address; }", address)
        page.wait_for_function("(name) => document.body.dataset.view === name", arg=name)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        found += [f"{name}: {each}" for each in violations(page)]
    assert not found, "\n".join(found)


def test_the_checker_of_accessibility_finds_a_planted_fault(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, "#/matrix", bypass_csp=True)
    page.evaluate("document.querySelector('select').parentNode.replaceWith(document.querySelector('select'))")
    assert [each for each in violations(page) if each.startswith("select-name")]


def test_a_cell_shows_question_finding_and_script(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, VIEWS["cell"], permissions=["clipboard-read", "clipboard-write"])
    text = page.locator("#cell").inner_text()
    for expected in (
        "784x2-4-uniform",
        "× violates impl-0/cpu · margin 18",
        "one sample has the shape (784,), rank 1; in float32.",
        "- input_shape: [784]",
        "off by 0.25",
        "0.0142857",
        "[1, 17, 3]",
        "declared: a contract for a function",
        "a key of a later version",
    ):
        assert expected in text
    assert page.locator("dt:text-is('margin') + dd").first.inner_text() == "17.5"
    page.get_by_role("button", name="Copy script").click()
    page.get_by_text("copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == SCRIPT
    page.goto(page_of.as_uri() + "#/cell?case=2x3-4-bfloat16&column=torch/cpu")
    page.wait_for_function("document.querySelector('#cell h2').textContent === '2x3-4-bfloat16'")
    assert "conformance reproduce" not in page.locator("#cell").inner_text(), "of what conforms nothing is shown"
    assert page.locator(".steps td").all_inner_texts() == ["0.5"]
    page.goto(page_of.as_uri() + "#/matrix")
    page.locator(".cells a.diverges").first.click()
    page.wait_for_function("document.body.dataset.view === 'cell'")
    assert "conformance reproduce cpu/" in page.locator("#cell").inner_text()


def test_a_crash_shows_the_end_of_its_log(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, "#/matrix?outcome=crashed")
    page.locator(".cells a.crashed").first.click()
    text = page.locator("#cell").inner_text()
    for expected in ("SIGABRT; signal 6", "again alone", "Check failed\nAborted"):
        assert expected in text


def test_a_case_lists_implementations_that_disagree_and_equal_bits(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, VIEWS["case"])
    text = page.locator("#case").inner_text()
    assert "They disagree:" in text
    assert page.locator("#case .groups li").count() == 7
    page.goto(page_of.as_uri() + "#/case?case=2x3-4-bfloat16")
    page.get_by_text("All 3 judged have the same outcome.").wait_for()
    assert "Bit for bit there are 2 outputs" in page.locator("#case").inner_text()
    assert page.locator("#case .groups").nth(1).locator("li").all_inner_texts() == [
        "A keras-jax/cpu, torch/cpu",
        "B keras-torch/cpu",
    ]


def test_plots_have_a_name_and_a_table(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, "#/numerics")
    names = [each.get_attribute("aria-label") for each in page.locator("#margin-plots svg[role=img]").all()]
    assert names == [
        f"{dtype}: margins of conforming cells that are not exact; the table below has the numbers"
        for dtype in ("bfloat16", "float32")
    ]
    page.goto(page_of.as_uri() + "#/history")
    assert page.locator("#night-plots svg[role=img]").count() == 2
    assert page.locator("#trend-plots svg[role=img]").count() == 2
    assert page.locator("#nights tbody tr").count() == 5


def test_without_a_script_the_headline_the_counts_and_the_red_cells_are_there(opened: Opener, page_of: Path) -> None:
    page = opened(page_of, java_script_enabled=False)
    text = page.locator("body").inner_text()
    for expected in ("21 of 52 cells fail.", "Scripts are off", "What fails", "off by 0.25", "rank 1 is refused"):
        assert expected in text
    assert page.locator("#failing tbody tr").count() == 21
    assert not page.locator("#matrix").is_visible()


HOSTILE = (
    "</script></td><script>alert(1)</script><img src=x onerror=alert(2)>\"' onclick='alert(3)' &lt;"
    "\x00\x1b[31mred\x1b[0m\u202egnp\u2066"
)
ESCAPED = (
    "</script></td><script>alert(1)</script><img src=x onerror=alert(2)>\"' onclick='alert(3)' &lt;"
    r"\x00\x1b[31mred\x1b[0m[U+202E]gnp[U+2066]"
)


def test_hostile_content_is_plain_text(opened: Opener, tmp_path: Path) -> None:
    crash = {"step": HOSTILE, "reason": HOSTILE, "stderr": "x" * 1_000_000 + HOSTILE, "notes": [HOSTILE]}
    raised = {"step": "call", "type": HOSTILE, "message": HOSTILE, "module": HOSTILE}
    check = {**EVIDENCE["diverges"]["checks"][0], "raised": raised, "message": HOSTILE}
    found = [
        cell(HOSTILE, f"torch {HOSTILE}", "crashed", crash=crash, reason=HOSTILE, why=HOSTILE, source=HOSTILE),
        cell(HOSTILE, "keras", "violates", checks=[check], reproduce=HOSTILE, question={HOSTILE: HOSTILE}),
    ]
    path = tmp_path / "x.html"
    write([Maker(tmp_path)(found)], path)
    page = opened(path, "#/matrix")
    assert page.locator(".cells tbody th[scope=row]").inner_text() == ESCAPED
    for name in ("crashed", "violates"):
        page.goto(path.as_uri() + "#/matrix")
        page.locator(f".cells a.{name}").click()
        text = page.locator("#cell").inner_text()
        assert text.count(ESCAPED) >= 4, name
        assert page.locator("#cell h2").inner_text() == ESCAPED
        assert page.locator("#cell :is(script, img, iframe)").count() == 0
        address = page.evaluate("location.hash")
        assert opened(path, address).locator("#cell h2").inner_text() == ESCAPED
        page.goto(path.as_uri() + "#/overview")
    for view in ("case", "divergences", "overview", "environment"):
        assert opened(path, f"#/{view}").locator(f"#{view} :is(script, img)").count() == 0


def test_a_browser_runs_nothing_but_the_pages_own_scripts(opened: Opener, page_of: Path, tmp_path: Path) -> None:
    """Plant a script as a hole in the template would let it in: the page's own policy must stop it."""
    planted = tmp_path / "planted.html"
    page = page_of.read_text(encoding="utf-8").replace("<main>", "<main><script>window.ran = true</script>", 1)
    planted.write_text(page, encoding="utf-8")
    shown = opened(planted)
    assert shown.evaluate("window.ran === undefined")
    assert len(opened.faults) == 1
    assert "Content Security Policy" in opened.faults.pop()
