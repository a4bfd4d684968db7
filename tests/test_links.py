"""Links between notebooks, exercises and solutions: each leads somewhere, and those between notebooks and exercises
lead both ways."""

import re
from urllib.parse import unquote

import nbformat
import pytest

from rkd.study.reproduce import ROOT

FOLDER = ROOT / "notebooks"
LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|href)=[\"']([^\"']+)")
WITH_LINKS = sorted(path for part in ("*", "exercises/*", "solutions/*") for path in FOLDER.glob(f"{part}.ipynb"))
FENCED = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def texts(path) -> list[str]:
    """A notebook's markdown cells, without code in them."""
    cells = nbformat.read(path, as_version=4).cells
    return [FENCED.sub("", cell.source) for cell in cells if cell.cell_type == "markdown"]


def local(text: str) -> list[tuple[str, str]]:
    """The links of a text to files here, and the headings after their #: "" for none, and for this file."""
    found = [unquote(plain or html) for plain, html in LINK.findall(text)]
    return [tuple(link.partition("#")[::2]) for link in found if not re.match(r"[a-z]+:", link)]


def headings(path) -> set[str]:
    """What Jupyter calls the headings of a notebook."""
    return {line.lstrip("#").strip().replace(" ", "-") for text in texts(path) for line in text.splitlines()
            if re.match("#{1,6} ", line)}


def linked(path, folder) -> set[str]:
    """The names of the notebooks of a folder that a notebook links to."""
    found = {(path.parent / link).resolve() for text in texts(path) for link, _ in local(text) if link}
    return {one.name for one in found if one.parent == folder and one.suffix == ".ipynb"}


@pytest.mark.parametrize("path", WITH_LINKS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_links_lead_somewhere(path):
    lost = []
    for link, heading in (one for text in texts(path) for one in local(text)):
        target = (path.parent / link).resolve() if link else path
        known = target.exists() and target.is_relative_to(ROOT)
        if not known or heading and target.suffix == ".ipynb" and heading not in headings(target):
            lost.append(f"{link}#{heading}" if heading else link)
    assert not lost


def test_notebooks_and_exercises_link_to_each_other():
    """Each exercise to the notebooks that it belongs to, these to it, and no notebook but the scorecard is without."""
    notebooks, exercises = FOLDER, FOLDER / "exercises"
    there = {(path.name, name) for path in notebooks.glob("*.ipynb") for name in linked(path, exercises)}
    back = {(name, path.name) for path in exercises.glob("*.ipynb") for name in linked(path, notebooks)}
    assert there == back
    assert {exercise for _, exercise in back} == {path.name for path in exercises.glob("*.ipynb")}
    assert {path.name for path in notebooks.glob("*.ipynb")} - {name for name, _ in there} == {"10_scorecard.ipynb"}


def test_links_are_found():
    assert local('[a](b.ipynb#C-d) ![e](../f%20g.png "h") <img src="i.png"> [j](https://k/l) [m](#n)') == [
        ("b.ipynb", "C-d"), ("../f g.png", ""), ("i.png", ""), ("", "n")]
