"""One instruction set for every x86-64 processor, so that a run gives the same bits on all of one maker.

torch and MKL choose by processor how they multiply matrices and in what order they add. ``pin`` has both take the way
of AVX2, which every x86-64 processor since 2015 has, and must come before torch is loaded. What is left is the maker:
MKL takes other code on Intel's processors than on AMD's, whatever it is asked for, save for its slowest
(MKL_CBWR=COMPATIBLE agrees on both, but MKD's epoch then takes 1.2 times as long, HTD's 1.35 and DE's 1.5).
"""

import os
import platform
import sys
from pathlib import Path

PIN = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}
INHERITED = "RKD_INSTRUCTIONS"  # what holds in the process that started this one: its workers must not differ from it


def pin() -> str:
    """Set PIN where it can still take effect; returns what holds in this process: "avx2, AMD" or "avx2, Intel";
    "native" where torch was loaded before without it, or where the processor is no x86-64."""
    if "torch" not in sys.modules and os.environ.get(INHERITED) != "native":
        os.environ.update(PIN)
    holds = platform.machine().lower() in ("x86_64", "amd64") and PIN.items() <= os.environ.items()
    os.environ[INHERITED] = f"avx2, {maker()}" if holds else "native"
    return os.environ[INHERITED]


def maker() -> str:
    """Who made this x86-64 processor, as MKL tells them apart: "Intel" or "AMD" (for all others)."""
    listed = Path("/proc/cpuinfo")
    text = listed.read_text(errors="replace") if listed.exists() else platform.processor()
    return "Intel" if "GenuineIntel" in text or platform.system() == "Darwin" else "AMD"


INSTRUCTIONS = pin()
