"""python -m rkd run | recommend | compute | plan | record | verify | data | methods | tune | bench | grade: the same
functions from the command line."""

import argparse
import inspect
import json
import math
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import get_args

from .bench import bench
from .datasets import CATALOG, DataError, DataWarning, load, statistics
from .files import cache_folder
from .limits import ABOVE_0, FROM_0, FROM_1, check
from .methods import METHODS, method_of
from .models import BACKBONES
from .protocols import PROTOCOLS
from .records import Records, write
from .run import Run, split_of
from .schedule import RunsFailed, compute
from .served import load_model, serve
from .train import LIMITS
from .tune import EPOCHS, N, tune

SPLITS = ", ".join(name for name in PROTOCOLS if name != "all")
RUN_OPTIONS = {  # a field of Run → what the command line says of it
    "dataset": "a data set's name, or the path of a file", "method": ", ".join(METHODS), "seed": None,
    "backbone": ", ".join(BACKBONES), "dim": "embedding size (default: teacher 100, students 10)",
    "split": SPLITS, "split_seed": None, "lr": None, "l2": None, "weight": "of the distillation loss",
    "epochs": "at most", "teacher_dim": None, "batch_size": None,
    "teacher_epochs": "at most (default: the student's)"}


NUMBERS = LIMITS | {  # what a number on the command line must be
    "seed": FROM_0, "split_seed": FROM_0, "k": FROM_1, "trials": FROM_1, "sample": FROM_1, "jobs": FROM_1,
    "threads": FROM_1, "seconds": ABOVE_0, "total": ABOVE_0, "memory": FROM_1}


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """One line, as of every other mistake."""
        raise ValueError(f"{message} ({self.prog} --help says more)")


