"""A hash of the code behind a result, so that whoever edits a loss never meets a figure from before.

It covers whole files: those named and all that they import inside this package; comments and docstrings apart. A class
from outside counts by its own source and what it uses of its module's. Files are read when rkd is imported.
"""

import ast
import inspect
import json
import linecache
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path
from textwrap import dedent
from types import CodeType

PACKAGE = Path(__file__).parent


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTED = {module: path.read_text(encoding="utf-8") for module, path in PATHS.items()}  # what this process runs
TIMES = {module: path.stat().st_mtime_ns for module, path in PATHS.items()}


def package_fingerprint() -> str:
    """Hash of the code that computes runs, as it was imported: the schedule and all that it imports."""
    return _hash_of(reached(["rkd.schedule"]))


def code_fingerprint(*modules: str, without: tuple[str, ...] = (), classes: tuple = ()) -> str:
    """Hash of these modules of the package, such as "rkd.train", of what they import of it, ``without`` some, and of
    classes, or functions: those of the package by their modules, others by source and the modules that they use.

    Raises ValueError where a file was edited after this process imported it: the hash would speak of code that is not
    what runs.
    """
    bases = [base for made in classes for base in getattr(made, "__mro__", (made,)) if base is not object]
    outside = [_behind(base) for base in bases if base.__module__ not in IMPORTED]
    modules += tuple(base.__module__ for base in bases if base.__module__ in IMPORTED)
    modules += tuple(module for _, used in outside for module in used)
    covered = reached(modules, without)
    if edited := [module for module in covered if _edited(module)]:
        raise ValueError(f"{', '.join(edited)} was edited since it was imported: restart the kernel (or the process), "
                         "so that the edit takes effect")
    return _hash_of(covered, *(source for source, _ in outside))


def reached(modules: Iterable[str], without: tuple[str, ...] = ()) -> list[str]:
    """These modules of the package and all that they import of it, ``without`` some and what only these import."""
    todo, seen = list(modules), set(without)
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += _imports(module)
    return sorted(seen - set(without))


def _hash_of(modules: list[str], *sources: str) -> str:
    texts = [f"{module}\n{_essence(IMPORTED[module])}" for module in modules]
    return sha256("\n".join([*texts, *sources]).encode()).hexdigest()[:16]


def _edited(module: str) -> bool:
    """Whether a module's code on disk is no longer what this process imported; a file's time alone says nothing."""
    path = PATHS[module]
    if path.exists() and path.stat().st_mtime_ns == TIMES[module]:
        return False
    return not path.exists() or _essence(path.read_text(encoding="utf-8")) != _essence(IMPORTED[module])


@cache
def _imports(module: str) -> list[str]:
    """The modules of this package that a module imports at its top level."""
    found = []
    for node in ast.parse(IMPORTED[module]).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = imported_from(node, module)
            found += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    return [name for name in found if name in IMPORTED and name != PACKAGE.name]


def imported_from(node: ast.ImportFrom, module: str) -> str:
    """The module that an import in another takes from."""
    package = module if PATHS[module].name == "__init__.py" else module.rpartition(".")[0]
    return resolve_name("." * node.level + (node.module or ""), package)


@cache
def _essence(source: str) -> str:
    """Source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _behind(made) -> tuple[str, set[str]]:
    """Of a class from outside the package, or a function: its source and that of what it uses of its own module,
    functions, classes and plain values; and the modules of the package that it uses. Raises ValueError where the source
    cannot be found, or was edited since it was imported."""
    if not (inspect.isfunction(made) or inspect.isclass(made)):
        raise ValueError(f"{made!r} is neither a function nor a class: its source cannot be found")
    module = inspect.getmodule(made)
    values = vars(module) if module else {}
    todo, texts, modules = [made], {}, set()
    while todo:
        thing = todo.pop()
        text = _essence(_definition(thing, module))
        if text in texts:
            continue
        names = sorted({ast.unparse(node) for node in ast.walk(ast.parse(text))
                        if isinstance(node, (ast.Name, ast.Attribute))})
        for used in [*(_named(module, name) for name in names), *_held(thing)]:
            if not (inspect.isfunction(used) or inspect.isclass(used)):
                continue
            if used.__module__ in IMPORTED:
                modules.add(used.__module__)
            elif used.__module__ == made.__module__:
                todo.append(used)
        plain = [name for name in names if name in values and _plain(values[name])]
        texts[text] = "".join(f"\n{name} = {values[name]!r}" for name in plain)
    return "\n".join(sorted(text + used for text, used in texts.items())), modules


def _named(module, name: str):
    """What a name, "f" or "module.f", stands for in a module; None where that is nothing, or no module's or class's."""
    found = module
    for part in name.split("."):
        found = getattr(found, part, None) if inspect.ismodule(found) or inspect.isclass(found) else None
    return found


def _held(thing) -> list[type]:
    """The classes that a class has as attributes, alone or in a dict: a sum's parts, say."""
    values = vars(thing).values() if inspect.isclass(thing) else ()
    return [held for value in values for held in (value.values() if isinstance(value, dict) else (value,))
            if inspect.isclass(held)]


def _plain(value) -> bool:
    """Whether a value is numbers, text, and lists and dicts of them."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _definition(thing, module) -> str:
    """The source text of a function or class; of a class in a notebook, too, which inspect alone does not find."""
    functions = [thing] if inspect.isfunction(thing) else list(filter(inspect.isfunction, vars(thing).values()))
    for code in (inspect.unwrap(function).__code__ for function in functions):
        linecache.checkcache(code.co_filename)  # the module may have been reloaded
        source = "".join(linecache.getlines(code.co_filename))
        if found := _in_source(source, thing.__name__, code.co_firstlineno):
            if type(getattr(module, "__loader__", None)) is SourceFileLoader and code not in codes_in(source):
                raise ValueError(f"{code.co_filename} was edited since it was imported: restart the kernel (or the "
                                 "process), or reload the module")
            return found
    try:
        return dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        if inspect.isclass(thing) and (outline := _outline(thing)):
            return outline
        raise ValueError(f"the source of {thing.__qualname__} cannot be found, so that no result could be kept under "
                         "it: define it in a notebook cell or a file") from None


def _in_source(source: str, name: str, line: int) -> str:
    """The definition of this name that this line belongs to; of lambdas, all that start there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Lambda) and (name, line) == ("<lambda>", node.lineno):
            found.append(ast.unparse(node))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            first = min(part.lineno for part in (node, *node.decorator_list))
            if first <= line <= node.end_lineno:
                return ast.unparse(node)
    return "\n".join(found)


@cache
def codes_in(source: str) -> set[CodeType]:
    """The code of every function and class in a source."""
    todo, found = [compile(source, "", "exec", dont_inherit=True)], set()
    while todo:
        inner = [constant for constant in todo.pop().co_consts if isinstance(constant, CodeType)]
        found.update(inner)
        todo += inner
    return found


def _outline(made: type) -> str:
    """A class without functions, such as a sum in a notebook, by its bases and attributes; "" where it has anything but
    plain values and classes."""
    def shown(value):
        if inspect.isclass(value):
            return value.__qualname__
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {shown(held)}" for key, held in value.items()) + "}"
        if not _plain(value):
            raise ValueError
        return repr(value)

    try:
        lines = [f"    {name} = {shown(value)}" for name, value in vars(made).items() if not name.startswith("__")]
    except ValueError:
        return ""
    return "\n".join([f"class {made.__name__}({', '.join(base.__qualname__ for base in made.__bases__)}):", *lines])
