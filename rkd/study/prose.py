"""Does each decimal number of the prose stand in the outputs?

Prose is checked where it states results: all that follows a notebook's first code cell, and the README, save headings,
code, formulas, links, numbers of the notebook's own sections ("as in 2.1") and the sections in SETTINGS. Integers are
not looked for. A number is found if an output, rounded to as many decimals, gives it; a percentage also if 100 times an
output does.
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

SETTINGS = {"What differs from the paper", "What is ours", "Try it", "Run it"}  # sections that state no results
NO_RESULT = re.compile(r"`[^`]*`|\$\$.*?\$\$|\$[^$]+\$|\]\([^)]*\)|\b(?:Python|arXiv)[ :]\S+", re.DOTALL)
STATED = re.compile(r"(?<![\w.])(\d+\.\d+)(?!\w|\.\d)(\s*%)?")
PRINTED = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w|\.\d)")


def sentences(source: str) -> list[str]:
    """The sentences of Markdown that may state results."""
    lines, results = [], True
    for line in re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE).splitlines():
        if line.startswith("#"):
            results = line.strip("# ") not in SETTINGS
        elif results:
            lines.append(line)
    return re.split(r"(?<=[.?!])\s+|\n+", NO_RESULT.sub(" ", "\n".join(lines)))


def numbers(texts: Iterable[str]) -> set[Decimal]:
    """All numbers of outputs and tables, without signs."""
    return {Decimal(found) for text in texts for found in PRINTED.findall(text)}


def stands(number: Decimal, percent: bool, outputs: set[Decimal]) -> bool:
    """Does an output, rounded to the number's decimals (a tie either way), give it?"""
    half = Decimal(5).scaleb(number.as_tuple().exponent - 1)
    return any(abs(x * scale - number) <= half for x in outputs for scale in ((1, 100) if percent else (1,)))


def check_prose(where: str, source: str, outputs: set[Decimal], sections: set[str]) -> tuple[list[str], int]:
    """Faults of one text, and how many numbers were looked for. sections: numbers that name a section."""
    stated = [(text, percent, sentence) for sentence in sentences(source) for text, percent in STATED.findall(sentence)
              if percent or text not in sections]
    faults = []
    for text, percent, sentence in stated:
        if not stands(Decimal(text), bool(percent), outputs):
            nearest = min(outputs, key=lambda x: abs(x - Decimal(text)), default="none")
            faults.append(f"{where}: {text}{percent} stands in no output (nearest: {nearest}), "
                          f"in the sentence “{' '.join(sentence.split()[:9])} …”")
    return faults, len(stated)


def output_texts(cell: dict) -> list[str]:
    """What a code cell printed or displayed as text; not the Markdown, which shows code."""
    shown = [output.get("data", {"text/plain": output.get("text", "")}) for output in cell["outputs"]]
    texts = ("".join(data.get(kind, "")) for data in shown for kind in ("text/plain", "text/html"))
    return [re.sub(r"<[^>]*>", " ", text) for text in texts]


def read_texts(paths: Iterable[Path]) -> list[str]:
    """The texts of those files that are there."""
    return [path.read_text(encoding="utf-8") for path in paths if path.exists()]


def check_notebook(path: Path, root: Path, tables: Path) -> tuple[list[str], int]:
    """Faults, and how many numbers were looked for. A number may stand in the notebook's outputs, in the tables it
    saves, and, where a cell links to a file in figures/, in that file and the same tables beside it (of another scale).
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    saved = [name for i in code for name in re.findall(r'"([\w-]+)",\s*SCALE', sources[i])]
    outputs = numbers([text for i in code for text in output_texts(cells[i])])
    outputs |= numbers(read_texts(tables / f"{name}.csv" for name in saved))
    sections = set(re.findall(r"^#+ (\d+\.\d+) ", "\n".join(sources), re.MULTILINE))
    faults, n = [], 0
    for i in sorted(set(range(*code[:1], len(cells))) - set(code)):
        linked = [root / link for link in re.findall(r"\]\(\.\./(figures/[\w./-]+\.(?:csv|md))\)", sources[i])]
        beside = [table for link in linked for name in saved for table in link.parent.glob(f"{name}*.csv")]
        where = f"{path.name}, cell {i} (“{' '.join(sources[i].split()[:6])} …”)"
        found, looked_for = check_prose(where, sources[i], outputs | numbers(read_texts(linked + beside)), sections)
        faults, n = faults + found, n + looked_for
    return faults, n


def check_readme(root: Path, tables: Path) -> tuple[list[str], int]:
    """Faults, and how many numbers were looked for: in all tables of the scale, those of the benchmarks, and the files
    in figures/ that it links to."""
    text = "\n".join(read_texts([root / "README.md"]))
    measured = [root / "figures" / f"{name}.{kind}" for name in ("benchmark", "scaling") for kind in ("csv", "md")]
    linked = [root / link for link in re.findall(r"\]\((figures/[\w./-]+\.(?:csv|md))\)", text)]
    return check_prose("README.md", text, numbers(read_texts([*tables.glob("*.csv"), *measured, *linked])), set())