def number(name: str, kind: type) -> Callable[[str], float]:
    """What makes an option's text a number, in its range."""
    def parse(text):
        value = kind(text)
        try:
            check(name, value, NUMBERS[name])
            if kind is int and value >= 2 ** 63:
                raise ValueError(f"{name} must be below 2^63, not {text}")
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{name} ")) from None  # argparse says the name
        return value

    parse.__name__ = kind.__name__  # argparse says it of what is no number
    return parse


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parser().parse_args(arguments)
        status = options.command(options)
    except (ValueError, DataError, OSError) as error:
        print(f"rkd: {error}{_advice(error)}", file=sys.stderr)
        return 2
    except RunsFailed as error:
        print(f"rkd: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("rkd: stopped; runs that were complete are kept", file=sys.stderr)
        return 130
    return status or 0


def _advice(error: Exception) -> str:
    """What to do where the cache itself cannot be used."""
    with suppress(OSError):
        if (file := getattr(error, "filename", None)) and Path(str(file)).is_relative_to(cache_folder()):
            return " (RKD_CACHE names another folder)"
    return ""


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m rkd", description=sys.modules["rkd"].__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, help):
        sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(command=function)
        return sub

    sub = command("run", _run, "train one model, and its teacher if need be, or show the result that is on disk")
    for field in fields(Run):
        if field.name in RUN_OPTIONS:
            kind = next(kind for kind in (int, float, str) if kind in (field.type, *get_args(field.type)))
            required = {"required": True} if field.name == "dataset" else {"default": field.default}
            kind = kind if kind is str else number(field.name, kind)
            sub.add_argument("--" + field.name.replace("_", "-"), type=kind, help=RUN_OPTIONS[field.name], **required)
    sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the method's own")
    sub.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    sub.add_argument("--save", type=Path, metavar="PATH", help="write the model, with the data's ids, into a file")
    sub.add_argument("--json", action="store_true", help="the last line is one JSON object")

    sub = command("recommend", _recommend, "print a user's best items, from a model that was saved")
    sub.add_argument("path", type=Path, metavar="PATH", help="of the model")
    sub.add_argument("user", metavar="USER", nargs="?", help="the user's id")
    sub.add_argument("--items", nargs="+", metavar="ITEM", help="instead, the ids of what a new user chose")
    sub.add_argument("-k", type=number("k", int), default=10, help="how many (default: %(default)s)")
    sub.add_argument("--json", action="store_true", help="one JSON object a line")

    sub = command("plan", _plan, "list the runs behind the tables and figures, with key, state and estimated seconds")
    sub.add_argument("--scale", default="laptop", help="smoke, laptop or paper (default: %(default)s)")
    sub.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    sub.add_argument("--json", action="store_true", help="one JSON object a line")

    sub = command("data", _data, "fetch and verify a data set and print its statistics")
    sub.add_argument("name", metavar="NAME|PATH", help=", ".join([*CATALOG, "synthetic"]) + ", or a file of your own")
    sub.add_argument("--json", action="store_true")

    sub = command("compute", _compute, "compute the runs behind the tables and figures, here or on many machines")
    sub.add_argument("--scale", default="laptop", help="smoke, laptop or paper (default: %(default)s)")
    sub.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N",
                     help="the I-th of N shares, counted from 0, for job arrays (default: all)")
    sub.add_argument("--cluster", metavar="ADDRESS", help="of a dask scheduler, or local:N")
    sub.add_argument("--jobs", type=number("jobs", int), help="processes side by side (default: one per core)")
    sub.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")

    sub = command("record", _record, "write what came of a scale's runs, as far as they are computed, without models")
    sub.add_argument("--scale", default="laptop", help="smoke, laptop or paper (default: %(default)s)")
    sub.add_argument("--records", type=Path, metavar="FOLDER", help="default: figures/SCALE/records")
    sub.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")

    sub = command("verify", _verify, "train recorded runs anew and compare")
    sub.add_argument("--scale", default="laptop", help="smoke, laptop or paper (default: %(default)s)")
    sub.add_argument("--records", type=Path, metavar="FOLDER", help="default: figures/SCALE/records")
    sub.add_argument("--sample", type=number("sample", int), default=3, metavar="N",
                     help="how many runs (default: %(default)s)")
    sub.add_argument("--seed", type=number("seed", int), default=0, help="that draws them (default: %(default)s)")
    sub.add_argument("--adopt", action="store_true",
                     help="keep records across an edit: draw from those whose code has changed, one of every method "
                     "and backbone at least, and give all of them the keys of now if these are equal to the bit")
    sub.add_argument("--jobs", type=number("jobs", int), help="processes side by side (default: one per core)")
    sub.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")

    command("methods", _methods, "list the methods with their settings and defaults")

    sub = command("tune", _tune, "choose methods' settings on validation data and keep the trials")
    sub.add_argument("dataset", metavar="DATASET", nargs="?", help="a data set's name, or the path of a file")
    sub.add_argument("--scale", help="instead of a data set: all that is reported at this scale (laptop or paper)")
    sub.add_argument("--only", metavar="METHOD[,METHOD…]", help="default: all")
    sub.add_argument("--backbone", help=f"{', '.join(BACKBONES)} (default: mf; of a scale all)")
    sub.add_argument("--split", help=f"{SPLITS} (default: unkd; of a scale all)")
    sub.add_argument("--dim", type=number("dim", int),
                     help="embedding size (default: teacher 100, students 10; of a scale all)")
    sub.add_argument("--trials", type=number("trials", int),
                     help=f"for each method (default: {N}, of another --dim half as many)")
    sub.add_argument("--epochs", type=number("epochs", int), help="at most, at the last rung (default: "
                     f"{', '.join(f'{name} {epochs}' for name, epochs in EPOCHS.items())})")
    sub.add_argument("--jobs", type=number("jobs", int), help="processes side by side (default: one per core)")
    sub.add_argument("--to", type=Path, metavar="FOLDER", help="where the trials go (default: the cache)")

    sub = command("bench", _bench, "time epochs, set-ups and evaluation on this machine")
    sub.add_argument("dataset", metavar="DATASET")
    sub.add_argument("--threads", type=number("threads", int), help="of torch (default: its own choice)")
    sub.add_argument("--device", default="auto")
    sub.add_argument("--json", action="store_true", help="the last line is one JSON object")

    sub = command("grade", _grade, "grade submissions of the exercises (no sandbox: their code runs with your rights)")
    sub.add_argument("paths", type=Path, nargs="+", metavar="NOTEBOOK|FOLDER")
    sub.add_argument("--to", type=Path, default=Path("grades"), metavar="FOLDER", help="default: %(default)s")
    sub.add_argument("--seconds", type=number("seconds", float), default=30,
                     help="of processor time for a cell, or a task's cases (default: %(default)s)")
    sub.add_argument("--total", type=number("total", float), default=300,
                     help="the same for a submission (default: %(default)s)")
    sub.add_argument("--memory", type=number("memory", int), default=4096, metavar="MIB",
                     help="for a submission (default: %(default)s)")
    sub.add_argument("--jobs", type=number("jobs", int), metavar="N",
                     help="submissions at once (default: as many as cores, at most 8)")
    return top


