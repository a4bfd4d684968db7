"""The site: every link leads somewhere, nothing comes from elsewhere, and what its tables and sliders show is what the
records say."""

import json
import re
import shutil
from math import exp, sqrt

import nbformat
import pytest
from site_helpers import CLAIM, PNG, Elements, broken, site, write_notebooks  # noqa: F401 (a fixture)

from rkd import popular_items
from rkd.datasets.synthetic import world
from rkd.study.papers import frontier
from rkd.study.reproduce import ROOT
from rkd.study.site import build as building
from rkd.study.site import examples, results
from rkd.study.site.__main__ import main
from rkd.study.site.build import build
from rkd.study.site.notebooks import converted, described, plain, target


@pytest.fixture
def pages(site):  # noqa: F811
    return {path.relative_to(site[0]).as_posix(): Elements(path) for path in site[0].rglob("*.html")}


def data_of(pages, n: int):
    """What is embedded in the n-th script of the figures' page."""
    return json.loads(pages["explore.html"].scripts()[n])


# -------------------------------------------------------------------------------------------------------------- pages

def test_every_link_leads_somewhere(pages):
    assert len(pages) == 7
    for page in pages.values():
        assert broken(page.path, page.values("href") + page.values("src")) == []


def test_a_link_to_nowhere_would_be_found(pages, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<a href="no.html">a</a> <a href="#no">b</a> <a id="yes" href="#yes">c</a>')
    assert broken(page, Elements(page).values("href")) == ["no.html", "#no"]


def test_nothing_is_fetched_from_elsewhere(site, pages):  # noqa: F811
    for page in pages.values():
        for tag, attributes in page.all:
            address = attributes.get("src") or (attributes.get("href") if tag != "a" else None) or ""
            assert not re.match(r"(\w+:)?//", address), (page.path, tag, address)
    for path in (site[0] / "static").iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, which nobody fetches
        assert not re.search(r"url\(|@import|https?://|fetch\(|import ", text), path


def test_ids_are_unique_and_nothing_breaks_out_of_its_text(pages):
    for name, page in pages.items():
        ids = page.values("id")
        assert len(ids) == len({*ids}) and not any(re.search(r"\s", one) for one in ids), name
    assert not {"b", "i", "it", "never"} & {tag for tag, _ in pages["01_first.html"].all}
    assert "i" not in {tag for tag, _ in pages["scorecard.html"].all}
    texts = "".join(text for _, text in pages["scorecard.html"].texts)
    assert CLAIM in texts and "It <i>holds</i>." in texts
    assert 'Does <it> & "that" hold?' in "".join(text for _, text in pages["index.html"].texts)
    assert "<b>1</b> & 2" in "".join(text for _, text in pages["01_first.html"].texts)


def test_every_page_has_a_title_a_language_and_named_controls(pages):
    for name, page in pages.items():
        assert ("html", {"lang": "en"}) in page.all and [tag for tag, _ in page.all].count("h1") == 1, name
        assert any(tag == "title" and text.strip() for tag, text in page.texts)
        for tag, attributes in page.all:
            if tag == "img":
                assert attributes["alt"].strip(), name
        text = page.path.read_text()
        inside = re.findall(r"<label.*?</label>", text, re.DOTALL)
        for control in re.findall(r"<(?:input|select)\b", text):
            assert sum(each.count(control) for each in inside) == text.count(control), name


def test_an_embedded_value_cannot_end_its_script():
    value = {"a": "</script><script>alert(1)</script>"}
    assert "<" not in building.embedded(value) and json.loads(building.embedded(value)) == value
    with pytest.raises(ValueError):
        building.embedded(float("nan"))


# ---------------------------------------------------------------------------------------------------------- notebooks

def test_a_notebook_is_a_page(site, pages):  # noqa: F811
    text = (site[0] / "01_first.html").read_text()
    assert text.count("<math") == 3 and "$" not in re.sub(r"<script.*?</script>", "", text)
    assert '<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>' in text
    assert [attributes["alt"] for tag, attributes in pages["01_first.html"].all if tag == "img"] == [
        "Left: what is drawn, by x.", "Figure: Part one"]
    for source in pages["01_first.html"].values("src"):
        if source.endswith(".png"):
            assert (site[0] / source).read_bytes() == PNG
    links = pages["01_first.html"].values("href")
    assert {"02_second.html#Part-two", "exercises/01_task.html", "https://example.org/x"} <= {*links}
    assert "the code" in text and "run.py" not in text  # a file that is not in the site: its words alone
    assert pages["exercises/01_task.html"].values("href").count("../01_first.html") >= 1
    assert "raise" in text and re.search(r'<div class="scroll"[^>]*><table><thead><tr><th>a</th>', text)


@pytest.mark.parametrize("url, source, expected", [
    ("02_b.ipynb", "01_a.ipynb", "02_b.html"), ("../01_a.ipynb#X", "exercises/e.ipynb", "../01_a.html#X"),
    ("#here", "01_a.ipynb", "#here"), ("https://a.org/b.ipynb", "01_a.ipynb", "https://a.org/b.ipynb"),
    ("../README.md", "01_a.ipynb", None), ("b.ipynb", "01_a.ipynb", None)])
def test_where_links_lead(url, source, expected):
    assert target(url, source, ["01_a.ipynb", "02_b.ipynb", "exercises/e.ipynb"]) == expected


def test_plain_words_of_markdown():
    assert plain("*A* **b** [c](d.ipynb) `e_f` $\\lambda_2$\n g") == "A b c ef \\lambda2 g"


def test_the_committed_notebooks_can_be_converted():
    """All mathematics in them becomes MathML: no command is left over as text."""
    sources = [path.relative_to(ROOT / "notebooks").as_posix() for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    page = converted(ROOT / "notebooks" / sources[0], sources[0], sources)
    maths = re.findall(r"<math.*?</math>", page.body, re.DOTALL)
    assert len(maths) > 20 and not [m for m in maths if re.search(r"\\[a-zA-Z]+", m)]
    assert page.headings


def test_figures_without_a_caption_are_called_by_their_section(tmp_path):
    write_notebooks(tmp_path / "notebooks")
    notebook = described(nbformat.read(tmp_path / "notebooks" / "01_first.ipynb", 4))
    assert notebook.cells[-1].outputs[1].metadata.alt == "Figure: Part one"


# ------------------------------------------------------------------------------------------------------------ results

def test_the_table_says_what_the_runs_gave(site):  # noqa: F811
    folder, of = site
    rows = re.findall(r"<tr data-data.*?</tr>", (folder / "compare.html").read_text(), re.DOTALL)
    methods = [re.search(r'data-method="([^"]*)"', row)[1] for row in rows]
    assert sorted(methods) == ["SLD", "Student", "Teacher", "UnKD"]
    for label, name in (("unkd", "UnKD"), ("teacher", "Teacher")):
        a, b = (result.metrics["recall@10"] for result in of[label])
        reach = 12.7062047364 * abs(a - b) / sqrt(2) / sqrt(2)  # Student's t of one degree of freedom, 97.5 %
        cell = f'data-value="{(a + b) / 2}">{(a + b) / 2:.4f}<small>±{reach:.4f}</small>'
        assert cell in next(row for row in rows if f'data-method="{name}"' in row and "accuracy" in row)
    assert sum("data-teaches" in row for row in rows) == 1


@pytest.mark.parametrize("n, symbol", [(0, "γ"), (0, "τ"), (1, "K"), (1, "μ")])
def test_sliders_move_over_the_runs(pages, site, n, symbol):  # noqa: F811
    measured, = data_of(pages, n)["measured"]
    points = measured["sweeps"]["ndcg@10"][symbol]
    labels = {label: runs for label, runs in site[1].items() if label.startswith(f"{symbol} = ")}
    assert len(points) == len(labels) >= 2
    for label, group in labels.items():
        values = [result.metrics["ndcg@10"] for result in group]
        point, = (point for point in points if point["x"] == float(label.split()[-1]))
        assert point["mean"] == pytest.approx(sum(values) / len(values), abs=1e-12)
        assert (point["low"] is None) == (len(values) == 1)
    assert measured["levels"]["ndcg@10"]["Student"] == pytest.approx(
        sum(result.metrics["ndcg@10"] for result in site[1]["none"]) / 2)
    assert measured["tuned"][symbol] in [point["x"] for point in points]


def test_labels_are_the_softmax_of_the_mixed_scores(pages):
    example = data_of(pages, 0)["example"]
    assert abs(sum(example["teacher"])) < 1e-2 and len(example["labels"]) >= 12
    for key, label in example["labels"].items():
        gamma, tau = map(float, key.split())
        mixed = [exp((gamma * t + (1 - gamma) * s) / tau) for t, s in zip(example["teacher"], example["student"])]
        assert label == pytest.approx([x / sum(mixed) for x in mixed], rel=2e-2, abs=1e-6)
    assert max(example["labels"]["1 0.25"]) > max(example["labels"]["1 1"])


def test_pairs_are_of_one_group_and_in_the_teachers_order():
    found = examples.draws([1.0, 4.0], [5.0, 20.0])
    truth = world(seed=0)
    counts, scores = truth.split.train.item_counts, (truth.affinity + truth.effect)[examples.USER]
    unseen = [i for i in range(300) if i not in truth.split.train.items[truth.split.train.users == examples.USER]]
    assert found["popularity"] == [int(counts[i]) for i in unseen]
    assert found["scores"] == pytest.approx([float(scores[i]) for i in unseen], rel=1e-3)
    edges = found["edges"]["4"]
    assert len(edges) == 3 and edges == sorted(edges, reverse=True) and found["edges"]["1"] == []
    assert int(counts[popular_items(counts)].min()) == examples.draws([2.0], [5.0])["edges"]["2"][0]
    for key, n in (("1 20", 30), ("4 20", 28)):
        pairs = found["draws"][key]["pairs"]
        assert len(pairs) == n and all(found["scores"][a] > found["scores"][b] for a, b in pairs)
    pairs = [[found["popularity"][i] for i in pair] for pair in found["draws"]["4 20"]["pairs"]]
    groups = [[sum(count > edge for edge in edges) for count in pair] for pair in pairs if not {*pair} & {*edges}]
    assert groups and all(better == worse for better, worse in groups)
    assert 0.5 < found["draws"]["4 20"]["popular"] < found["draws"]["1 20"]["popular"]


def test_bytes_are_shown_where_they_were_measured(pages, tmp_path):
    rows = data_of(pages, 2)["smoke: synthetic"]
    steps = {way: [(row["model"], row["bytes"]) for row in rows if row["way"] == way and row["metric"] == "ndcg@10"]
             for way in results.WAYS}
    assert steps == {"the teacher": [], "distilled": [("SLD, 4 bits", 9.5)], "no teacher": [("iALS", 40)],
                     "no training": [("cut to 5", 20), ("cut to 10", 40)]}
    assert {row["metric"] for row in rows} == {*frontier.METRICS} and len(rows) == 2 * 4
    reach = 12.7062047364 * 0.01  # Student's t of one degree of freedom, 97.5 %; of 0.1 and 0.12
    row, = (row for row in rows if row["model"] == "cut to 5" and row["metric"] == "ndcg@10")
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((0.11, 0.11 - reach, 0.11 + reach))
    (tmp_path / "bytes.csv").write_text("model,kind\na,1\n")
    with pytest.raises(ValueError, match="bytes.csv has no column dataset, bytes, ndcg@10, ndcg@10 low, ndcg@10 high"):
        results.sizes(tmp_path)


# ----------------------------------------------------------------------------------------------------- what is refused

@pytest.fixture
def sources(site, tmp_path):  # noqa: F811
    """The same figures, without sizes and scorecard, beside one notebook."""
    shutil.copytree(site[0].parent / "figures", tmp_path / "figures")
    for name in ("bytes.csv", "scorecard.csv"):
        (tmp_path / "figures" / "smoke" / name).unlink()
    write_notebooks(tmp_path / "notebooks")
    return tmp_path


def test_what_is_not_there_is_said(sources):
    build(sources / "figures", sources / "notebooks", sources / "site", log=lambda line: None)
    text = (sources / "site" / "explore.html").read_text()
    assert "are not among those that are committed here" in text and "No sweeps of K and μ are recorded" in text
    assert "No scorecard is committed yet" in (sources / "site" / "scorecard.html").read_text()


def test_a_site_needs_records(sources, capsys):
    shutil.rmtree(sources / "figures" / "smoke")
    assert main(["--figures", str(sources / "figures")]) == 1
    assert "holds no records of any scale" in capsys.readouterr().err


def test_too_large_a_site_is_refused(sources, monkeypatch):
    monkeypatch.setattr(building, "LIMIT", 0.01)
    with pytest.raises(ValueError, match=r"the site takes 0.\d MB, and at most 0.01 are meant"):
        build(sources / "figures", sources / "notebooks", sources / "site")
