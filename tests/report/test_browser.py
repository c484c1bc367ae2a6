"""Pages in Chromium, from their files and without a network: nothing on the console, nothing wider than the window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freezeplan.report.page import report_html
from freezeplan.report.reading import read_report
from tests.report.browser import LOW_CONTRAST, OUTSIDE, Browser, browser, missing

REASON = missing()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module")
def page(strange: Path, measured: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a page of everything, with strange names."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    checkpoint = next((strange / "checkpoints").iterdir())
    file.write_text(report_html(read_report([strange, checkpoint, *measured]), "0"), "utf-8")
    return file


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_fits_the_window_and_says_nothing_on_the_console(
    window: Browser, page: Path, width: int, dark: bool
) -> None:
    window.open(page, width, dark=dark)
    assert window.run("return document.querySelectorAll('h2').length") == 5
    assert window.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    assert window.run(OUTSIDE) == []
    assert window.run(LOW_CONTRAST) == []
    assert window.messages() == []


def test_what_is_folded_away_is_printed(window: Browser, page: Path) -> None:
    window.open(page, 700, dark=True, media="print")
    folded = "return document.querySelector('details table').getBoundingClientRect().height > 20"
    assert window.run(folded)
    assert window.run("return getComputedStyle(document.body).color") == "rgb(23, 32, 42)"


def test_the_first_stop_of_the_keyboard_leads_past_the_links(window: Browser, page: Path) -> None:
    window.open(page, 360)
    first = (
        "const all = document.querySelectorAll('a, summary, [tabindex=\"0\"]'); all[0].focus(); return all[0]"
    )
    seen = f"{first}.getBoundingClientRect().left >= 0"
    assert window.run(seen)
    assert window.run(f"{first}.getAttribute('href')") == "#main"