def _run(options) -> None:
    run = Run(**{name: getattr(options, name) for name in RUN_OPTIONS},
              settings=parse_settings(options.method, options.set))
    (result,) = compute([run], jobs=1, device=options.device)
    print(f"{'test':>32} {'validation':>12}")
    for name, value in result.metrics.items():
        print(f"{name:20} {value:11.4f} {result.valid_metrics[name]:12.4f}")
    print(f"best epoch {result.best_epoch} of {result.epochs}, {result.seconds_per_epoch:.3f} s each")
    if options.save:
        serve(result.model, split_of(run), {"run": run.as_dict()}).save(options.save)
    if options.json:
        shown = ("metrics", "valid_metrics", "epochs", "best_epoch", "seconds_per_epoch", "seconds", "key",
                 "provenance")
        _print_json(run.as_dict() | {"max_epochs": run.epochs} | {name: getattr(result, name) for name in shown})


def _recommend(options) -> None:
    model = load_model(options.path)

    def named(text, ids):  # the id that is written so
        return next((one for one in ids.tolist() if str(one) == text), text)

    items = options.items and [named(text, model.item_ids) for text in options.items]
    for item, score in model.recommend(named(options.user, model.user_ids), options.k, items=items):
        if options.json:
            _print_json({"item": item, "score": score})
        else:
            print(f"{score:10.4f}  {item}")


def _shard(text: str) -> tuple[int, int]:
    """ "2/8" → (2, 8)."""
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise argparse.ArgumentTypeError(f"is I/N, I from 0 to N - 1, as 0/8, not {text!r}")
    return int(part), int(parts)


def _compute(options) -> None:
    from .study.plan import runs_of, shard

    runs = shard(runs_of(options.scale), *options.shard)
    results = compute(runs, options.jobs, options.device, cluster=options.cluster)
    print(f"{len(results)} runs are complete")


def _plan(options) -> None:
    from .study.plan import plan  # the companion, which needs what [notebooks] brings

    rows = plan(options.scale, options.device)
    if options.json:
        for row in rows:
            _print_json(row)
        return
    for row in rows:
        print(f"{row['key']}  {row['state']:10} {row['seconds']:7.0f} s  {row['label']}")
    todo = [row for row in rows if row["state"] == "to train"]
    minutes = sum(row["seconds"] for row in todo) / 60
    print(f"{len(rows)} runs; {len(todo)} to train, about {minutes:.1f} minutes of one core")


def _record(options) -> None:
    from .study.plan import computed  # the companion, which needs what [notebooks] brings
    from .study.reproduce import records_folder

    folder = options.records or records_folder(options.scale)
    results, missing = computed(options.scale, options.device)
    before = Records(folder) if (folder / "records.json").is_file() else ()
    if absent := [run for run in missing if run not in before]:
        print(f"{len(absent)} runs are not computed and left out, such as {absent[0]}", flush=True)
    if stay := len(missing) - len(absent):
        print(f"{stay} runs are not computed here: their records stay", flush=True)
    write(results, folder, keep=missing)


