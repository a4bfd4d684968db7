"""``check``: what a notebook calls to hear whether a function is right."""

from .answers import answer
from .bias import TASKS as BIAS
from .bpr import TASKS as BPR
from .compression import TASKS as COMPRESSION
from .consistency import TASKS as CONSISTENCY
from .labels import TASKS as LABELS
from .metrics import TASKS as METRICS
from .neighbours import TASKS as NEIGHBOURS
from .own import TASKS as OWN
from .stratified import TASKS as STRATIFIED
from .task import Task, Wrong

TASKS: dict[str, Task] = (BPR | METRICS | BIAS | STRATIFIED | NEIGHBOURS | CONSISTENCY | LABELS | OWN
                          | COMPRESSION)


def check(name: str, function, hidden: bool = False) -> None:
    """Try ``function`` on the cases of the task called ``name`` and print that it is right.

    hidden : the further cases that only grading uses. Raises Wrong, which says in words what is not right, and
    ValueError where there is no such task.
    """
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}; the tasks are {', '.join(TASKS)}")
    task = TASKS[name]
    if words := task.verdict([answer(function, given, task.gradient_of) for given in task.cases(hidden)], hidden):
        raise Wrong(f"{name}: {words}")
    print(f"{name}: right")
