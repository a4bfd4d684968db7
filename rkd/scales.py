"""How much to compute: the data sets, seeds and sizes of a whole set of tables and figures."""

from collections.abc import Iterable
from dataclasses import dataclass

from .distill import TEACHERS
from .readers import DataError
from .runs import Run, split_of
from .tuned import COMMON, tuned

# What the notebooks on UnKD train at every scale; "none" is the student on its own.
BASELINES = ("teacher", "none", "rd", "cd", "de-rrd", "htd")
METHODS = (*BASELINES, "unkd")


@dataclass(frozen=True)
class Scale:
    """datasets: catalog names; seeds: of training, every figure is their mean, save that ``few`` of them must do for
    sweeps and for LightGCN; epochs, lightgcn_epochs: at most; then the two sizes."""

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    few: tuple[int, ...]
    epochs: int = 500
    lightgcn_epochs: int = 500
    teacher_dim: int = 100
    student_dim: int = 10

    def available(self, log=print) -> tuple[str, ...]:
        """The data sets that can be had here; a line on each that cannot. Raises DataError where none can."""
        found = []
        for name in self.datasets:
            try:
                split_of(name)
                found.append(name)
            except DataError as error:
                log(f"{name} is left out: {error}")
        if not found:
            raise DataError(f"none of {', '.join(self.datasets)} can be had; see the lines above")
        return tuple(found)

    def runs(self, dataset: str, methods: Iterable[str], backbone: str = "mf", few: bool = False,
             choice: str = "accuracy", **settings) -> list[Run]:
        """Each method with each seed (or few of them) on one data set; "teacher", "pd" and "none" are methods. choice:
        of the tuned settings, "accuracy" or "tail". settings: further ones of Run, of which epochs cannot go above the
        scale's own."""
        most = self.lightgcn_epochs if backbone == "lightgcn" else self.epochs
        settings["epochs"] = min(settings.get("epochs", most), most)
        split = settings.get("split", "unkd")
        chosen = {method: _chosen(dataset, backbone, method, choice, split) for method in methods}
        return [Run(dataset, method, seed, backbone, teacher_dim=self.teacher_dim,
                    dim=self.teacher_dim if method in TEACHERS else self.student_dim, **common | settings)
                for method, common in chosen.items() for seed in (self.few if few else self.seeds)]


def _chosen(dataset: str, backbone: str, method: str, choice: str, split: str) -> dict:
    """The tuned settings as arguments of Run."""
    own = tuned(dataset, backbone, method, choice, split)
    return {name: own.pop(name) for name in COMMON} | {"settings": own}


SCALES = {
    "smoke": Scale(("synthetic",), seeds=(0,), few=(0,), epochs=20, lightgcn_epochs=20, teacher_dim=32, student_dim=4),
    "laptop": Scale(("ml-100k",), seeds=(0, 1, 2), few=(0,), epochs=140, lightgcn_epochs=100),
    "paper": Scale(("citeulike", "ml-1m", "apps"), seeds=(0, 1, 2, 3, 4), few=(0, 1, 2, 3, 4)),
}
