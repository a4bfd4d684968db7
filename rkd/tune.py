"""The search for every method's settings: as many trials for each, judged on validation data alone.

Successive halving: all trials are trained for an eighth of the epochs, the better half of them for a quarter, and the
better half of those to the end. From the same seed a trial repeats what it did at the rung
before, and goes on. At every rung it is an ordinary run, so that a search that was stopped goes on where it was.
"""

from math import ceil
from pathlib import Path

import pandas as pd

from .design import SEED, beyond, design, edges, in_words, ranges_of
from .environment import told
from .files import cache_folder, make_writable, write_whole
from .methods import METHODS, Method, method_of
from .run import Run, fingerprint_of, split_of
from .schedule import RunsFailed, compute
from .store import Result, costs, expected_seconds, key_of, trained
from .tuned import COMMON, RECORDED, best, choices, choose, file_name, searched_as

N = 32  # trials of a method
EPOCHS = {"mf": 160, "lightgcn": 200}  # of the last rung
PARTS = (8, 4, 1)  # of these epochs, at each rung
EVERY = 5  # epochs between two evaluations of train, with one of which a rung ends
EXTENSIONS = 2  # at most, of a quarter as many trials
VALID = ("ndcg@10", "recall@10", "unpopular/recall@10")
Tables = dict[str | type[Method], pd.DataFrame]


