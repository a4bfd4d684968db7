"""Notebooks as pages, by nbconvert: nothing is executed, mathematics becomes MathML, links lead to pages."""

import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

TEMPLATES = Path(__file__).with_name("templates")
HEADING = re.compile(r'<h2 id="([^"]*)">(.*?)<a class="anchor-link"', re.DOTALL)
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
# What latex2mathml does not know behind \bigl and its kin
DELIMITERS = {r"\lVert": "‖", r"\rVert": "‖", r"\lfloor": "⌊", r"\rfloor": "⌋"}
SENTENCE = re.compile(r".+?[.?!](?=\s|$)", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A notebook as HTML. path: of the page in the site; title: its heading; headings: id → text of the
    sections, in HTML; body: the cells; files: name → content of its figures, in the folder of the page."""

    path: str
    title: str
    headings: dict[str, str]
    body: str
    files: dict[str, bytes] = field(repr=False)


def page_of(source: str) -> str:
    """The page of a notebook by its path below notebooks/: "exercises/01_bpr.ipynb" → "exercises/01_bpr.html"."""
    return str(Path(source).with_suffix(".html").as_posix())


def target(url: str, source: str, sources: Collection[str]) -> str | None:
    """Where a link of a notebook leads in the site: a page, a place in it, or an address elsewhere; None for a file
    that is not in the site."""
    path, mark, place = url.partition("#")
    if re.match(r"[a-z]+:", url) or not path:
        return url
    linked = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    return page_of(path) + mark + place if linked in sources else None


def mathml(latex: str, display: str = "inline") -> str:
    """LaTeX as MathML, which browsers draw by themselves."""
    for name, sign in DELIMITERS.items():
        latex = latex.replace(name, sign)
    return convert(latex, display=display)


class Renderer(IPythonRenderer):
    """Markdown of one notebook."""

    def __init__(self, source: str, sources: Collection[str]):
        super().__init__(escape=True, anchor_link_text="#")
        self.source, self.sources = source, sources

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return f'<span class="maths" tabindex="0">{mathml(body, display="block")}</span>'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        to = target(url, self.source, self.sources)
        return text if to is None else super().link(text, to, title)


class Exporter(HTMLExporter):
    """HTML of the cells of one notebook, without the page around them."""

    def __init__(self, source: str, sources: Collection[str]):
        super().__init__(template_name="cells", extra_template_basedirs=[str(TEMPLATES)],
                         preprocessors=["nbconvert.preprocessors.ExtractOutputPreprocessor"])
        self.source, self.sources = source, sources

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        return markdown(source, self.source, self.sources)


def markdown(text: str, source: str = "", sources: Collection[str] = ()) -> str:
    """Markdown as HTML, its links read as those of the notebook ``source``."""
    return MarkdownWithMath(renderer=Renderer(source, sources)).render(text)


def plain(text: str) -> str:
    """Markdown without its marks, in one line: for what is read aloud."""
    without = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"[*_`$]|\\(?=\W)", "", without).split())


def heading(notebook: NotebookNode) -> str:
    """The first heading of a notebook, Markdown."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]


def opening(notebook: NotebookNode) -> str:
    """The first sentence below the heading, Markdown."""
    return SENTENCE.match(notebook.cells[0].source.split("\n", 1)[1].strip())[0]


def described(notebook: NotebookNode) -> NotebookNode:
    """The notebook, its figures with a text for who does not see them: the caption below, in italics, else the heading
    that they stand under."""
    under = heading(notebook)
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None]):
        if cell.cell_type == "markdown":
            under = ([under] + re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE))[-1]
            continue
        caption = after and after.cell_type == "markdown" and re.match(r"\*[^*].*?(?=\n\n|\Z)", after.source, re.DOTALL)
        for output in cell.get("outputs", ()):
            if any(kind.startswith("image/") for kind in output.get("data", {})):
                output.metadata.setdefault("alt", plain(caption[0] if caption else f"Figure: {under}"))
                if caption:
                    after.metadata["caption"] = True
    return notebook


def converted(path: Path, source: str, sources: Collection[str]) -> Page:
    """A notebook as a page. source: its path below notebooks/, one of ``sources``, which the site holds."""
    notebook = described(nbformat.read(path, as_version=4))
    stem = path.stem
    body, resources = Exporter(source, sources).from_notebook_node(
        notebook, {"unique_key": stem, "output_files_dir": f"{stem}_files"})
    body = TABLE.sub(r'<div class="scroll" tabindex="0" role="region" aria-label="table">\g<0></div>', body)
    return Page(page_of(source), plain(heading(notebook)), dict(HEADING.findall(body)), body,
                resources.get("outputs", {}))
