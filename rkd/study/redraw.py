"""A notebook on records: what needs a model, or data that are not here, is left out, with a line that says so.

Within a kernel every statement of a cell is watched. One that fails for want of a model, a run or data is left out, and
so is, before it begins, every later one that uses a name which it would have bound or filled.
"""

import ast
from collections.abc import Callable, Iterator

from ..datasets import DataError
from ..kept import NotRecorded

FILLS = ("append", "extend", "add", "update", "setdefault", "insert")  # methods that change what they are called on
SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
LEFT_OUT, SHOWN = "left out: ", 60  # how a line about it begins; characters of a statement in it


class Watcher(ast.NodeTransformer):
    """For IPython's ast_transformers: has the statements of cells executed through ``ready`` and ``failed``, and says
    in a line a cell what was left out."""

    def __init__(self, namespace: dict, log: Callable[[str], None] = print):
        self.left_out: dict[str, str] = {}  # name → why
        self.here: dict[str, str] = {}  # statement of this cell → why
        self.log = log
        namespace["__watcher__"] = self
        namespace["__wanting__"] = (NotRecorded, DataError)

    def visit_Module(self, tree: ast.Module) -> ast.Module:
        body, last = [*tree.body], []
        if body and isinstance(body[-1], ast.Expr):  # what the cell shows
            none, *last = ast.parse("__shown__ = None\n__shown__").body
            assign = ast.Assign([ast.Name("__shown__", ast.Store())], body[-1].value)
            body = [none, *map(_watched, body[:-1]), _watched(body[-1], assign)]
        else:
            body = [*map(_watched, body)]
        begin, end = ast.parse("__watcher__.here = {}\n__watcher__.say()").body
        return ast.fix_missing_locations(ast.Module([begin, *body, end, *last], tree.type_ignores))

    def ready(self, text: str, uses: list[str], makes: list[str]) -> bool:
        """Whether all that a statement uses is there; then what it binds will be as well."""
        wanting = [name for name in uses if name in self.left_out]
        if wanting:
            self.failed(text, makes, self.left_out[wanting[0]])
            return False
        for name in makes:
            self.left_out.pop(name, None)
        return True

    def failed(self, text: str, makes: list[str], why: Exception | str) -> None:
        self.here[text] = str(why)
        self.left_out |= dict.fromkeys(makes, str(why))

    def say(self) -> None:
        if self.here:
            self.log(f"{LEFT_OUT}{'; '.join(self.here)} ({'; '.join(dict.fromkeys(self.here.values()))})")


def _watched(statement: ast.stmt, executed: ast.stmt | None = None) -> ast.stmt:
    """A statement, or another in its place, as a Watcher has it executed."""
    uses, makes = names(statement)
    whole = ast.unparse(statement)
    text = whole.splitlines()[0]
    text = text if "save_" in whole or len(text) <= SHOWN else text[:SHOWN] + "…"  # what is saved is named
    (watched,) = ast.parse(f"if __watcher__.ready({text!r}, {uses!r}, {makes!r}):\n    try:\n        ...\n"
                           f"    except __wanting__ as __why__:\n        __watcher__.failed({text!r}, {makes!r}, "
                           "__why__)").body
    watched.body[0].body = [executed or statement]
    return watched


def names(statement: ast.stmt) -> tuple[list[str], list[str]]:
    """The names that a statement uses, and those that it binds or whose value it changes. What a function, a class or a
    comprehension binds within itself is neither."""
    uses, makes = set(), set()
    for node in _outside(statement):
        if isinstance(node, ast.Name):
            (uses if isinstance(node.ctx, ast.Load) else makes).add(node.id)
        elif isinstance(node, SCOPES):
            uses |= _free(node)
            makes |= {node.name} if hasattr(node, "name") else set()
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            makes |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            uses.add(node.target.id)
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            makes |= _root(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FILLS:
            makes |= _root(node.func)
    loops = {node.id for part in _outside(statement) if isinstance(part, ast.For)
             for node in ast.walk(part.target) if isinstance(node, ast.Name)}
    return sorted(uses - loops), sorted(makes)


def _outside(node: ast.AST) -> Iterator[ast.AST]:
    """Like ast.walk, but not into functions, classes and comprehensions, which come themselves."""
    yield node
    if not isinstance(node, SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _outside(child)


def _free(scope: ast.AST) -> set[str]:
    """The names that a function, a class or a comprehension uses and does not bind."""
    found = [node for node in ast.walk(scope) if isinstance(node, ast.Name)]
    own = {node.id for node in found if not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in ast.walk(scope) if isinstance(node, ast.arg)}
    return {node.id for node in found} - own


def _root(node: ast.expr) -> set[str]:
    """The name at the beginning of a.b[c].d."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()
