"""The pages of the site, written from notebooks, tables and records."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from shutil import copytree, rmtree

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...metrics import METRICS
from ..reproduce import ROOT, SCALES
from . import examples, results
from .notebooks import TEMPLATES, converted, heading, markdown, opening, page_of, plain

LIMIT = 10  # MB, of the site
STATIC = Path(__file__).with_name("static")
ROW = r"\| \[[^\]]*\]\(notebooks/{}\) \| ([^|]*) \|"  # of a notebook in the README's table


def build(figures: Path, notebooks: Path, to: Path, log: Callable[[str], None] = print) -> None:
    """Write the site into a folder, in the place of any there. figures: has a folder for each scale, with its tables
    and records; notebooks: the main ones, and below it the exercises.

    Raises ValueError where no scale has records, a table is not as it should be, or the site is larger than LIMIT.
    """
    recordings = [results.Recording(scale, figures / scale / "records") for scale in SCALES
                  if (figures / scale / "records" / "records.json").is_file()]
    if not recordings:
        raise ValueError(f"{figures} holds no records of any scale; ./reproduce.sh record writes them")
    folders = [figures / scale for scale in SCALES]
    rmtree(to, ignore_errors=True)
    copytree(STATIC, to / "static")
    write = _writer(to)

    main, exercises = (_listed(notebooks, pattern) for pattern in ("*.ipynb", "exercises/*.ipynb"))
    sources = [*main, *exercises]
    for n, source in enumerate(sources):
        page = converted(notebooks / source, source, sources)
        for name, content in page.files.items():
            path = (to / page.path).parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        write("notebook.html", page.path, page=page, before=sources[n - 1] if n else None,
              after=sources[n + 1] if n + 1 < len(sources) else None)

    scorecards = {folder.name: claims for folder in folders if (claims := results.scorecard(folder))}
    rows = [{"scale": recording.name} | row for recording in recordings for row in results.compared(recording)]
    write("index.html", "index.html", lead=_lead(), main=main, exercises=exercises,
          scorecards=scorecards)
    write("scorecard.html", "scorecard.html", scorecards=scorecards)
    write("compare.html", "compare.html", rows=rows, names=results.NAMES, ks=results.KS, meaning=_meanings())
    write("explore.html", "explore.html", dim=examples.DIM, **_figures(recordings, folders))

    size = sum(path.stat().st_size for path in to.rglob("*") if path.is_file()) / 1e6
    if size > LIMIT:
        raise ValueError(f"the site takes {size:.1f} MB, and at most {LIMIT} are meant: look for large figures in the "
                         "notebooks")
    log(f"site         {len(sources)} notebooks, {len(rows)} rows of {', '.join(r.name for r in recordings)}, "
        f"{size:.1f} MB in {to}")


def _writer(to: Path) -> Callable:
    """write(template, path, **values): a page of the site."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"page": page_of, "embedded": embedded, "slug": slug,
                            "markdown": lambda text: Markup(markdown(text)),
                            "minus": lambda text: text.replace("-", "−")}

    def write(template: str, path: str, **values) -> None:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        text = environment.get_template(template).render(root="../" * path.count("/"), here=path, **values)
        (to / path).write_text(text, encoding="utf-8")

    return write


def embedded(value) -> Markup:
    """A value as JSON within a script element, which no "</script>" in it can end."""
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))


def slug(*names: str) -> str:
    """An id made of names."""
    return re.sub(r"\W+", "-", " ".join(names)).strip("-").lower()


def _listed(notebooks: Path, pattern: str) -> dict[str, dict]:
    """Path below notebooks/ → the notebook's title and what it asks: the README's word, else its own first sentence."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {}
    for path in sorted(notebooks.glob(pattern)):
        notebook, source = nbformat.read(path, as_version=4), path.relative_to(notebooks).as_posix()
        asks = re.search(ROW.format(re.escape(source)), readme)
        number, mark, title = plain(heading(notebook)).partition(" · ")
        found[source] = {"number": number.split()[-1] if mark else "", "title": title or number,
                         "asks": asks[1] if asks else plain(opening(notebook))}
    return found


def _lead() -> str:
    """What the project is: the README's first paragraph."""
    return (ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")[1]


def _meanings() -> dict[str, str]:
    """Metric → what it is: the first sentence of its docstring."""
    return {name: " ".join(METRICS[name].__doc__.split()).partition(": [")[0].partition(", [")[0]
            for name in results.NAMES}


def _figures(recordings: Iterable[results.Recording], folders: Iterable[Path]) -> dict:
    """What the sliders move over: "labels" and "draws", {"measured": sweeps on each scale, "example"}, and "sizes",
    name → rows; each None where there is nothing of it."""
    labels, draws = ([found for recording in recordings if (found := of(recording))]
                     for of in (results.labels, results.draws))
    sizes = {f"{folder.name}: {name}": rows for folder in folders for name, rows in results.sizes(folder).items()}
    return {
        "labels": labels and {"measured": labels, "example": examples.labels(_stops(labels, "γ"), _stops(labels, "τ"))},
        "draws": draws and {"measured": draws, "example": examples.draws(_stops(draws, "K"), _stops(draws, "μ"))},
        "sizes": sizes}


def _stops(measured: list[dict], symbol: str) -> list[float]:
    """Every value of a setting that has been swept."""
    return sorted({point["x"] for one in measured for points in one["sweeps"].values() for point in points[symbol]})
