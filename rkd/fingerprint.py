"""A hash of the code behind a result, so that whoever edits a loss never meets a figure from before.

It covers the definitions named and all that they use, through every import inside this package, and nothing else: a
new loss beside an old one changes no old result, nor does a comment or a docstring.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
IMPORTED = {path: path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py")}  # what this process runs, by time of change


def code_fingerprint(*roots: tuple[str, str]) -> str:
    """Hash of the definitions ``roots``, (module, name) pairs such as ("rkd.train", "train"), and all they use.

    Raises ValueError for a root that is not defined at the top level of a module of this package, and where a file was
    edited after this process imported it: the hash would speak of code that is not what runs.
    """
    todo, seen, texts = list(roots), set(), []
    while todo:
        module, name = item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        _check_unedited(module)
        definitions, imports = _read(module)
        if name in imports and _path(".".join(imports[name])):  # a whole module: all that it defines
            whole = ".".join(imports[name])
            todo.extend((whole, other) for other in _read(whole)[0])
        elif name in imports:
            todo.append(imports[name])
        elif name in definitions:
            text, used = definitions[name]
            texts.append(f"{module}.{name}\n{text}")
            todo.extend((module, other) for other in used)
        elif item in roots:
            raise ValueError(f"{name} is not defined at the top level of {module}, so its code cannot be fingerprinted")
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:16]


@cache
def _read(module: str) -> tuple[dict[str, tuple[str, frozenset]], dict[str, tuple[str, str]]]:
    """(name → (code without docstrings, names it uses), name → (module, name) it is imported from) of one module."""
    path = _path(module)
    if path is None:
        raise ValueError(f"{module} is not a module of this package: put the method into a file in rkd/distill/")
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    definitions, imports = {}, {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join(base + ([node.module] if node.module else []))
            if source.split(".")[0] == PACKAGE.name:
                imports |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            if any(alias.name.split(".")[0] == PACKAGE.name for alias in node.names):
                raise ValueError(f"{module} says '{ast.unparse(node)}': import the names it uses instead (from … import "
                                 "…), so that their code counts in the hash of a result")
        else:
            text, used = ast.unparse(_without_docstrings(node)), {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            for name in _bound(node):
                before = definitions.get(name, ("", frozenset()))
                definitions[name] = before[0] + "\n" + text, before[1] | used
    return definitions, imports


def _check_unedited(module: str) -> None:
    path = _path(module)
    if path and IMPORTED.setdefault(path, changed := path.stat().st_mtime_ns) != changed:
        raise ValueError(f"{path.relative_to(PACKAGE.parent)} was edited since it was imported: restart the kernel (or "
                         "the process), so that the edit takes effect")


def _path(module: str) -> Path | None:
    """The file of a module of this package; None for anything else."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path if path.is_file() and path.is_relative_to(PACKAGE) else None


def _bound(node: ast.stmt) -> set[str]:
    """The names a top-level statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return node
