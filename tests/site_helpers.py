"""What the tests of the site share: a small site, and a headless Chromium that is driven through two pipes, by the
DevTools protocol."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from records_helpers import recorded_in

from rkd.study.papers import frontier, mkd, unkd
from rkd.study.papers.frontier import Point
from rkd.study.scales import SCALES, Scale
from rkd.study.site.build import build

SCALE = Scale(("synthetic",), seeds=(0, 1), few=(0,), epochs=1, teacher_dim=8, student_dim=3)
LABELS, SWEPT = ("teacher", "none", "unkd", "sld"), ("γ = ", "τ = ", "K = ", "μ = ")
PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==")
CLAIM = 'a <b>bold</b> & "quoted" claim'
SCORECARD = ["claim,dataset,backbone,verdict,difference,low,high,smallest,published,p_holm,seeds,users,decided by,"
             "paper,claim in words,notebook",
             '"a <b>bold</b> & ""quoted"" claim",synthetic,MF,"holds, one seed",0.0200,0.0100,0.0300,0.0100,,0.01,1,9,'
             'recall@10: UnKD above RD,UnKD,it <i>holds</i>,"01_first, code cell 1"',
             'another,synthetic,MF,fails,-0.0200,-0.0300,-0.0100,0.0100,0.0500,0.01,1,9,r,MKD,no,01_first',
             'a third,synthetic,MF,undecided,0.0000,-0.0300,0.0300,0.0100,,1.0,1,9,r,MKD,who knows,01_first']


def groups_of() -> dict:
    """The recorded groups of the two studies that have sliders."""
    every = unkd.ablations(SCALE, SCALE.datasets).groups | mkd.sld(SCALE, SCALE.datasets).groups
    return {label: runs for label, runs in every.items() if label in LABELS or label.startswith(SWEPT)}


def sizes_table() -> pd.DataFrame:
    """Notebook 9's table, of points made by hand: of two students the larger is no better, of two cuts it is."""
    made = [("SLD", "distilled", 40, 0.3), ("SLD, 4 bits", "distilled, rounded", 9.5, 0.3),
            ("cut to 10", "cut", 40, 0.2), ("cut to 5", "cut", 20, 0.1), ("iALS", "no teacher", 40, 0.25)]
    return frontier.table(Point(label, kind, n_bytes, 0.0, {
        metric: pd.DataFrame([[value], [value + 0.02]]) for metric in frontier.METRICS})
        for label, kind, n_bytes, value in made)


