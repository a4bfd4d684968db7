"""How much to compute: the data sets, seeds and sizes of a whole set of tables and figures."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..datasets import DataError
from ..methods import Method, method_of
from ..records import source
from ..run import Run, fingerprint_of, split_of
from ..tuned import COMMON, STUDENT_DIM, TEACHER_DIM, tuned


@dataclass(frozen=True)
class Scale:
    """datasets: catalog names; seeds: of training, every figure is their mean; few: the seeds of sweeps and LightGCN;
    worlds: how many synthetic ones; epochs, lightgcn_epochs: at most; mkd_split: the division on which MKD's studies
    are made; then the two sizes."""

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    few: tuple[int, ...]
    worlds: int = 10
    epochs: int = 500
    lightgcn_epochs: int = 500
    mkd_split: str = "unkd"
    teacher_dim: int = TEACHER_DIM
    student_dim: int = STUDENT_DIM

    def available(self, log=print) -> tuple[str, ...]:
        """The data sets available: on this machine or, where $RKD_RECORDS names records, in those; logs why each other
        one is not. Raises DataError where none is."""
        found, records = [], source()
        for name in self.datasets:
            try:
                if records and name not in records.facts:
                    raise DataError(f"it is not in the records of {records.folder}")
                if not records:
                    split_of(name)
                found.append(name)
            except DataError as error:
                log(f"{name} is left out: {error}")
        if not found:
            raise DataError(f"none of {', '.join(self.datasets)} can be had; see the lines above")
        return tuple(found)

    def runs(self, dataset: str, methods: Iterable[str | type[Method]], backbone: str = "mf", few: bool = False,
             choice: str = "accuracy", **settings) -> list[Run]:
        """Each method with each seed (or few of them) on one data set. choice: of the tuned settings, "accuracy" or
        "tail". settings: further ones of Run, of which epochs cannot go above the scale's own; of another ``dim`` than
        the scale's, the settings are those chosen for it, where they were."""
        most = self.lightgcn_epochs if backbone == "lightgcn" else self.epochs
        settings["epochs"] = min(settings.get("epochs", most), most)
        found = []
        for method in methods:
            dim = settings.get("dim", self.teacher_dim if method_of(method).teaches else self.student_dim)
            own = tuned(fingerprint_of(dataset), backbone, method, choice, settings.get("split", "unkd"), dim)
            common = {name: own.pop(name) for name in COMMON} | {"settings": own, "teacher_dim": self.teacher_dim,
                                                                 "dim": dim}
            found += [Run(dataset, method, seed, backbone, **common | settings)
                      for seed in (self.few if few else self.seeds)]
        return found

    def published(self, dataset: str, method: str, **settings) -> list[Run]:
        """A method with its authors' own settings (Method.published) with each seed on one data set."""
        made = method_of(method)
        common = {name: value for name, value in made.published.items() if name in COMMON}
        own = {name: value for name, value in made.published.items() if name not in COMMON}
        return self.runs(dataset, [method], **common | settings, settings=made.settings() | own)


SCALES = {
    "smoke": Scale(("synthetic",), seeds=(0,), few=(0,), worlds=1, epochs=20, lightgcn_epochs=20, teacher_dim=32,
                   student_dim=4),
    "laptop": Scale(("ml-100k",), seeds=(0, 1, 2, 3, 4), few=(0, 1, 2), epochs=160, lightgcn_epochs=200),
    "paper": Scale(("citeulike", "ml-1m", "apps"), seeds=(0, 1, 2, 3, 4), few=(0, 1, 2), mkd_split="ratio"),
}
