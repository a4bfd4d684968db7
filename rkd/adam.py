"""Adam over one vector of all parameters; and lazy: a table's row is moved when it is next read."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import adam as functional

from .device import fixed_shapes
from .kernels import BLOCK_ROWS, put_rows, rows_of_table
from .models import MF

TINY = 1e-18  # shares of a moment below this are none: no time goes into numbers too small for a float32
# Σ_k β₁ᵏ / (1 − β₁ᵗ⁺ᵏ), the same over r_k, β₁ᵏ and β₂ᵏ of a row that has missed nothing: a column
UP_TO_DATE = torch.tensor([[0.0], [0.0], [1.0], [1.0]], dtype=torch.float64)


def unwrapped(step):
    """An optimiser's step that torch's profiler does not put a wrapper around, so that the class holds what its file
    says."""
    step.hooked = True
    return step


class Adam(torch.optim.Adam):
    """Adam over the model's parameters and whatever the method trains with them.

    All of it is moved into one vector, and all gradients into another, so that a step is one call however many there
    are.
    """

    def __init__(self, model: MF, lr: float, method=None):
        parameters = [*model.parameters(), *(method.parameters(model) if method else ())]
        self.vector = torch.cat([p.detach().flatten() for p in parameters])
        self.vector.grad = torch.zeros_like(self.vector)
        sizes = [p.numel() for p in parameters]
        for p, values, grad in zip(parameters, self.vector.split(sizes), self.vector.grad.split(sizes)):
            p.data, p.grad = values.view(p.shape), grad.view(p.shape)
        super().__init__([self.vector], lr=lr, fused=self.vector.device.type != "mps")

    @unwrapped
    def step(self):
        super().step()

    def end_epoch(self) -> None:
        """Called after each epoch: then all parameters are up to date."""

    def release(self) -> None:
        """Called when training ends, however it does."""


@dataclass
class Page:
    """Rows of a table that a step has read: ``rows`` [R] int64, ascending; ``values`` of them, of m and of v; ``grad``,
    what came back to the page itself; ``shown``: the table holds these values, and its .grad may hold more."""

    rows: Tensor
    values: list[Tensor]
    grad: Tensor | None = None
    shown: bool = False


class _OfPage(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, page: Page, place: Tensor) -> Tensor:
        ctx.page, ctx.place = page, place
        return page.values[0].index_select(0, place)

    @staticmethod
    def backward(ctx, grad: Tensor):
        ctx.page.grad.index_add_(0, ctx.place, grad)
        return None, None, None


class LazyAdam(Adam):
    """The same steps up to rounding, of which each takes time for the rows of ``model.table`` that it reads alone.

    A row that a step does not read has no gradient, and moves by what its moments m and v are, which decay. k steps
    after step t they are β₁ᵏ m and β₂ᵏ v, and the row has moved by

        −lr Σ_k β₁ᵏ / (1 − β₁ᵗ⁺ᵏ) · m / (√v · r_k + ε),   r_k = √(β₂ᵏ / (1 − β₂ᵗ⁺ᵏ)),

    which needs nothing of the steps between: it is made up for when the row is next read, and by ``end_epoch`` for all.
    One r for all k, their mean weighted so that the sum is right where √v ≫ ε and where √v ≪ ε, makes one term of it.

    Rows are read by kernels.rows and kernels.list_scores, which ask ``rows`` and ``touch``; what a method does to the
    table itself would be of rows that are not up to date. Raises TypeError for that where it has a gradient, and
    ValueError for a model that reads its whole table at every step, and off the CPU, where a step's shapes must not
    depend on what is read.
    """

    def __init__(self, model: MF, lr: float, method=None):
        table = model.table
        whole, device = model.output is not table, table.device
        model.end_step()
        if whole:
            raise ValueError(f"lazy=True is of no use to {model.label}: its every step reads and moves all embeddings")
        if fixed_shapes(device):
            raise ValueError(f"lazy=True is for training on a CPU, not on {device.type}")
        super().__init__(model, lr, method)
        self.table, self.size = table, table.numel()
        self.read = torch.zeros(len(table), dtype=torch.bool)
        self.since = torch.zeros(len(table), dtype=torch.int64)  # the step of this epoch up to which a row is moved
        self.place = torch.zeros_like(self.since)  # of a row in the first page
        self.now, self.pages = 0, []  # how many steps this epoch has had; what the present one has read
        self.missed = UP_TO_DATE
        table.keeper, self.hook = self, table.register_hook(_refuse)

    def rows(self, index: Tensor) -> Tensor:
        """kernels.rows of the table: [m] → [m, d]. A step's first come from a page and leave their gradient there,
        which spares the table four visits; further ones, and lists, go by way of the table."""
        if self.pages:
            self.touch(index)
            return rows_of_table(self.table, index)
        page = self.page(index)
        page.grad = torch.zeros_like(page.values[0])
        self.place[page.rows] = torch.arange(len(page.rows))
        return _OfPage.apply(self.table, page, self.place.index_select(0, index))

    @torch.no_grad()
    def touch(self, index: Tensor) -> None:
        """Bring these rows, [m], up to date in the table, and move them at the end of the step by their gradients
        there."""
        self.page(index)
        for page in self.pages:
            if not page.shown:
                put_rows(self.table, page.rows, page.values[0])
                page.shown = True

    @torch.no_grad()
    def page(self, index: Tensor) -> "Page":
        """Those of these rows that this step has not read yet, up to date."""
        self.read[index] = True
        rows = self.read.nonzero().flatten()  # ascending, each once
        self.read[rows] = False
        if self.pages:
            rows = rows[self.since.index_select(0, rows) <= self.now]
        page = Page(rows, [part.index_select(0, rows) for part in self.parts()])
        self.catch_up(*page.values, self.since.index_select(0, rows))
        self.since.index_fill_(0, rows, self.now + 1)
        self.pages.append(page)
        return page

    def parts(self) -> list[Tensor]:
        """The table and its moments m and v, [n, d] each."""
        moments = self.moments()
        return [self.table.data, *(moments[name][:self.size].view_as(self.table) for name in ("exp_avg", "exp_avg_sq"))]

    def moments(self) -> dict[str, Tensor]:
        """The vector's state, as torch's Adam has it."""
        state = self.state[self.vector]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(self.vector),
                      "exp_avg_sq": torch.zeros_like(self.vector)}
        return state

    def catch_up(self, p: Tensor, m: Tensor, v: Tensor, since: Tensor) -> None:
        """Move rows and their moments, [n, d] each, by the steps that they have missed, in place: since [n]."""
        weight, inverse, of_m, of_v = self.missed.index_select(1, since)
        moved, r, of_m, of_v = (x.float()[:, None] for x in (weight, weight / inverse.clamp(min=TINY), of_m, of_v))
        for p, m, v, moved, r, of_m, of_v in zip(*(x.split(BLOCK_ROWS) for x in (p, m, v, moved, r, of_m, of_v))):
            below = v.sqrt().mul_(r).add_(self.defaults["eps"])
            p.addcmul_(torch.div(m, below, out=below), moved, value=-self.defaults["lr"])
            m.mul_(of_m)
            v.mul_(of_v)

    @unwrapped
    @torch.no_grad()
    def step(self):
        """One step of Adam: of the rows that were touched, and of all that is no row."""
        state, grad = self.moments(), self.table.grad
        for page in self.pages:
            of_page = page.grad
            if page.shown:
                of_table = grad.index_select(0, page.rows)
                of_page = of_table if of_page is None else of_page.add_(of_table)
                put_rows(grad, page.rows, torch.zeros_like(grad[:1]))
            p, m, v = page.values
            self.move(p, of_page, m, v)
            for part, values in zip(self.parts(), page.values):
                put_rows(part, page.rows, values)
        if len(self.vector) > self.size:
            self.move(*(whole[self.size:] for whole in (self.vector, self.vector.grad, state["exp_avg"],
                                                        state["exp_avg_sq"])))
        state["step"] += 1
        self.now, self.pages, self.missed = self.now + 1, [], self.one_more(float(state["step"]))

    def move(self, p: Tensor, grad: Tensor, m: Tensor, v: Tensor) -> None:
        """Adam's step of some of the parameters, in place."""
        beta1, beta2 = self.defaults["betas"]
        functional.adam([p], [grad], [m], [v], [], [self.moments()["step"].clone()], fused=True, amsgrad=False,
                        beta1=beta1, beta2=beta2, lr=self.defaults["lr"], weight_decay=0.0, eps=self.defaults["eps"],
                        maximize=False)

    def one_more(self, t: float) -> Tensor:
        """What is missed by rows that are moved up to each step of this epoch, t being the last: [4, now + 1]."""
        beta1, beta2 = self.defaults["betas"]
        weight, inverse, of_m, of_v = self.missed
        of_m, of_v = (torch.where(x < TINY, 0.0, x) for x in (beta1 * of_m, beta2 * of_v))
        more = of_m / (1 - beta1**t)
        r = (of_v / (1 - beta2**t)).sqrt().clamp(min=TINY)
        return torch.cat([torch.stack([weight + more, inverse + more / r, of_m, of_v]), UP_TO_DATE], 1)

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Of what is no row: rows' gradients are cleared by the step that they served."""
        self.vector.grad[self.size:].zero_()

    @torch.no_grad()
    def end_epoch(self):
        self.catch_up(*self.parts(), self.since)
        self.since.zero_()
        self.now, self.missed = 0, UP_TO_DATE

    def release(self):
        del self.table.keeper
        self.hook.remove()


def _refuse(grad: Tensor | None) -> None:
    """Called with the gradient that reaches the table by torch's own way; kernels add theirs to .grad themselves."""
    if grad is not None:
        raise TypeError("lazy=True: a loss reads the student's table itself, of which only some rows are up to date; "
                        "read them by student.rows and student.scores")
