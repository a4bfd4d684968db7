"""The instruction set: one for every x86-64 processor, so that results have the same bits on all of them."""

import json
import platform

import pytest
from runs_helpers import python

from rkd.pinned import INSTRUCTIONS, PIN, maker

PINNED = f"avx2, {maker()}"
X86 = platform.machine().lower() in ("x86_64", "amd64")
SAY = """
import json, os
from rkd.pinned import INSTRUCTIONS, PIN
from rkd.store import provenance
print(json.dumps([torch.backends.cpu.get_cpu_capability(), INSTRUCTIONS, provenance(rkd.split_of("synthetic"),
                  torch.device("cpu"))["instructions"], {name: os.environ.get(name) for name in PIN}]))
"""


def told(script, **variables):
    out, error = python("-c", script, without={*PIN, "RKD_INSTRUCTIONS"} - set(variables), **variables).communicate()
    return json.loads(out), error


@pytest.mark.skipif(not X86, reason="pinned on x86-64 alone")
def test_rkd_pins_the_instruction_set_as_it_is_imported():
    (capability, instructions, stamped, environment), error = told("import rkd, torch" + SAY)
    assert (capability, instructions, stamped, environment) == ("AVX2", PINNED, PINNED, PIN), error


@pytest.mark.skipif(not X86, reason="pinned on x86-64 alone")
def test_a_torch_that_was_there_before_is_left_as_it_is_and_said_to_be():
    (_, instructions, stamped, environment), error = told("import torch, rkd" + SAY)
    assert (instructions, stamped, environment) == ("native", "native", dict.fromkeys(PIN)), error


@pytest.mark.skipif(not X86, reason="pinned on x86-64 alone")
@pytest.mark.parametrize("value, expected", [("avx2", PINNED), ("AVX2", "native")])
def test_a_torch_that_was_there_before_with_the_same_variables_will_do(value, expected):
    """torch ignores a value in capitals."""
    (capability, instructions, stamped, _), error = told("import torch, rkd" + SAY, ATEN_CPU_CAPABILITY=value,
                                                         MKL_CBWR=PIN["MKL_CBWR"])
    assert (instructions, stamped) == (expected, expected), error
    assert capability == "AVX2" or expected == "native"


@pytest.mark.skipif(X86, reason="there is nothing to pin elsewhere")
def test_elsewhere_the_processors_own_instructions_are_taken():
    assert INSTRUCTIONS == "native"


@pytest.mark.parametrize("imports", ["import rkd, torch", "import torch, rkd"])
def test_worker_processes_do_as_the_process_that_started_them(imports):
    """Else a result would be kept under the key of another instruction set than it was computed with."""
    script = imports + ("\nimport joblib\n"
                        "def of(_):\n    import rkd.pinned\n    return rkd.pinned.INSTRUCTIONS\n"
                        "print(*joblib.Parallel(2)(joblib.delayed(of)(i) for i in range(2)), of(0), sep=chr(10))")
    out, error = python("-c", script, without=[*PIN, "RKD_INSTRUCTIONS"]).communicate()
    assert out.splitlines() == [PINNED if X86 and imports.startswith("import rkd") else "native"] * 3, error
