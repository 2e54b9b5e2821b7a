"""
What somebody else wrote stays text on the page, whatever it is, and can neither flood it nor leave it.

Every hole of the template is opened in turn to show that the tests would find it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader, Environment, UndefinedError
from msgspec import Struct, structs

import conformance.report
from conformance.report import render, scripts, text
from conformance.report.page import environment, render_with
from conformance.results import OUTCOMES, CellRecord, Run, plain
from conformance.results.codec import record_of
from conformance.results.record import FooterRecord, HeaderRecord, ImplementationRecord
from tests.support.pages import CHANGES, ENTRY, EVIDENCE, GONE, HISTORY, SINCE, Maker, all_outcomes, cell
from tests.support.parsed_page import Page

#: Fills the page with runs, and with changes and a history that end in a text.
Fill = Callable[[Sequence[Run], str], str]


INVISIBLE = "\x00\x1b[31m\x7f\x9b\r\u202e\u2066\u200b\u2028\ufeff\U000e0041"
MARKUP = "</td></pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\"' onclick='x' {{ 7*7 }} &lt;"
HOSTILE = MARKUP + INVISIBLE
ESCAPED = MARKUP + r"\x00\x1b[31m\x7f\x9b\x0d[U+202E][U+2066][U+200B][U+2028][U+FEFF][U+E0041]"
#: What must stay what it is for the page to have the same parts.
FIXED = ("type", "line", "complete", "counts", "cells", "schema", "seconds", "margin")
FREE = ("versions", "settings", "distributions", "platform", "selection", "facts", "behaviours")


def spoilt(run: Run, suffix: str) -> Run:
    """Return `run` with `suffix` put to every string in it, and to every key that is not the format's own."""
    footer = () if run.footer is None else (run.footer,)
    records = [
        record_of(json.dumps(_spoilt(plain(each), suffix)).encode(), strict=False)
        for each in (run.header, *run.implementations, *run.cells, *footer)
    ]
    # A path may hold half of a surrogate pair, and no record that was read does.
    path = run.path + suffix.replace("/", "\\") + "\ud800"
    return Run(
        path=path,
        header=next(each for each in records if isinstance(each, HeaderRecord)),
        implementations=tuple(each for each in records if isinstance(each, ImplementationRecord)),
        cells=tuple(each for each in records if isinstance(each, CellRecord)),
        footer=next((each for each in records if isinstance(each, FooterRecord)), None),
    )


def _spoilt(content: Any, suffix: str, key: str = "") -> Any:
    if key in FIXED or (key == "outcome" and content in OUTCOMES):
        return content
    if isinstance(content, str):
        return content + suffix
    if isinstance(content, Mapping):
        return {name + suffix * (key in FREE): _spoilt(each, suffix, name) for name, each in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_spoilt(each, suffix, key) for each in content)
    if is_dataclass(content) and not isinstance(content, type):
        return replace(
            content, **{each.name: _spoilt(getattr(content, each.name), suffix, each.name) for each in fields(content)}
        )
    if isinstance(content, Struct):
        names = content.__struct_fields__
        return structs.replace(content, **{name: _spoilt(getattr(content, name), suffix, name) for name in names})
    return content


def skeleton(page: Page) -> list[tuple[str, tuple[str, ...], str]]:
    """Return the page without any text or value: its elements, their attributes and their classes, in order."""
    nodes = page.root.walk()
    return [(each.tag, tuple(sorted(each.attributes)), each.attributes.get("class", "")) for each in nodes]


def every_part(run_of: Maker) -> Run:
    """A broken-off run that, given once and given twice, fills every hole of the template."""
    cells = [cell(f"784x{outcome}-4-uniform", "torch", outcome) for outcome in (*OUTCOMES, "wobbles")]
    cells += [cell(f"32x{index}-4-uniform", "torch", "not_run") for index in range(8)]
    cells += [
        cell(f"16x{index}-4-uniform", "torch", "conforms", covered=[GONE["id"]], gone=[GONE]) for index in range(8)
    ]
    return run_of(cells, complete=False)


def check_hostile_text(fill: Fill, run: Run) -> None:
    """Raise unless the page with hostile content has the very same elements as the page without, and shows it all."""
    for times in (2, 1):
        page = fill([spoilt(run, HOSTILE)] * times, HOSTILE)
        assert not text._INVISIBLE.search(page.replace(scripts.script(), ""))
        parsed = Page(page)
        assert skeleton(parsed) == skeleton(Page(fill([spoilt(run, " and more")] * times, " and more")))
        shown = "".join(each.text for each in parsed.root.all("main"))
        assert ESCAPED in shown
        assert "[U+D800]" in shown
        assert ESCAPED in "".join(parsed.data["strings"])
        page.encode("utf-8")


