"""The pipeline: its command line, how it executes notebooks, and the one list of pins."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Barrier
from time import sleep

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from rkd import reproduce, scales, tables
from rkd.reproduce import NOTEBOOKS, ROOT, ReproduceError, RunLines, check_products, execute, main, plan

PARAMETERS = 'SCALE = "laptop"  # what to train on\nJOBS = None  # processes'


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A function that writes sources/toy.ipynb with a parameters cell and further ones; figures go to tmp_path too."""
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path / "figures"))
    (tmp_path / "sources").mkdir()

    def write(*cells: str, parameters: str = PARAMETERS) -> Path:
        first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = new_notebook(cells=[first, *map(new_code_cell, cells)], metadata={"kernelspec": kernel})
        path = tmp_path / "sources" / "toy.ipynb"
        nbformat.write(notebook, path)
        return path

    return write


def shell(*arguments: str) -> subprocess.CompletedProcess:
    """Run ./reproduce.sh from another folder, with an environment that it cannot take for its own."""
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return subprocess.run(["bash", str(ROOT / "reproduce.sh"), *arguments], cwd="/", env=variables, text=True,
                          capture_output=True, timeout=60)


def test_help_needs_no_environment():
    done = shell("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("--scale", "--only", "--list", "--jobs", "test", "RKD_DATA", "RKD_CACHE", "RKD_FIGURES"):
        assert word in done.stdout


def test_list_needs_no_environment():
    done = shell("--list")
    assert done.returncode == 0 and "environment" not in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == [n for names in NOTEBOOKS.values() for n in names]


@pytest.mark.parametrize("arguments, said", [
    (["--fast"], "unrecognized arguments: --fast; the options are --help, --scale, --only, --list, --jobs\n"),
    (["figures"], "unrecognized arguments: figures"),
    (["--scale", "huge"], "'huge' (choose from 'smoke', 'laptop', 'paper')"),
    (["--only", "unkd-table99"], "'unkd-table99'; the names are unkd-table1, "),
    (["--only", ","], "--list shows them"),
    (["--jobs", "0"], "'0' is not a whole number of at least 1"),
])
def test_mistakes_on_the_command_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    message = capsys.readouterr().err
    assert left.value.code == 2 and said.replace("'", "") in message.replace("'", "") and message.count("\n") == 1


def test_mistakes_are_answered_before_an_environment_is_made():
    done = shell("--scale", "huge")
    assert done.returncode == 2 and done.stdout == "" and "choose from" in done.stderr and "\n" == done.stderr[-1]
    assert done.stderr.count("\n") == 1


def test_plan(monkeypatch):
    monkeypatch.setattr(reproduce, "NOTEBOOKS", {"1.ipynb": ("a", "b"), "2.ipynb": ("c",), "3.ipynb": ("d",)})
    assert plan() == ["1.ipynb", "2.ipynb", "3.ipynb"]
    assert plan(["d", "a", "b"]) == ["1.ipynb", "3.ipynb"]
    with pytest.raises(ReproduceError, match="'e'; the names are a, b, c, d"):
        plan(["c", "e"])


def test_names_are_unique_and_every_notebook_is_planned():
    names = [name for products in NOTEBOOKS.values() for name in products]
    assert len(names) == len(set(names))
    assert {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} <= set(NOTEBOOKS)


def test_only_run_lines_are_passed_on():
    to = io.StringIO()
    lines = RunLines(to)
    for piece in ("ru", "n a 1\nother\nrunning\nrun ", "a 2", "\nrun unfinished"):
        lines.write(piece)
    assert to.getvalue() == "  run a 1\n  run a 2\n"


def test_execute(toy, tmp_path, capsys):
    source = toy('print("run", SCALE, JOBS)\nprint("other")')
    before = source.read_bytes()
    done = execute("toy.ipynb", "smoke", jobs=3, notebooks=source.parent)
    assert done == tmp_path / "figures/smoke/notebooks/toy.ipynb"
    assert "run smoke 3\nother" in nbformat.read(done, as_version=4).cells[-1].outputs[0].text
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("  run smoke 3\n", "")
    assert source.read_bytes() == before and sorted(source.parent.iterdir()) == [source]
    assert sorted(done.parent.iterdir()) == [done]


@pytest.mark.parametrize("last, said", [
    ("\nx = 1\nraise ValueError('no such thing')", r"code cell 3 \(x = 1\): ValueError: no such thing"),
    ("import os; os._exit(1)", r"code cell 3 \(import os; os._exit\(1\)\): DeadKernelError"),
])
def test_failing_notebook(toy, tmp_path, last, said):
    source = toy("print('fine')", last, "print('never')")
    before = source.read_bytes()
    with pytest.raises(ReproduceError, match=r"toy\.ipynb failed in " + said) as caught:
        execute("toy.ipynb", "smoke", notebooks=source.parent)
    partial = tmp_path / "figures/smoke/notebooks/toy.failed.ipynb"
    assert str(partial) in str(caught.value) and sorted(partial.parent.iterdir()) == [partial]
    assert "fine" in partial.read_text() and "never\\n" not in partial.read_text()
    assert source.read_bytes() == before and sorted(source.parent.iterdir()) == [source]


def test_failure_is_told_without_a_traceback(toy, monkeypatch, capsys):
    source = toy("1 / 0")
    monkeypatch.setattr(reproduce, "NOTEBOOKS", {"toy.ipynb": ("a",)})
    monkeypatch.setattr(execute, "__defaults__", (None, source.parent))
    assert main(["--scale", "smoke"]) == 1
    said = capsys.readouterr().err
    assert "code cell 2 (1 / 0): ZeroDivisionError: division by zero" in said and "Traceback" not in said


def test_unknown_parameter(toy, tmp_path):
    source = toy(parameters="SCALE = 'laptop'  # what to train on")
    with pytest.raises(ReproduceError, match="toy.ipynb has no parameter JOBS; .* sets SCALE$"):
        execute("toy.ipynb", "smoke", jobs=2, notebooks=source.parent)
    assert not (tmp_path / "figures").exists()


def test_missing_notebook(tmp_path):
    with pytest.raises(ReproduceError, match=r"toy\.ipynb is missing"):
        execute("toy.ipynb", "smoke", notebooks=tmp_path)


def test_promised_products(tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    monkeypatch.setattr(reproduce, "NOTEBOOKS", {"toy.ipynb": ("table", "figure", "other")})
    (tmp_path / "smoke").mkdir()
    for name in ("table.csv", "figure.png", "other.svg"):
        (tmp_path / "smoke" / name).touch()
    with pytest.raises(ReproduceError, match=r"toy\.ipynb ran, but did not write other into "):
        check_products("toy.ipynb", "smoke")
    (tmp_path / "smoke" / "other.csv").touch()
    check_products("toy.ipynb", "smoke")
    os.utime(tmp_path / "smoke" / "table.csv", (1, 1))  # left by an earlier run
    with pytest.raises(ReproduceError, match="did not write table into "):
        check_products("toy.ipynb", "smoke", since=2.0)


@pytest.mark.parametrize("jobs, at_once", [(None, 2), (3, 2), (1, 1)])
def test_notebooks_go_two_by_two_but_for_one_job(jobs, at_once, monkeypatch):
    """Two that are to meet break the barrier if they do not."""
    names, busy, together, most = [f"{n}.ipynb" for n in range(1, 5)], [], Barrier(at_once, timeout=30), []

    def regenerate(notebook, scale, jobs):
        busy.append(notebook)
        together.wait()
        most.append(len(busy))
        together.wait()
        busy.remove(notebook)

    monkeypatch.setattr(reproduce, "NOTEBOOKS", dict.fromkeys(names, ()))
    monkeypatch.setattr(reproduce, "regenerate", regenerate)
    reproduce.reproduce(None, "smoke", jobs)
    assert most == [at_once] * 4


def test_a_failure_among_notebooks_side_by_side_begins_no_other(monkeypatch):
    names, begun = [f"{n}.ipynb" for n in range(1, 9)], []

    def regenerate(notebook, scale, jobs):
        begun.append(notebook)
        if notebook == names[1]:
            raise ReproduceError("it failed")
        sleep(0.3)

    monkeypatch.setattr(reproduce, "NOTEBOOKS", dict.fromkeys(names, ()))
    monkeypatch.setattr(reproduce, "regenerate", regenerate)
    with pytest.raises(ReproduceError, match="it failed"):
        reproduce.reproduce(None, "smoke", None)
    assert sorted(begun) == names[:2]


def test_interrupted(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr(reproduce, "execute", interrupt)
    assert main(["--scale", "smoke"]) == 130
    assert capsys.readouterr().err.startswith("reproduce: interrupted")


def test_pins_are_exact_and_are_what_reproduce_sh_reads():
    text = (ROOT / "environment.yml").read_text()
    listed = [line.split("#")[0].strip(" -") for line in text.split("- pip:")[1].splitlines()]
    pins = [line for line in listed if line and line != "e ."]
    assert all(re.fullmatch(r"[a-z0-9-]+==\d+(\.\d+)+", pin) for pin in pins)
    function = next(line for line in (ROOT / "reproduce.sh").read_text().splitlines() if line.startswith("pins() "))
    read = subprocess.run(["bash", "-c", f"{function}; pins"], env=os.environ | {"root": str(ROOT)}, text=True,
                          capture_output=True, check=True)
    assert read.stdout.split() == pins


def test_every_requirement_is_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["notebooks"] + extras["test"]  # the benchmarks' peers are in no environment
    pinned = dict(re.findall(r"- ([a-z0-9-]+)==([\d.]+)", (ROOT / "environment.yml").read_text()))
    for requirement in wanted:
        name, bound = requirement.split(">=")
        numbers = [tuple(map(int, version.split("."))) for version in (pinned[name], bound)]
        assert numbers[0] >= numbers[1], requirement


def test_imports_only_the_standard_library():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import reproduce; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code, str(ROOT / "rkd")], text=True, capture_output=True,
                          check=True)
    assert not {"torch", "numpy", "papermill", "nbformat"} & set(done.stdout.split())


def test_what_is_said_twice_agrees(tmp_path, monkeypatch):
    """reproduce.py imports nothing of rkd, since it may run before the environment is there."""
    assert set(reproduce.SCALES) == set(scales.SCALES)
    monkeypatch.delenv("RKD_FIGURES", raising=False)
    assert reproduce.folder("laptop") == tables.folder("laptop").resolve()
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    assert reproduce.folder("laptop") == tables.folder("laptop").resolve()
