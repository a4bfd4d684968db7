"""What the README shows works: its Python is executed, its commands are parsed, its links lead somewhere."""

import linecache
import re
import shlex
import sys
from functools import cache
from types import ModuleType

import contract
import numpy as np
import pytest
import torch

import rkd
from rkd.__main__ import parse_settings, parser
from rkd.store import key_of
from rkd.study.reproduce import ROOT

READMES = sorted(path.relative_to(ROOT).as_posix() for path in (
    ROOT / "README.md", *ROOT.glob("notebooks/**/README.md"), *ROOT.glob("tests/**/README.md"),
    *ROOT.glob("rkd/**/README.md")))
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def text(name="README.md") -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(language, name="README.md") -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)


def executed(*codes: str) -> dict:
    """What code leaves behind that is executed as a notebook's cells are: in a module whose source can be read."""
    module = sys.modules[name] = ModuleType(name := f"readme_{len(linecache.cache)}")
    for i, code in enumerate(codes):
        cell = f"<{name}, cell {i}>"
        linecache.cache[cell] = len(code), None, code.splitlines(keepends=True), cell
        exec(compile(code, cell, "exec"), vars(module))
    return vars(module)


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """The folder of clicks.csv: 40 users of two tastes, each with 20 of its taste's 40 items, all named by words; one
    is called ann."""
    folder, rng = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    chosen = [(user, item) for user in range(40) for item in rng.permutation(40)[:20] + 40 * (user % 2)]
    (folder / "clicks.csv").write_text("user,item\n" + "".join(
        f"{f'u{user}' if user else 'ann'},i{item}\n" for user, item in chosen))
    return folder


@pytest.fixture(scope="module")
def namespace(clicks):
    """What the README's Python leaves behind, executed in order beside clicks.csv, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clicks)
        patch.setenv("RKD_CACHE", str(clicks / "cache"))
        return executed(*blocks("python"))


def test_its_python_does_what_it_says(namespace):
    data, split, student = (namespace[name] for name in ("data", "split", "student"))
    assert (data.n_users, data.n_items, len(data)) == (40, 80, 800) and split.protocol == "ratio"
    assert namespace["teacher"].model.dim == 100 and student.model.dim == 10
    found = rkd.evaluate(student.model, split, ks=(10, 20))
    assert {"recall@10", "ndcg@10", "unpopular/recall@10", "coverage@10", "recall@20"} <= found.keys()
    assert found["users"] == 40
    for model in (student.model, namespace["teacher"].model):  # 10 / 64 at random, 10 / 24 among one taste's items
        assert rkd.evaluate(model, split)["recall@10"] > 0.3
    assert {data.user_ids[0], data.item_ids[0]} <= {"ann"} | {f"{kind}{n}" for kind in "ui" for n in range(80)}


def test_its_teachers_from_elsewhere(namespace):
    split, factors = namespace["split"], namespace["teacher"].model.factors()
    for teacher, names in (([x.numpy() for x in factors], ["cd"]),
                           (rkd.Lists(*(factors[0] @ factors[1].T).topk(70)[::-1], split.n_items),
                            ["rd", "cd", "rrd", "unkd", "sld"])):
        for name in names:
            fit = rkd.distill(teacher, split, name, dim=4, epochs=2)
            assert (fit.model.n_users, fit.model.n_items, fit.model.dim) == (40, 80, 4)
    assert "from which RD, CD, RRD, UnKD and SLD learn" in text()


def test_its_method_is_short_keeps_the_contract_and_works_wherever_a_name_does(namespace):
    section = text().split("## Add a method")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    method = namespace["MSE"]
    contract.check_method(method)
    run = rkd.Run("synthetic", method, epochs=3, dim=3, teacher_dim=5)
    (result,) = rkd.compute([run], jobs=1)
    assert (result.run.name, result.metrics["users"]) == ("MSE", 150)
    redefined = executed("import rkd\n" + code[:code.index("student =")].replace(".square()", ".abs()"))["MSE"]
    assert key_of(rkd.Run("synthetic", redefined, epochs=3, dim=3, teacher_dim=5)) != result.key


def test_its_method_makes_the_student_imitate_the_teacher(namespace):
    """The scores of unseen items come nearer to the teacher's, the more weight the method has."""
    split, teacher = namespace["split"], namespace["teacher"].model
    unseen = torch.ones(split.n_users, split.n_items, dtype=torch.bool)
    unseen[split.train.users, split.train.items] = False

    def scores(model):
        u, v = model.factors()
        return (u @ v.T)[unseen]

    students = (rkd.distill(teacher, split, namespace["MSE"], weight=weight).model for weight in (0.0, 10.0))
    far, near = ((scores(student) - scores(teacher)).square().mean() for student in students)
    assert near < far / 2


@pytest.mark.parametrize("name", READMES)
def test_commands_are_understood(name):
    for line in "\n".join(blocks("bash", name)).splitlines():
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "rkd"]:
            options = parser().parse_args(words[3:])
            parse_settings(*[options.method, options.set] if "set" in options else ["none", []])


def test_every_command_is_shown():
    shown, (commands,) = "\n".join(blocks("bash")), parser()._subparsers._group_actions
    for command in commands.choices:
        assert f"python -m rkd {command} " in shown


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    links = [link.split("#")[0] for link in LINK.findall(text(name)) if "://" not in link]
    for link in filter(None, links):
        assert ((ROOT / name).parent / link).exists(), link
    assert name != "README.md" or len(links) > 10