def full(runs: Sequence[Run], suffix: str) -> str:
    return render_all(environment(), runs, suffix)


def render_all(made: Environment, runs: Sequence[Run], suffix: str) -> str:
    worse = CHANGES.section("worse")
    shown = replace(worse[0], implementation="torch", case="784xviolates-4-uniform")
    changes = replace(CHANGES, sections={**CHANGES.sections, "worse": (*worse, shown)})
    known = structs.replace(HISTORY.worsened[0], implementation="torch", case="784xviolates-4-uniform")
    history = replace(HISTORY, worsened=[*HISTORY.worsened, known])
    spoilt_ones = {"changes": _spoilt(changes, suffix), "history": _spoilt(history, suffix)}
    return render_with(made, runs, since=SINCE + suffix, **spoilt_ones)


def test_hostile_content_is_plain_text(run_of: Maker) -> None:
    run = every_part(run_of)
    check_hostile_text(full, run)
    root = Page(render([spoilt(run, HOSTILE)])).root
    assert not [name for each in root.walk() for name in each.attributes if name.startswith("on")]
    assert not [each for each in root.all("a") if not each.attributes["href"].startswith("#")]
    tags = {each.tag for each in root.walk()}
    assert not tags & {"img", "iframe", "object", "embed", "link", "base", "form", "svg", "template"}
    kinds = [each.attributes.get("type") for each in root.all("script")]
    assert kinds == ["application/json", "module"]


def test_data_that_could_end_its_script_is_found(run_of: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.report.page.script_text", json.dumps)
    with pytest.raises((AssertionError, json.JSONDecodeError)):
        check_hostile_text(full, every_part(run_of))


SOURCE = (Path(conformance.report.__file__).parent / "assets" / "page.html.jinja").read_text(encoding="utf-8")
STYLES = {
    name: (Path(conformance.report.__file__).parent / "assets" / name).read_text(encoding="utf-8")
    for name in ("style.css", "views.css")
}
HOLES = list(re.finditer(r"\{\{-? (.+?) -?\}\}", SOURCE))
#: Holes filled with words, numbers and anchors of our own, or with an address that was found to be one.
OUR_OWN = re.compile(
    r"(facts|chip|bar|links|group|member_list|change_list)\(|^(file|policy|matrix|omission)$|kind\.|count|total|headline\.|loop\.|unlisted"
    r"|anchor|place|entry|threads|part\.title|changes\.sentence|length|\|short|\|commas|duration|group\.link"
)
REACHED = [hole for hole in HOLES if not OUR_OWN.search(hole[1])]


def filled_by(source: str) -> Fill:
    made = environment(DictLoader({"page.html.jinja": source, **STYLES}))
    return lambda runs, suffix: render_all(made, runs, suffix)


@pytest.mark.parametrize("hole", REACHED, ids=lambda hole: f"{hole.start()}-{hole[1]}")
def test_an_unescaped_value_is_found(run_of: Maker, hole: re.Match[str]) -> None:
    """Each value of the template is left unescaped in turn. The test above must fail."""
    opened = SOURCE[: hole.start()] + "{{ (" + hole[1] + ")|safe }}" + SOURCE[hole.end() :]
    run = every_part(run_of)
    with pytest.raises(AssertionError):
        check_hostile_text(filled_by(opened), run)


def test_the_unescaped_values_are_most_of_those_of_the_template() -> None:
    assert len(REACHED) >= 35
    assert {"cell.case", "each.summary", "each.reason", "each", "warning"} <= {hole[1] for hole in REACHED}


def test_escaping_that_is_switched_off_is_found(run_of: Maker) -> None:
    source = "{% autoescape false %}" + SOURCE + "{% endautoescape %}"
    with pytest.raises(AssertionError):
        check_hostile_text(filled_by(source), every_part(run_of))


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "\x01javascript:alert(1)",
        " https://a.test",
        "https://a.test/\u202e",
        "https://a.test/ x",
        "https://",
        "https://[",
        "http:/a.test",
        "//a.test",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://a.test",
        'https://a.test/" onclick="x',
        7,
        None,
    ],
)
def test_only_web_addresses_become_links(run_of: Maker, link: object) -> None:
    checks = [{**EVIDENCE["diverges"]["checks"][0], "divergence": {**ENTRY, "link": link}}]
    page = Page(render([run_of([cell("a", "torch", "diverges", source=link, checks=checks)])]))
    assert [each for each in page.root.all("a") if not each.attributes["href"].startswith("#")] == []
    ((*_, source, is_link),) = page.data["cases"][0][-1]
    assert not is_link
    if isinstance(link, str):
        assert page.data["strings"][source] == text.visible(link)
        assert text.visible(link) in page.root.all("section", id="divergences")[0].text