def _verify(options) -> int:
    from .study.reproduce import records_folder
    from .study.verify import adopt, drawn, verify

    records = Records(options.records or records_folder(options.scale))
    common = dict(jobs=options.jobs, device=options.device)
    if options.adopt:
        return 0 if adopt(records, options.sample, options.seed, **common) else 1
    outcomes = verify(records, drawn(records.runs, options.sample, options.seed), **common)
    print(*outcomes, sep="\n")
    return 0 if all(outcome.same for outcome in outcomes) else 1


def parse_settings(method: str, pairs: list[str]) -> dict:
    """["k=20", "guide=teacher"] → {"k": 20, "guide": "teacher"}, each of its default's type; ValueError otherwise."""
    known, parsed = method_of(method).settings(), {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, not {pair!r}")
        kind = type(known.get(name, ""))
        try:
            parsed[name] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
            if kind is float and not math.isfinite(parsed[name]):
                raise ValueError
        except (ValueError, KeyError):
            raise ValueError(f"--set {pair}: {name} is a {kind.__name__} such as {known[name]!r}") from None
    return parsed


def _data(options) -> None:
    facts = statistics(load(options.name))
    if options.name in CATALOG:
        facts["verified"] = CATALOG[options.name].verified
    if options.json:
        _print_json(facts)
    else:
        known = {True: ", as published", False: ", not yet verified: nobody has had the file in hand", None: ""}
        print(f"{options.name}: {facts['users']} users, {facts['items']} items, {facts['interactions']} interactions, "
              f"{facts['sparsity_percent']} % empty, fingerprint {facts['fingerprint']}{known[facts.get('verified')]}")


def _methods(options) -> None:
    for name, method in METHODS.items():
        settings = ", ".join(f"{k}={v!r}" for k, v in method.settings().items()) or "no settings of its own"
        print(f"{name:14} {method.label} ({method.source})\n{'':14} {settings}\n")
        text = [*inspect.getdoc(method).splitlines(), *(f"Differs: {line}" for line in method.differs)]
        print("\n".join(f"{'':14} {line}".rstrip() for line in text) + "\n")


def _tune(options) -> None:
    if (options.dataset is None) == (options.scale is None):
        raise ValueError("tune takes a data set, or a --scale")
    only = options.only.split(",") if options.only else None
    if options.dataset:
        searches = {(options.dataset, options.split or "unkd", options.backbone or "mf", options.dim): only}
    else:
        from .study.plan import searches_of  # the companion, which needs what [notebooks] brings

        searches = searches_of(options.scale, only, options.split, options.backbone, options.dim)
    for (dataset, split, backbone, dim), methods in searches.items():
        print(f"{dataset}, {split}, {backbone}{f', d = {dim}' if dim else ''}", flush=True)
        tune(dataset, methods, options.to, backbone, options.trials, options.epochs, options.jobs, split, dim)


def _bench(options) -> None:
    seconds = bench(options.dataset, options.threads, options.device)
    if options.json:
        _print_json(seconds)


def _grade(options) -> None:
    try:
        from .coursework.kernel import Limits
        from .coursework.report import grade_all
    except ModuleNotFoundError as error:  # rkd without notebooks
        raise ValueError(f"grading needs {error.name}: pip install 'rkd[notebooks]'") from None
    grade_all(options.paths, options.to, Limits(options.seconds, options.total, options.memory), options.jobs)
    print(f"written into {options.to}")


def _print_json(value: dict) -> None:
    """One line of strict JSON: a figure that does not exist (a mean over nobody) is null."""
    def clean(x):
        if isinstance(x, dict):
            return {k: clean(v) for k, v in x.items()}
        return None if isinstance(x, float) and not math.isfinite(x) else x

    print(json.dumps(clean(value)))


if __name__ == "__main__":
    plain = warnings.formatwarning
    warnings.formatwarning = lambda message, category, *where, **line: (
        f"rkd: {message}\n" if issubclass(category, DataWarning) else plain(message, category, *where, **line))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the locale
    sys.exit(main())