def write_notebooks(folder: Path) -> None:
    """Two notebooks and an exercise, with outputs, links and awkward characters."""
    drawn = new_output("display_data", {"image/png": b64encode(PNG).decode(), "text/plain": "<Figure>"})
    table = new_output("execute_result", {"text/plain": "1", "text/html": "<table><thead><tr><th>a</th></tr></thead>"
                                                                          "<tr><td>1</td></tr></table>"})
    first = new_notebook(cells=[
        new_markdown_cell("# 1 · Does <it> & \"that\" hold?\n\nA first sentence. [Next](02_second.ipynb#Part-two), "
                          "[an exercise](exercises/01_task.ipynb), [the code](../rkd/run.py), "
                          "[paper](https://example.org/x)."),
        new_markdown_cell("## Part one\n\nIf $\\lambda_2 < 1$ then "
                          "$$\\frac{1}{2}\\sum_{i} \\bigl\\lVert e_i \\bigr\\rVert^2 .$$"),
        new_code_cell("raise SystemExit  # <never> executed",
                      outputs=[drawn, new_output("stream", text="<b>1</b> & 2\n")]),
        new_markdown_cell("*Left: what is **drawn**, by $x$.*\n\nMore."),
        new_code_cell("table", outputs=[table, drawn])])
    second, task = (new_notebook(cells=[*map(new_markdown_cell, texts)]) for texts in (
        ("# 2 · The second\n\nIt is short.", "## Part two"),
        ("# Exercise 1 · A task\n\n**You will learn** it. [Back](../01_first.ipynb)",)))
    (folder / "exercises").mkdir(parents=True)
    for name, notebook in (("01_first", first), ("02_second", second), ("exercises/01_task", task)):
        nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(its folder; label → results behind it): two notebooks, an exercise, a scorecard, sizes, and records."""
    made, groups = tmp_path_factory.mktemp("site"), groups_of()
    runs = [run for group in groups.values() for run in group]
    results, records = recorded_in(made, list(dict.fromkeys(runs)))
    of = {result.run: result for result in results}
    scale = made / "figures" / "smoke"
    scale.mkdir(parents=True)
    records.rename(scale / "records")
    (scale / "scorecard.csv").write_text("\n".join(SCORECARD) + "\n")
    (scale / "bytes.csv").write_text(sizes_table().rename_axis("model").assign(dataset="synthetic").to_csv())
    write_notebooks(made / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCALES, "smoke", SCALE)
        build(made / "figures", made / "notebooks", made / "site", log=lambda line: None)
    return made / "site", {label: [of[run] for run in runs] for label, runs in groups.items()}


class Elements(HTMLParser):
    """(tag, attributes) of all elements of a page, and the text within each script and title."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.all, self.texts, self.inside = path, [], [], None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        self.texts.append((self.inside, data))

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.all if attributes.get(name) is not None]

    def scripts(self) -> list[str]:
        return [text for tag, text in self.texts if tag == "script"]


def broken(page: Path, links) -> list[str]:
    """The links of a page, relative or file:, that lead to no file, or to no place in it."""
    wrong = []
    for link in links:
        path, place = urldefrag(link)
        parsed = urlparse(path)
        if parsed.scheme not in ("", "file"):
            continue
        at = (page.parent / unquote(parsed.path)).resolve() if parsed.path else page
        if not at.is_file() or (place and not {place, unquote(place)} & {*Elements(at).values("id")}):
            wrong.append(link)
    return wrong


class Browser:
    """A headless Chromium with one page; ``events`` has what it said since ``goto``."""

    def __init__(self, program: str, folder: Path):
        read, self.write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in os.pipe())
        self.read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in os.pipe())
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
                 f"--user-data-dir={folder}", "--no-first-run", "about:blank")
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "-", program, *flags],
                                        pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.buffer, self.count, self.events, self.session = b"", 0, [], {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params) -> dict:
        """A command's result; raises RuntimeError for what the browser refuses."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params} | self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (reply := self.next()).get("id") != self.count:
            self.events.append(reply)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def next(self, seconds: float = 120) -> dict:
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], seconds)[0] or not (more := os.read(self.read, 1 << 20)):
                raise TimeoutError("Chromium does not answer")
            self.buffer += more
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def goto(self, path: Path, width: int = 1280, height: int = 800, mobile: bool = False) -> None:
        """Open a page, and wait until it is loaded and drawn."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.send("Page.navigate", url="about:blank")
        self.events = []
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next())
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def js(self, expression: str):
        """The value of an expression in the page; raises RuntimeError where it fails."""
        reply = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(f"{expression}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key as if it were pressed; code: its number in Windows' count."""
        text = {"Enter": "\r", " ": " "}.get(key)
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                      **({"text": text} if text and kind == "keyDown" else {}))

    def errors(self) -> list:
        """What a console would show in red since ``goto``."""
        return [event["params"] for event in self.events if event.get("method") == "Runtime.exceptionThrown"
                or event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "assert")
                or event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error"]

    def fetched(self) -> set[str]:
        """The kinds of addresses asked for since ``goto``: "file", "data", "https", …"""
        return {urlparse(event["params"]["request"]["url"]).scheme for event in self.events
                if event.get("method") == "Network.requestWillBeSent"}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read)
        os.close(self.write)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