@pytest.mark.parametrize("link", ["https://a.test/x?y=1&z=%20#f", "http://a.test", "HTTPS://a.test/~(x)"])
def test_links_send_no_referrer(run_of: Maker, link: str) -> None:
    checks = [{**EVIDENCE["diverges"]["checks"][0], "divergence": {**ENTRY, "link": link}}]
    page = Page(render([run_of([cell("a", "torch", "diverges", source=link, checks=checks)])]))
    (found,) = [each for each in page.root.all("a") if not each.attributes["href"].startswith("#")]
    assert found.attributes == {"href": link, "rel": "noopener noreferrer"}
    ((*_, source, is_link),) = page.data["cases"][0][-1]
    assert is_link
    assert page.data["strings"][source] == link


def size(page: str) -> int:
    """Return the characters of a page beyond those that every page has."""
    return len(page) - len(render([]))


def test_a_long_log_is_cut_at_its_beginning_with_a_note(run_of: Maker) -> None:
    stderr = "x" * 1_000_000 + "\x1b[31mthe reason"
    page = render([run_of([cell("a", "torch", "crashed", crash={"step": "forward", "stderr": stderr})])])
    assert size(page) < 60_000
    detail = Page(page).cells[0].detail
    assert detail is not None
    shown = detail["ended"][2]
    assert shown.endswith("x\\x1b[31mthe reason")
    assert re.match(r"\[cut: 99\d,\d{3} earlier characters in the results file\]", shown)


def test_many_long_logs_make_a_page_of_limited_size(run_of: Maker) -> None:
    crash = {"step": "forward", "stderr": "y" * 50_000}
    page = render([run_of([cell(f"case-{index}", "torch", "crashed", crash=crash) for index in range(500)])])
    assert size(page) < 3_500_000


def test_long_values_and_names_are_cut_with_a_note(run_of: Maker) -> None:
    check = {"check": "output", "outcome": "violates", "expected": list(range(100_000)), "message": "m" * 100_000}
    cells = [cell("c" * 100_000 + end, "torch", "violates", checks=[check]) for end in "ab"]
    page = render([run_of(cells)])
    assert size(page) < 120_000
    assert "more characters in the results file]" in page
    assert len({case for case, _, _ in Page(page).marks}) == 2


def test_values_of_any_type_in_any_place_make_a_page(run_of: Maker) -> None:
    odd: list[Any] = [None, True, -1, 1.5, "text", [], [1], {}, {"a": 1}, 10**400]
    keys = ("checks", "crash", "reason", "row", "question", "why", "source", "seconds", "device")
    cells = [
        cell(f"{key}-{index}", "torch", "crashed", **{key: each}) for key in keys for index, each in enumerate(odd)
    ]
    inner = ("check", "margin", "worst", "expected", "message", "raised", "divergence", "facts", "outcome", "reason")
    cells += [
        cell(
            f"check-{key}-{index}", "torch", "violates", checks=[{"check": "output", "outcome": "violates", key: each}]
        )
        for key in inner
        for index, each in enumerate(odd)
    ]
    inside = ("step", "reason", "stderr", "notes")
    cells += [
        cell(f"crash-{key}-{index}", "torch", "crashed", crash={key: each})
        for key in inside
        for index, each in enumerate(odd)
    ]
    page = Page(render([run_of(cells)]))
    assert len(page.marks) == len(cells)


def test_the_page_makes_no_requests(run_of: Maker) -> None:
    page = render([run_of(all_outcomes())])
    root = Page(page).root
    (policy,) = root.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "unsafe-eval" not in policy.attributes["content"]
    assert policy.attributes["content"].count("unsafe-inline") == 1
    assert not [each for each in root.walk() if {"src", "srcset", "action", "data"} & set(each.attributes)]
    assert "url(" not in "".join(STYLES.values())
    assert "@import" not in "".join(STYLES.values())


def test_an_undefined_variable_of_the_template_is_an_error(run_of: Maker) -> None:
    with pytest.raises(UndefinedError):
        filled_by(SOURCE.replace("{{ warning }}", "{{ wraning }}"))([run_of([], complete=None)], "")
