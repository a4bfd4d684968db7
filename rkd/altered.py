"""What a process holds against what rkd's files say: a notebook may put a loss of its own in the place of one of rkd's,
and no result may be kept, or shown, under the code of another."""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import CodeType

from .fingerprint import IMPORTED, codes_in, imported_from, reached

OPEN = ("METHODS", "METRICS", "PROTOCOLS")  # what may be added to
PLAIN = (ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp,
         ast.operator, ast.unaryop, ast.expr_context)  # of which a plain value is made


def refuse_altered(*modules: str, without: tuple[str, ...] = ()) -> None:
    """Raise ValueError where these modules of the package, and what they import of it, ``without`` some, hold anything
    else than their files say, as where a notebook puts a function of its own in the place of one of rkd's."""
    altered = [f"{module}.{name}" for module in reached([name for name in modules if name in IMPORTED], without)
               for name in _altered(ast.parse(IMPORTED[module]).body, vars(sys.modules[module]), module)]
    if altered:
        raise ValueError(f"{', '.join(altered)}: changed in this process, and results are kept by what rkd's files "
                         "say. Restart the kernel (or the process), and make a method or a metric of your own instead")


def _altered(body: list[ast.stmt], held: Mapping, module: str) -> Iterator[str]:
    """Names of a module's or class's functions, of what it imports of the package, and of its plain values, under which
    it holds something else than ``body`` says."""
    codes, values = codes_in(IMPORTED[module]), vars(sys.modules[module])
    for node in body:
        if isinstance(node, ast.FunctionDef):
            code = _code_of(held.get(node.name))
            if code not in codes or code.co_name != node.name:
                yield node.name
        elif isinstance(node, ast.ClassDef):
            made, own = held.get(node.name), {name for part in node.body for name in _targets(part)}
            if not inspect.isclass(made) or (made.__module__, made.__name__) != (module, node.name):
                yield node.name
                continue
            added = {name for name, value in vars(made).items() if not name.startswith("__")
                     and not inspect.isclass(value) and (callable(value) or _code_of(value))} - own
            yield from (f"{node.name}.{name}" for name in [*_altered(node.body, vars(made), module), *added])
        elif isinstance(node, ast.ImportFrom) and (source := imported_from(node, module)) in IMPORTED:
            for alias in node.names:
                if held.get(alias.asname or alias.name) is not getattr(sys.modules[source], alias.name):
                    yield alias.asname or alias.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value and all(
                isinstance(part, PLAIN) for part in ast.walk(node.value)):
            said = eval(compile(ast.Expression(node.value), "", "eval"), dict(values))
            names = _targets(node)
            yield from (name for name, value in zip(names, said if len(names) > 1 else [said])
                        if name not in OPEN and (type(held.get(name)) is not type(value) or held[name] != value))


def _targets(node: ast.stmt) -> list[str]:
    """The names that a definition or an assignment binds."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return [node.name] if isinstance(node, ast.FunctionDef) else []
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return [ast.unparse(name) for name in getattr(target, "elts", [target])]


def _code_of(value) -> CodeType | None:
    """The code of a function, method or property; None of anything else."""
    for inside in ("fget", "func", "__func__"):
        value = getattr(value, inside, value) if not inspect.isclass(value) else None
    return getattr(inspect.unwrap(value), "__code__", None)