def tune(dataset: str, methods: list[str | type[Method]] | None = None, folder: Path | None = None,
         backbone: str = "mf", n: int | None = None, epochs: int | None = None, jobs: int | None = None,
         split: str = "unkd", dim: int | None = None) -> None:
    """Choose each method's settings, and write the trials, from which rkd.tuned reads the choice, to ``folder``, by
    default the cache's.

    methods : by default all of METHODS but variants (tuned.searched_as); for students of another size than the usual,
              ``dim``, all of them that do not teach.
    n       : trials of each, by default N, of another size than the usual half as many.
    The rest is as for ``search``.

    Teachers go first: a student's trials learn from a teacher with the settings just chosen. Later, trials that come
    with rkd count before those in the cache, and those of another folder count where RKD_TUNING names it; a line says
    so.
    """
    folder = (folder or cache_folder() / "tuning").absolute()
    fingerprint = fingerprint_of(dataset)
    place = folder / f"{split_of(dataset, split).name[:50]}-{fingerprint}" / split / backbone
    methods = methods or [name for name, method in METHODS.items()
                          if searched_as(method) is method and (dim is None or not method.teaches)]
    n = (N if dim is None else N // 2) if n is None else n
    make_writable(place)
    for teaches in (True, False):
        group = [method for method in methods if method_of(method).teaches == teaches]
        with told(RKD_TUNING=folder):  # runs take what was chosen there
            found = search(dataset, group, backbone, n, epochs, jobs, split, dim)
        for method, table in found.items():
            path = place / file_name(method, dim)
            write_whole(path, lambda path, table=table: table.to_csv(path, index=False))
            for choice, row in best(table).items():
                edge = f" (at the edge of what was tried: {table['edge'][row]})" if table["edge"][row] else ""
                print(f"{dataset} {split} {backbone} {path.stem}, {choice}: {choose(table)[choice]}{edge}", flush=True)
    if choices(fingerprint, split, backbone, method, dim) != choose(pd.read_csv(path)):
        print(f"runs take these settings where RKD_TUNING={folder} is set")


def search(dataset: str, methods: list[str | type[Method]], backbone: str = "mf", n: int = N,
           epochs: int | None = None, jobs: int | None = None, split: str = "unkd", dim: int | None = None) -> Tables:
    """The trials of each method, a row for each at each rung, in the order of training. Nothing here looks at the test
    data.

    n, epochs : trials of a method; epochs of the last rung, by default EPOCHS of the backbone. A student's teacher is
                trained for as many at every rung.

    The authors' settings (Method.published) are among the trials, and stay to the last rung if they have the batch that
    the others have (survivors). Where the best lr, l2 or weight lies at the edge of its range, n / 4 further trials go
    beyond it, around the best. Trials that fail, as where training diverges, are said and left out.

    Columns: "trial", its number; "origin", "published", "drawn", or which edge it goes beyond; "rung", epochs at most;
    the settings; "valid_…", "best_epoch" and "epochs" as in Result; "edge", which of the settings lie in the outer
    tenth of the range that was tried in the end.

    Raises ValueError for n below 1, RunsFailed where all trials of a method fail.
    """
    if n < 1:
        raise ValueError(f"there must be 1 trial or more, not {n}")
    epochs = epochs or EPOCHS[backbone]
    place = dict(dataset=dataset, seed=SEED, backbone=backbone, split=split, dim=dim, teacher_epochs=epochs)
    ranges = {method: ranges_of(method) for method in methods}
    found = _halve({method: design(method, backbone, n) for method in methods}, place, epochs, jobs)
    more = max(n // 4, 1)
    for extension in range(EXTENSIONS):
        further = {}
        for method, table in found.items():
            chosen = choose(table)["accuracy"]
            if edge := edges(chosen, ranges[method]):
                origin = f"beyond {in_words(edge)}"
                ranges[method], points = beyond(chosen, ranges[method], more, SEED + 1 + extension)
                further[method] = [{"trial": i, "origin": origin} | chosen | point
                                   for i, point in enumerate(points, n + more * extension)]
        for method, table in _halve(further, place, epochs, jobs).items():
            found[method] = pd.concat([found[method], table], ignore_index=True)
    return {method: table.assign(edge=[in_words(edges(row, ranges[method])) for row in table.to_dict("records")])
            for method, table in found.items()}


def rungs(n: int, epochs: int) -> list[tuple[int, int]]:
    """(trials, epochs) of each rung of n trials, (32, 20), (16, 40), (8, 160) for example. No fewer than two
    trials go on; a rung that would be as long as the next is left out."""
    lengths = sorted({min(epochs, EVERY * ceil(epochs / (part * EVERY))) for part in PARTS})
    return [(min(n, max(n >> step, 2)), length) for step, length in enumerate(lengths)]


def survivors(table: pd.DataFrame, n: int) -> set[int]:
    """Which n trials of the last rung in a table go on: the best, the authors', the one that would be chosen for the
    tail, and then those with the best NDCG@10. Authors' settings whose batch is not that of the others, so that they
    cannot be chosen (tuned.best), count among the n and end with the first rung: it shows how they do, and longer ones
    could cost most of a search."""
    last = table[table["rung"] == table["rung"].max()]
    chosen, ranked = best(last), last.sort_values("valid_ndcg@10", ascending=False, kind="stable").index
    published = table[table["origin"] == "published"]
    aside = set(published.loc[published["batch_size"] != last["batch_size"][chosen["accuracy"]], "trial"])
    rows = dict.fromkeys([chosen["accuracy"], *last.index[last["origin"] == "published"], chosen["tail"], *ranked])
    return set([trial for row in rows if (trial := last["trial"][row]) not in aside][:n - len(aside)])


def _halve(trials: dict[str | type[Method], list[dict]], place: dict, epochs: int, jobs: int | None) -> Tables:
    """Methods' trials, as many of each, at every rung that they reach; those of all methods side by side."""
    tables: dict[str | type[Method], list[pd.DataFrame]] = {method: [] for method in trials}
    steps = rungs(max(map(len, trials.values())), epochs) if trials else []
    for step, (_, length) in enumerate(steps):
        runs = {(method, trial["trial"]): _run(method, trial, place, length)
                for method, waiting in trials.items() for trial in waiting}
        _announce(list(runs.values()), steps[step:])
        results = _results(runs, jobs)
        for method, waiting in trials.items():
            tables[method].append(pd.DataFrame([_row(trial, length, results[run]) for trial in waiting
                                                if (run := runs[method, trial["trial"]]) in results]))
        if step + 1 < len(steps):
            stay = {method: survivors(pd.concat(of, ignore_index=True), steps[step + 1][0])
                    for method, of in tables.items()}
            trials = {method: [trial for trial in waiting if trial["trial"] in stay[method]]
                      for method, waiting in trials.items()}
    return {method: pd.concat(of, ignore_index=True) for method, of in tables.items()}


def _run(method: str | type[Method], trial: dict, place: dict, epochs: int) -> Run:
    common = {name: trial[name] for name in COMMON if name in trial}
    own = {name: value for name, value in trial.items() if name not in (*COMMON, *RECORDED)}
    return Run(method=method, **place, **common, settings=method_of(method).settings() | own, epochs=epochs)


def _row(trial: dict, length: int, result: Result) -> dict:
    return ({"trial": 0, "origin": "", "rung": length} | trial
            | {f"valid_{metric}": result.valid_metrics[metric] for metric in VALID}
            | {"best_epoch": result.best_epoch, "epochs": result.epochs})


def _results(runs: dict[tuple, Run], jobs: int | None) -> dict[Run, Result]:
    """The results of those of the runs, (method, trial) → run, that do not fail. Raises RunsFailed where all of a
    method do."""
    wanted = list(runs.values())
    try:
        return dict(zip(wanted, compute(wanted, jobs)))
    except RunsFailed as error:
        rest = [run for run in wanted if run not in error.failures]
        if {run.method for run in rest} < {run.method for run in wanted}:
            raise
        print(error)
        return dict(zip(rest, compute(rest, jobs)))


def _announce(runs: list[Run], steps: list[tuple[int, int]]) -> None:
    """A line, where there is anything to train: how much at this rung, and how long all rungs from here should take."""
    known, (n, length) = costs(), steps[0]
    seconds = {run: expected_seconds(run, known) for run in runs}
    todo = [run for run in runs if trained(run, key_of(run)) is None]
    later = sum(seconds.values()) * sum(n * length for n, length in steps[1:]) / (n * length)
    about = f"; about {(sum(seconds[run] for run in todo) + later) / 60:.0f} minutes of one core to the last rung"
    if todo:
        print(f"{len(todo)} trials to train, {length} epochs at most{about if known else ''}", flush=True)
