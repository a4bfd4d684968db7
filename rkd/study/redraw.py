"""A notebook on records: what needs a model, or data that are not here, is left out, with a line that says so.

Within a kernel every statement of a cell is watched. One that fails for want of a model, a run or data is left out, and
so is, before it begins, every later one that uses a name which it would have bound or filled.
"""

import ast
from collections.abc import Callable

from ..datasets import DataError
from ..kept import NotRecorded

FILLS = ("append", "extend", "add", "update", "setdefault", "insert")  # methods that change what they are called on
LEFT_OUT = "left out: "  # how a line about it begins


class Watcher(ast.NodeTransformer):
    """For IPython's ast_transformers: has the statements of cells executed through ``ready`` and ``failed``."""

    def __init__(self, namespace: dict, log: Callable[[str], None] = print):
        self.left_out: dict[str, str] = {}  # name → why
        self.log = log
        namespace["__watcher__"] = self
        namespace["__wanting__"] = (NotRecorded, DataError)

    def visit_Module(self, tree: ast.Module) -> ast.Module:
        body = []
        for n, statement in enumerate(tree.body, 1):
            if n == len(tree.body) and isinstance(statement, ast.Expr):  # what the cell shows
                shown = ast.Assign([ast.Name("__shown__", ast.Store())], statement.value)
                body += [*ast.parse("__shown__ = None").body, self._watched(statement, shown),
                         *ast.parse("__shown__").body]
            else:
                body.append(self._watched(statement, statement))
        return ast.fix_missing_locations(ast.Module(body, tree.type_ignores))

    def _watched(self, statement: ast.stmt, executed: ast.stmt) -> ast.stmt:
        uses, makes = names(statement)
        text = ast.unparse(statement).splitlines()[0]
        (watched,) = ast.parse(f"if __watcher__.ready({text!r}, {uses!r}, {makes!r}):\n"
                               "    try:\n        ...\n    except __wanting__ as __why__:\n"
                               f"        __watcher__.failed({text!r}, {makes!r}, __why__)").body
        watched.body[0].body = [executed]
        return watched

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
        self.log(f"{LEFT_OUT}{text} ({why})")
        self.left_out |= dict.fromkeys(makes, str(why))


def names(statement: ast.stmt) -> tuple[list[str], list[str]]:
    """The names that a statement uses, and those that it binds or whose value it changes."""
    uses, makes = set(), set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            (uses if isinstance(node.ctx, ast.Load) else makes).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            makes.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            makes |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            uses.add(node.target.id)
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            makes |= _root(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FILLS:
            makes |= _root(node.func)
    loops = {node.id for part in ast.walk(statement) if isinstance(part, (ast.For, ast.comprehension))
             for node in ast.walk(part.target) if isinstance(node, ast.Name)}
    return sorted(uses - loops), sorted(makes)


def _root(node: ast.expr) -> set[str]:
    """The name at the beginning of a.b[c].d."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()
