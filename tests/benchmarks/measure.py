"""Seconds and memory of a task, in a process of its own with one thread.

Seconds are the processor's: on an idle machine what a clock would show, elsewhere free of the waiting for others.
"""

import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import rkd

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
now = time.process_time


def alone(task, **arguments):
    """What task(**arguments), a function of a module in this folder, returns (as JSON) in a process of its own."""
    command = [sys.executable, __file__, task.__module__, task.__name__, json.dumps(arguments)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{task.__name__}({arguments}) ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(actions: dict, repeats: int) -> dict[str, float]:
    """Median seconds of each action, the actions taken in turns, after one turn that is not counted."""
    times = {name: [] for name in actions}
    for _ in range(repeats + 1):
        for name, action in actions.items():
            start = now()
            action()
            times[name].append(now() - start)
    return {name: statistics.median(of_one[1:]) for name, of_one in times.items()}


class Memory:
    """The most memory that this process holds within a ``with`` block, in MiB: ``peak`` in all, ``rise`` above what it
    held before, what had been freed not counted. Linux only."""

    def __enter__(self):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim:
            trim(0)  # or the block would be given for nothing what was freed before it
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        self.before = _status("VmRSS")
        return self

    def __exit__(self, *_):
        self.peak = _status("VmHWM")
        self.rise = self.peak - self.before


def _status(name: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


class Watched(rkd.MF):
    """An MF that notes when its factors were last asked for: in training, when an evaluation began."""

    asked = 0.0

    def factors(self):
        self.asked = now()
        return super().factors()


def machine(*packages: str) -> str:
    """One line: processor, threads, Python and packages."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in (cpuinfo.read_text() if cpuinfo.exists() else "").splitlines()
              if line.startswith("model name")]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{models[0] if models else platform.machine()}, one thread; Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    module, name, arguments = sys.argv[1:]
    print("\n" + json.dumps(getattr(import_module(module), name)(**json.loads(arguments))))
