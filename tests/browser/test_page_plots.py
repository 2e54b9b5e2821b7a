"""Plots show the numbers of the files: each length is read back by the ticks of the axis beside it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from conformance.report import write
from tests.support.browser import Opener
from tests.support.pages import HISTORY, OUTPUT, Maker, cell

MARGINS = {"torch": [0.125, 0.25, 0.375, 0.4375, 0.5, 0.96, 7.5], "keras-jax": [0.75]}
Scale = Callable[[float], float]


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    cells = [
        cell(f"case-{index}", name, "conforms", checks=[{**OUTPUT, "margin": margin}])
        for name, margins in MARGINS.items()
        for index, margin in enumerate(margins)
    ]
    write([Maker(tmp_path)(cells)], tmp_path / "x.html", history=HISTORY)
    opener = Opener(browser)
    yield opener(tmp_path / "x.html", "#/numerics")
    opener.close()


def numbers(text: str | None) -> list[float]:
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", text or "")]


def number(part: Locator, name: str) -> float:
    (found,) = numbers(part.get_attribute(name))
    return found


def scale(plot: Locator, axis: int) -> Scale:
    """Return what turns a place, in px from the left (axis 0) or from above (axis 1), into a number of that axis."""
    along = "y2" if axis == 0 else "x2"
    ticks = plot.locator(f"g:has(> line[{along}])").filter(has_text=re.compile(r"^[\d.,]+$")).all()
    places = [numbers(each.get_attribute("transform"))[axis] for each in ticks]
    (first, *_, last) = (float((each.text_content() or "").replace(",", "")) for each in ticks)
    return lambda place: first + (place - places[0]) * (last - first) / (places[-1] - places[0])


def plot(page: Page, title: str) -> Locator:
    found = page.locator(f"svg[aria-label^='{title}']")
    assert found.count() == 1
    return found


def test_a_box_has_the_quartiles_and_the_whiskers_of_the_margins(page: Page) -> None:
    svg = plot(page, "float32: margins")
    value = scale(svg, 0)
    labels = [each for each in svg.locator("text").all_text_contents() if each.endswith("/cpu")]
    assert labels == [f"{name}/cpu" for name in sorted(MARGINS)]
    for name, box in zip(sorted(MARGINS), svg.locator(".box").all(), strict=True):
        margins = [min(1, each) for each in MARGINS[name]]
        lower, median, upper = statistics.quantiles(margins, n=4, method="inclusive") if margins[1:] else margins * 3
        reach = 1.5 * (upper - lower)
        near = [each for each in margins if lower - reach <= each <= upper + reach]
        rect, whisker = box.locator("rect"), box.locator("line").first
        left = number(rect, "x")
        assert value(left) == pytest.approx(lower)
        assert value(left + number(rect, "width")) == pytest.approx(upper)
        assert value(number(box.locator(".median"), "x1")) == pytest.approx(median)
        assert [value(number(whisker, "x1")), value(number(whisker, "x2"))] == pytest.approx([min(near), max(near)])
        beyond = [value(number(each, "cx")) for each in box.locator("circle").all()]
        assert beyond == pytest.approx([each for each in margins if each not in near])
    assert value(number(svg.locator(".limit"), "x1")) == pytest.approx(1)


def layers(svg: Locator) -> dict[str, list[list[float]]]:
    """Return by outcome the lower and the upper end of each night's bar, in cells."""
    value = scale(svg, 1)
    found = {}
    for group in svg.locator("g:has(> rect)").all():
        rects = group.locator("rect").all()
        ends = [(number(each, "y") + number(each, "height"), number(each, "y")) for each in rects]
        found[(group.get_attribute("fill") or "")[6:-1]] = [[value(low), value(high)] for low, high in ends]
    return found


def test_bars_are_the_counts_one_outcome_on_the_other(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#/history")
    failed, conforming = ([night.counts[kind] for night in HISTORY.nights] for kind in ("violates", "conforms"))
    found = layers(plot(page, "Cells by outcome"))
    assert list(found) == ["violates", "conforms"]
    assert found["violates"] == [pytest.approx([0, each], abs=1e-6) for each in failed]
    assert found["conforms"] == [
        pytest.approx([below, below + each]) for below, each in zip(failed, conforming, strict=True)
    ]
    loud = layers(plot(page, "Of these"))
    assert loud == {"violates": [pytest.approx([0, each], abs=1e-6) for each in failed]}
    legend = page.locator("#night-plots .legend").first.locator("span").all_inner_texts()
    assert legend == ["violates", "conforms"]


def trend(name: str, key: str) -> Sequence[float | None]:
    (found,) = (each for each in HISTORY.margins if each.implementation == name)
    return found.medians if key == "medians" else found.maxima


@pytest.mark.parametrize(("title", "key"), [("medians", "medians"), ("largest margins", "maxima")])
def test_lines_are_the_margins_with_a_gap_where_there_is_none(page: Page, title: str, key: str) -> None:
    page.goto(page.url.split("#")[0] + "#/history")
    svg = plot(page, f"float32: {title}")
    value = scale(svg, 1)
    legend = svg.locator("xpath=../p/span").all_inner_texts()
    assert legend == ["flax-nnx", "torch"]
    lines, dots = svg.locator("path").all(), svg.locator("g:has(> circle)").all()
    colours = [each.get_attribute("fill") for each in svg.locator("xpath=../p/span//*[local-name()='rect']").all()]
    assert [each.get_attribute("stroke") for each in lines] == colours
    assert [each.get_attribute("fill") for each in dots] == colours
    assert len(set(colours)) == 2
    for name, line, some in zip(legend, lines, dots, strict=True):
        margins = trend(name, key)
        finite = [each for each in margins if each is not None]
        heights = numbers(line.get_attribute("d"))[1::2]
        assert [value(each) for each in heights] == pytest.approx(finite, abs=1e-4)
        assert (line.get_attribute("d") or "").count("M") == 1 + margins.count(None)
        assert [value(number(each, "cy")) for each in some.locator("circle").all()] == pytest.approx(finite)
        titles = some.locator("title").all_text_contents()
        days = [day for day, each in enumerate(margins, 1) if each is not None]
        assert [each.split(": ")[0] for each in titles] == [f"{name}, 2026-01-{day:02d}" for day in days]
        assert [float(each.split(": ")[1]) for each in titles] == pytest.approx(finite, abs=0.005)
