"""The pipeline: its command line, how it executes notebooks, the environment that it makes, and the lists of pins."""

import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from rkd.pinned import PIN
from rkd.study import reproduce
from rkd.study.reproduce import ROOT, ReproduceError, RunLines, execute, folder, main, plan, products, regenerate

SCRIPT = ROOT / "reproduce.sh"

PARAMETERS = 'SCALE = "laptop"  # what to train on\nJOBS = None  # processes'


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A function that writes sources/toy.ipynb with a parameters cell and further ones; figures go to tmp_path too."""
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(reproduce, "SOURCES", tmp_path / "sources")
    (tmp_path / "sources").mkdir()

    def write(*cells: str, parameters: str = PARAMETERS, name: str = "toy", **metadata) -> Path:
        first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = new_notebook(cells=[first, *map(new_code_cell, cells)],
                                metadata={"kernelspec": kernel} | metadata)
        path = tmp_path / "sources" / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    return write


def shell(*arguments: str) -> subprocess.CompletedProcess:
    """Run ./reproduce.sh from another folder, with an environment that it cannot take for its own."""
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return subprocess.run(["bash", str(SCRIPT), *arguments], cwd="/", env=variables, text=True,
                          capture_output=True, timeout=60)


def test_help_needs_no_environment():
    done = shell("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("--scale", "--only", "--list", "--jobs", "check", "test", "tune", "site", "exercises", "lock", "RKD_DATA",
                 "--from-records", "record", "verify", "RKD_RECORDS", "RKD_CACHE", "RKD_FIGURES", "RKD_TORCH_INDEX"):
        assert word in done.stdout


def test_list_needs_no_environment():
    done = shell("--list")
    assert done.returncode == 0 and "environment" not in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == [n for names in plan().values() for n in names]


def test_a_cluster_trains_the_runs_of_the_planned_notebooks_first(monkeypatch):
    done = []
    monkeypatch.setattr("rkd.schedule.compute", lambda runs, cluster: done.append(({*runs}, cluster)))
    monkeypatch.setattr(reproduce, "reproduce", lambda planned, *_: done.append([*planned]))
    assert main(["--scale", "smoke", "--only", "mkd-nkd", "--cluster", "local:2"]) == 0
    from rkd.study.plan import runs_of
    assert done == [({*runs_of("smoke", ["04_nkd"])}, "local:2"), ["04_nkd.ipynb"]]


@pytest.mark.parametrize("arguments, said", [
    (["--fast"], "unrecognized arguments: --fast; the options are --help, --scale, --only, --list, --jobs, "
                 "--cluster, --from-records\n"),
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
    assert done.returncode == 2 and done.stdout == "" and "choose from" in done.stderr and done.stderr[-1] == "\n"
    assert done.stderr.count("\n") == 1


def test_plan(toy):
    for name, made in [("2", ["c"]), ("1", ["a", "b"]), ("3", ["d"]), ("4", [])]:
        toy(name=name, rkd={"products": made})
    toy(name="5")  # a notebook of the reader's own: it promises nothing
    assert plan() == products() == {"1.ipynb": ["a", "b"], "2.ipynb": ["c"], "3.ipynb": ["d"]}
    assert list(plan(["d", "a", "b"])) == ["1.ipynb", "3.ipynb"]
    with pytest.raises(ReproduceError, match="'e'; the names are a, b, c, d"):
        plan(["c", "e"])


def test_broken_notebook(toy, capsys):
    toy(name="1").write_text("<<<<<<< HEAD")
    with pytest.raises(SystemExit):
        main(["--list"])
    assert re.fullmatch(r"reproduce: .*1\.ipynb is no notebook: JSONDecodeError.*\n", capsys.readouterr().err)


def test_names_are_unique_and_every_notebook_has_some():
    names = [name for made in products().values() for name in made]
    assert len(names) == len(set(names))
    assert set(products()) == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_figures_lie_in_the_checkout_or_where_the_caller_stands(tmp_path, monkeypatch):
    monkeypatch.delenv("RKD_FIGURES", raising=False)
    monkeypatch.chdir(tmp_path)
    assert folder("laptop") == ROOT / "figures/laptop"
    monkeypatch.setattr(reproduce, "ROOT", tmp_path / "site-packages")
    assert folder("laptop") == tmp_path / "figures/laptop"
    monkeypatch.setenv("RKD_FIGURES", "elsewhere")
    assert folder("laptop") == tmp_path / "elsewhere/laptop"


def test_only_run_lines_are_passed_on():
    to = io.StringIO()
    lines = RunLines(to)
    for piece in ("ru", "n a 1\nother\nrunning\nrun ", "a 2", "\nrun unfinished"):
        lines.write(piece)
    assert to.getvalue() == "  run a 1\n  run a 2\n"


def test_execute(toy, tmp_path, capsys):
    source = toy('print("run", SCALE, JOBS)\nprint("other")')
    before = source.read_bytes()
    done = execute("toy.ipynb", "smoke", jobs=3)
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
        execute("toy.ipynb", "smoke")
    partial = tmp_path / "figures/smoke/notebooks/toy.failed.ipynb"
    assert str(partial) in str(caught.value) and sorted(partial.parent.iterdir()) == [partial]
    assert "fine" in partial.read_text() and "never\\n" not in partial.read_text()
    assert source.read_bytes() == before and sorted(source.parent.iterdir()) == [source]


def test_failure_is_told_without_a_traceback(toy, capsys):
    toy("1 / 0", rkd={"products": ["a"]})
    assert main(["--scale", "smoke"]) == 1
    said = capsys.readouterr().err
    assert "code cell 2 (1 / 0): ZeroDivisionError: division by zero" in said and "Traceback" not in said


def test_unknown_parameter(toy, tmp_path):
    toy(parameters="SCALE = 'laptop'  # what to train on")
    with pytest.raises(ReproduceError, match="toy.ipynb has no parameter JOBS; .* sets SCALE$"):
        execute("toy.ipynb", "smoke", jobs=2)
    assert not (tmp_path / "figures").exists()


def test_missing_notebook(toy):
    with pytest.raises(ReproduceError, match=r"toy\.ipynb is missing"):
        execute("toy.ipynb", "smoke")


def test_promised_products(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    (tmp_path / "smoke").mkdir()

    def run(*writes: str) -> None:
        def execute(*_):
            for name in writes:
                (tmp_path / "smoke" / name).touch()
            nbformat.write(new_notebook(), tmp_path / "executed.ipynb")
            return tmp_path / "executed.ipynb"

        monkeypatch.setattr(reproduce, "execute", execute)
        regenerate("toy.ipynb", ["table", "figure", "other"], "smoke", None)

    with pytest.raises(ReproduceError, match=r"toy\.ipynb ran, but did not write other into "):
        run("table.csv", "figure.png", "other.svg")
    run("other.csv")
    assert "toy.ipynb wrote table, figure, other into " in capsys.readouterr().out
    os.utime(tmp_path / "smoke" / "table.csv", (1, 1))  # left by an earlier run
    with pytest.raises(ReproduceError, match="did not write table into "):
        run()


@pytest.mark.parametrize(("jobs", "at_once"), [(None, 2), (3, 2), (1, 1)])
def test_notebooks_go_two_by_two_but_for_one_job(jobs, at_once, monkeypatch):
    """Two that are to meet break the barrier if they do not."""
    busy, together, most = [], Barrier(at_once, timeout=30), []

    def regenerate(notebook, names, scale, jobs):
        busy.append(notebook)
        together.wait()
        most.append(len(busy))
        together.wait()
        busy.remove(notebook)

    monkeypatch.setattr(reproduce, "regenerate", regenerate)
    reproduce.reproduce(dict.fromkeys(["1.ipynb", "2.ipynb", "3.ipynb", "4.ipynb"]), "smoke", jobs)
    assert most == [at_once] * 4


@pytest.mark.parametrize("jobs", [None, 1])
def test_notebooks_that_fail_stop_no_other_and_are_listed(jobs, monkeypatch, capsys):
    done = []

    def regenerate(notebook, names, scale, jobs):
        if names == ["a"]:
            raise ReproduceError(f"{notebook} failed in code cell 3")
        if names == ["b"]:
            raise NotADirectoryError(20, "Not a directory", "figures/x")
        done.append(notebook)

    planned = {"1.ipynb": ["a"], "2.ipynb": ["b"], "3.ipynb": ["c"], "4.ipynb": ["d"]}
    monkeypatch.setattr(reproduce, "regenerate", regenerate)
    monkeypatch.setattr(reproduce, "plan", lambda only: planned)
    assert main(["--jobs", "1"] if jobs else []) == 1
    assert sorted(done) == ["3.ipynb", "4.ipynb"]
    said = capsys.readouterr()
    assert sorted(said.out.splitlines()) == ["notebook     1.ipynb failed", "notebook     2.ipynb failed"]
    first, *failures = said.err.splitlines()
    assert first == "reproduce: 2 of 4 notebooks failed"
    assert sorted(failures) == ["1.ipynb failed in code cell 3", "[Errno 20] Not a directory: 'figures/x'"]


def test_interrupted(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr(reproduce, "execute", interrupt)
    assert main(["--scale", "smoke"]) == 130
    assert capsys.readouterr().err.startswith("reproduce: interrupted")


def functions(*names: str) -> str:
    """The definitions of functions of reproduce.sh."""
    text = SCRIPT.read_text(encoding="utf-8")
    return "\n".join(re.search(rf"^{name}\(\) \{{([^\n]*\}}|.*?^\}})$", text, re.M | re.S).group() for name in names)


def bash(code: str, **variables: str) -> str:
    """What a few lines of bash print."""
    return subprocess.run(["bash", "-c", "set -euo pipefail\n" + code], env=os.environ | variables, text=True,
                          capture_output=True, check=True, timeout=60).stdout


def pinned(name: str) -> dict[str, str]:
    """The exact versions that a file lists, by name in lower case."""
    pins = re.findall(r"^[ -]*([A-Za-z0-9._-]+)==([^\s#]+)", (ROOT / name).read_text(encoding="utf-8"), re.M)
    return {package.lower().replace("_", "-"): version for package, version in pins}


def test_pins_are_exact_and_are_what_reproduce_sh_reads():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = [line.split("#")[0].strip(" -") for line in text.split("- pip:")[1].splitlines()]
    pins = [line for line in listed if line and line not in ("e .", "c constraints.txt")]
    assert all(re.fullmatch(r"[a-z0-9-]+==\d+(\.\d+)+", pin) for pin in pins)
    assert bash(functions("pins") + "\npins", root=str(ROOT)).split() == pins


def test_constraints_hold_every_pin_and_no_build_for_one_device():
    constraints, pins = pinned("constraints.txt"), pinned("environment.yml")
    assert {name: constraints.get(name, version) for name, version in pins.items()} == pins
    assert set(pins) - set(constraints) <= {"setuptools"}  # pip freeze leaves it out
    assert not [name for name, version in constraints.items()
                if "+" in version or name.startswith(("nvidia", "cuda", "triton"))]


def test_every_requirement_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]  # the benchmarks' peers are in no environment
    pins = pinned("environment.yml")
    for requirement in project["dependencies"] + [each for name in extras if name != "bench" for each in extras[name]]:
        if not requirement.startswith("rkd["):
            name, bound = requirement.split(">=")
            numbers = [tuple(map(int, version.split("."))) for version in (pins[name], bound)]
            assert numbers[0] >= numbers[1], requirement


def test_importing_the_pipeline_takes_only_the_standard_library():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import reproduce; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code, str(ROOT / "rkd/study")], text=True, capture_output=True,
                          check=True)
    assert not {"torch", "numpy", "papermill", "nbformat"} & set(done.stdout.split())


def test_what_is_said_twice_agrees(monkeypatch):
    """reproduce.py imports nothing of rkd, since it may run before the environment is there; reproduce.sh can't."""
    from rkd.study import scales

    assert set(reproduce.SCALES) == set(scales.SCALES)
    assert "export " + " ".join(f"{name}={value}" for name, value in PIN.items()) in SCRIPT.read_text(encoding="utf-8")
    for name in (*PIN, "RKD_FIGURES"):
        monkeypatch.setenv(name, "other")
    reproduce.settle()
    assert {name: os.environ[name] for name in PIN} == PIN


