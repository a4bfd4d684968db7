"""The site in a browser, at a desk and on a phone: no error, no broken link, and every control does something."""

import pytest
from site_helpers import CHROMIUM, Browser, broken, site  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
SIZES = {"desk": (1280, 800, False), "phone": (390, 844, True)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.mark.parametrize("size", SIZES)
def test_pages_load_without_errors_and_fit(site, browser, size):  # noqa: F811
    pages = sorted(site[0].rglob("*.html"))
    assert len(pages) == 7
    for page in pages:
        browser.goto(page, *SIZES[size])
        assert browser.errors() == [] and browser.fetched() <= {"file", "data"}, page
        assert browser.js("document.documentElement.scrollWidth <= innerWidth"), f"{page} scrolls sideways"
        assert broken(page, browser.js("[...document.links].map(link => link.href)")) == []
        browser.js("Promise.all([...document.images].map(image => (image.loading = 'eager', image.decode())))")


def test_an_error_would_be_seen(tmp_path, browser):
    (tmp_path / "a.html").write_text("<img src='no.png'><script>no()</script><p style='width: 3000px'>a</p>")
    browser.goto(tmp_path / "a.html")
    assert len(browser.errors()) == 2 and not browser.js("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", SIZES)
def test_every_slider_changes_its_figure_and_what_is_said(site, browser, size):  # noqa: F811
    """By the keyboard."""
    browser.goto(site[0] / "explore.html", *SIZES[size])
    n = browser.js("document.querySelectorAll('[type=range]').length")
    assert n == 5
    for i in range(n):
        seen = (f"(input => [input.value, input.getAttribute('aria-valuetext'), ...['.plot', '.readout', 'output'].map("
                f"of => [...input.closest('.explorable').querySelectorAll(of)].map(one => one.innerHTML).join())])"
                f"(document.querySelectorAll('[type=range]')[{i}])")
        browser.js(f"document.querySelectorAll('[type=range]')[{i}].focus()")
        for key, code in (("Home", 36), ("ArrowRight", 39)):
            before = browser.js(seen)
            browser.press(key, code)
        after = browser.js(seen)
        assert all(a != b for a, b in zip(before, after)), (i, before, after)
    assert browser.errors() == []


def test_choosers_change_the_figure(site, browser):  # noqa: F811
    browser.goto(site[0] / "explore.html")
    for box in range(3):
        at = f"document.querySelectorAll('.explorable')[{box}]"
        plots = f"[...{at}.querySelectorAll('.plot')].map(one => one.innerHTML).join()"
        before = browser.js(plots)
        browser.js(f"(select => {{ select.selectedIndex = 1; select.dispatchEvent(new Event('change')); }})"
                   f"({at}.querySelector('[data-chooser=metric] select'))")
        assert browser.js(plots) != before


def test_the_table_is_sorted_by_the_keyboard_and_filtered(site, browser):  # noqa: F811
    browser.goto(site[0] / "compare.html")
    shown = "[...document.querySelectorAll('#compare tbody tr')].filter(row => !row.hidden)"
    headings = "[...document.querySelectorAll('#compare thead th')]"
    column = browser.js(f"{headings}.findIndex(heading => heading.textContent.includes('ndcg'))")
    values = f"{shown}.map(row => Number(row.cells[{column}].dataset.value))"
    unsorted = browser.js(values)
    for order in (True, False):
        browser.js(f"{headings}[{column}].querySelector('button').focus()")
        browser.press("Enter", 13)
        found = browser.js(values)
        assert found == sorted(unsorted, reverse=order) and len({*found}) > 2
        assert browser.js(f"{headings}[{column}].ariaSort") == (
            "descending" if order else "ascending")
    browser.js("document.querySelector('[type=search]').focus()")
    browser.send("Input.insertText", text="un")
    assert {*browser.js(f"{shown}.map(row => row.dataset.method)")} == {"UnKD"}
    best = browser.js("[...document.querySelectorAll('td.best')].length")
    browser.js("(search => { search.value = ''; search.dispatchEvent(new Event('input')); })"
               "(document.querySelector('[type=search]'))")
    assert browser.js("[...document.querySelectorAll('td.best')].length") > best
    browser.js("(k => { k.value = '20'; k.dispatchEvent(new Event('input')); })"
               "(document.querySelector('[data-column=k]'))")
    assert not browser.js(f"{headings}.some(heading => !heading.hidden && heading.textContent.includes('@10'))")
    assert browser.errors() == []


def test_claims_are_filtered_by_verdict(site, browser):  # noqa: F811
    browser.goto(site[0] / "scorecard.html")
    shown = "[...document.querySelectorAll('.claims > li')].filter(claim => !claim.hidden).map(claim => claim.id)"
    assert len(browser.js(shown)) == 3
    browser.js("document.querySelector('[value=fails]').click()")
    assert browser.js(shown) == ["smoke-another"]
    assert browser.js("document.querySelector('.count').textContent") == "1 of 3 claims"


def test_code_can_be_hidden_and_focus_is_visible(site, browser):  # noqa: F811
    browser.goto(site[0] / "01_first.html")
    browser.press("Tab", 9)
    assert browser.js("document.activeElement.className") == "skip"
    browser.js("document.getElementById('code').focus()")
    browser.press("Enter", 13)
    assert browser.js("document.querySelector('.code').offsetHeight") == 0
    assert browser.js("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert browser.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
