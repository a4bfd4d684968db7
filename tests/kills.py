"""Kill a process that computes runs at random moments, while it trains and while it writes, and see what is lost.

    python tests/kills.py [50]
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import rkd
from rkd import Result, Run, compute
from rkd.store import key_of, metrics_key, read, stored

PAUSE = 0.03  # seconds in the middle of every write


def runs() -> list[Run]:
    return [Run("synthetic", method, seed, dim=3, epochs=20, teacher_dim=5) for seed in (0, 1) for method in
            ("teacher", "none", "cd")]


def finished() -> dict[str, Result]:
    """The results in the cache."""
    found = (stored(run, key_of(run, "cpu"), metrics_key()) for run in runs())
    return {result.key: result for result in found if result}


def facts(results: dict[str, Result]) -> dict[str, str]:
    """What does not depend on the clock."""
    return {key: repr((r.weights, r.metrics, r.valid_metrics, r.history)) for key, r in results.items()}


def half_written() -> list[Path]:
    """What lies in the cache under a name of its own but is not whole."""
    found = [path for path in Path(os.environ["RKD_CACHE"]).glob("runs/*/*.*") if not path.name.startswith(".")]
    whole = {".json": read, ".safetensors": lambda path: len(path.read_bytes()) == sizes[path.name]}
    return [path for path in found if path.suffix in whole and not whole[path.suffix](path)]


def slowly(write):
    def in_two_steps(path, content, **options):
        write(path, content[:len(content) // 2], **options)
        time.sleep(PAUSE)
        return write(path, content, **options)
    return in_two_steps


@contextmanager
def computing() -> Iterator[int]:
    """A process that computes all runs."""
    child = os.fork()
    if child == 0:
        Path.write_bytes, Path.write_text = slowly(Path.write_bytes), slowly(Path.write_text)
        try:
            compute(runs(), jobs=1, device="cpu", log=lambda line: None)
        finally:
            os._exit(0)
    yield child
    with suppress(ChildProcessError):
        os.waitpid(child, 0)


sizes: dict[str, int] = {}


def kill(times: int, seed: int = 0) -> dict[str, int]:
    """Counts: "killed" in the middle, "lost" finished results, "half-written" files, results that are "different" from
    those of a process that nobody killed."""
    draw, told = random.Random(seed), {"killed": 0, "lost": 0, "half-written": 0, "different": 0}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RKD_CACHE"] = f"{folder}/reference"
        start = time.monotonic()
        with computing():
            pass
        seconds, reference = time.monotonic() - start, finished()
        sizes.update({path.name: path.stat().st_size for path in Path(folder).rglob("*.safetensors")})
        os.environ["RKD_CACHE"] = f"{folder}/cache"
        for _ in range(times):
            before = finished()
            if len(before) == len(reference):
                told["different"] += facts(before) != facts(reference)
                shutil.rmtree(f"{folder}/cache")
                before = {}
            with computing() as child:
                time.sleep(draw.uniform(0, 0.5 * seconds))
                told["killed"] += os.waitpid(child, os.WNOHANG) == (0, 0)
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            after = finished()
            told["lost"] += sum(after.get(key) != result for key, result in before.items())
            told["half-written"] += len(half_written())
        with computing():
            pass
        told["different"] += facts(finished()) != facts(reference)
    return told


if __name__ == "__main__":
    print(rkd.__file__, kill(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