INDEX = "https://download.pytorch.org/whl/cpu"


@pytest.mark.parametrize(("given", "system", "card", "answer", "chosen"), [
    ({}, "Linux", False, True, INDEX),
    ({}, "Linux", False, False, ""),
    ({}, "Linux", True, True, ""),
    ({}, "Darwin", False, True, ""),
    ({"RKD_TORCH_INDEX": "none"}, "Linux", False, True, ""),
    ({"RKD_TORCH_INDEX": ""}, "Linux", False, True, ""),
    ({"RKD_TORCH_INDEX": "https://here/cu130"}, "Linux", True, False, "https://here/cu130"),
])
def test_where_torch_comes_from(given, system, card, answer, chosen, monkeypatch):
    monkeypatch.delenv("RKD_TORCH_INDEX", raising=False)
    if Path("/proc/driver/nvidia").exists() and chosen == INDEX:
        pytest.skip("there is a GPU")
    fakes = f'uname() {{ echo {system}; }}; command() {{ {"true" if card else "false"}; }}; ' \
            f'answers() {{ [ "$1" = {INDEX}/torch/ ] && {"true" if answer else "false"}; }}'
    assert bash(functions("torch_index") + f"\n{fakes}\ntorch_index", **given).strip() == chosen


def test_whether_an_index_answers(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        code = functions("answers") + '\nfor path in torch none; do answers "$url/$path/" && echo "$path"; done; true'
        assert bash(code, venv=str(tmp_path), url=f"http://127.0.0.1:{port}", no_proxy="*").split() == ["torch"]
        server.shutdown()


PYTHON = """#!/usr/bin/env bash
# stands for a Python: makes environments, notes what pip is to do, and says what it would run
case "$*" in
*"-m venv"*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
*"-m pip install"*)
    echo "$*" >>"$NOTES"
    case ${PIP:-} in kill) kill -9 "$PPID" ;; fail) echo "no such version" && exit 1 ;; esac
    sleep "${PIP:-0}" ;;
*"-m pip freeze"*) printf '%s\\n' numpy==2.4.6 nvidia-nccl==1.0 torch==2.13.0+cu130 triton==3.0 ;;
*"-m pytest"*) echo "ran $*" && exit "${PYTEST:-0}" ;;
*"-m rkd"*) echo "ran $*" && exit "${CHECK:-0}" ;;
*) exec "$REAL" "$@" ;;
esac
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A checkout where a stand-in for Python notes what it is to install, in notes."""
    for name in ("reproduce.sh", "environment.yml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(PYTHON)
    (tmp_path / "bin/python3").chmod(0o755)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NOTES": tmp_path / "notes",
                        "REAL": sys.executable, "RKD_TORCH_INDEX": "none"}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


def call(place: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(["bash", str(place / "reproduce.sh"), *arguments], env=os.environ | variables, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def made(place: Path, *arguments: str, **variables: str) -> list[str]:
    """What pip was to do in a call of reproduce.sh, which succeeds."""
    (place / "notes").write_text("")
    process = call(place, *arguments, **variables)
    said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said[0].splitlines()[-2:] == ["environment  .venv ready", "ran -m rkd.study.check --brief"]
    return (place / "notes").read_text().splitlines()


def test_an_environment_is_made_once_for_each_list_of_versions(place):
    pins, editable = made(place, "check", "--brief")
    assert "--constraint constraints.txt torch==2.13.0 numpy==" in pins and editable.endswith("--editable .")
    assert made(place, "check", "--brief") == []
    for name in ("environment.yml", "constraints.txt"):
        with (place / name).open("a") as file:
            file.write("# another line\n")
        (place / ".venv/left").touch()
        assert len(made(place, "check", "--brief")) == 2 and not (place / ".venv/left").exists()
        assert made(place, "check", "--brief") == []
    (place / ".venv/bin/python").write_text("#!/bin/false")
    assert len(made(place, "check", "--brief")) == 2


def test_torch_alone_comes_from_its_index(place):
    torch, pins, _ = made(place, "check", "--brief", RKD_TORCH_INDEX="https://here/cpu")
    assert torch.endswith(" --no-deps --index-url https://here/cpu torch==2.13.0") and "https://here" not in pins


def test_an_install_that_was_killed_or_failed_is_made_again(place):
    killed = call(place, "check", PIP="kill")
    killed.communicate(timeout=60)
    assert killed.returncode == -9 and (place / ".venv").exists()
    failed = call(place, "check", PIP="fail")
    out, error = failed.communicate(timeout=60)
    assert failed.returncode == 1 and "ready" not in out
    assert error == "no such version\nreproduce: pip could not install the environment (its last lines are above)\n"
    assert len(made(place, "check", "--brief")) == 2
    assert made(place, "check", "--brief") == []


def test_an_environment_of_the_readers_own_is_completed(place):
    (place / ".venv/bin").mkdir(parents=True)
    shutil.copy(place / "bin/python3", place / ".venv/bin/python")
    (place / ".venv/mine").touch()
    assert len(made(place, "check", "--brief")) == 2 and (place / ".venv/mine").exists()
    assert made(place, "check", "--brief") == []


def test_two_calls_at_once_install_once(place):
    calls = [call(place, "check", PIP="1") for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in calls]
    assert [process.returncode for process in calls] == [0, 0] and all("ready" in lines for lines in said)
    assert len((place / "notes").read_text().splitlines()) == 2
    assert sum("another call is making .venv; waiting for it" in lines for lines in said) == 1


def test_an_active_environment_is_used_if_it_holds_the_versions(place):
    def lacks(root: Path, pins: str, python: str = sys.executable) -> str:
        (place / "environment.yml").write_text(pins)
        code = functions("pins", "lacks").replace("$root/environment.yml", "$place/environment.yml")
        return bash(f"{code}\nlacks '{python}'", root=str(root), place=str(place)).strip()

    (place / "rkd").mkdir()
    (place / "rkd/__init__.py").touch()
    assert lacks(ROOT, "  - numpy==0.1\n  - scipy==0.2\n") == "numpy==0.1"
    assert lacks(place, "") == "this checkout's rkd"
    assert lacks(place, "", "/none") == "a working Python"
    out, _ = call(place, "check", VIRTUAL_ENV=sys.prefix).communicate(timeout=60)
    assert f".venv ready; the active {sys.prefix} lacks this checkout's rkd\n" in out
    code = "from importlib.util import find_spec; print(find_spec('rkd').origin)"
    installed = subprocess.check_output([sys.executable, "-I", "-c", code], text=True).strip()
    (place / "reproduce.sh").write_text(SCRIPT.read_text().replace('"$root/rkd/__init__.py"', f'"{installed}"'))
    out, _ = call(place, "check", VIRTUAL_ENV=sys.prefix).communicate(timeout=60)
    assert out.startswith(f"environment  {sys.prefix} ready\n")


def test_lock(place):
    before = (place / "constraints.txt").read_text().splitlines()
    process = call(place, "lock")
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
    comments = [line for line in before if line.startswith("#")]
    assert (place / "constraints.txt").read_text().splitlines() == [*comments, "numpy==2.4.6", "torch==2.13.0"]


@pytest.mark.parametrize(("arguments", "pytest_status", "check_status", "checked", "status"), [
    ([], 0, 0, True, 0), (["-x", "-m", "not network"], 1, 0, True, 1), ([], 0, 3, True, 3), ([], 2, 0, False, 2),
    (["tests/test_a.py::test_b"], 0, 3, False, 0), (["tests"], 1, 0, False, 1),
])
def test_the_tests_end_with_the_check_unless_files_are_named(arguments, pytest_status, check_status, checked, status,
                                                             place):
    (place / "tests").mkdir()
    made(place, "check", "--brief")
    process = call(place, "test", *arguments, PYTEST=str(pytest_status), CHECK=str(check_status))
    lines = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == status and lines[1].startswith("ran -m pytest ")
    assert lines[2:] == ["ran -m rkd.study.check"] * checked


def test_tuning_is_of_what_the_laptop_scale_reports(place):
    made(place, "check", "--brief")
    lines = call(place, "tune", "--jobs", "2").communicate(timeout=60)[0].splitlines()
    assert lines[1:] == ["ran -m rkd tune --scale laptop --to rkd/tuning --jobs 2"]
