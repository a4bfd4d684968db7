"""A GPU's way of a training step beside a CPU's: no epoch waits for the host, and no gradient differs."""

import contract
import pytest
import torch
from contract import record_step, training

from rkd import METHODS, Distiller
from rkd.train import train_epoch

DISTIL = {name: method for name, method in METHODS.items() if issubclass(method, Distiller)}
EVERY = {"none": None} | DISTIL
FROM_LISTS = ["rd", "cd", "rrd", "rrd-top", "unkd", "sld", "stratified-sld"]


def test_off_the_cpu_no_step_of_the_plain_student_waits():
    """Those of the methods: test_contract.py."""
    contract.check_fixed_shapes(None)


@pytest.mark.parametrize("name", EVERY)
def test_off_the_cpu_no_epoch_waits(name):
    """Epoch 2, when no student's ranking is renewed (CD and SLD do that every fifth, and wait there)."""
    for lists in (False, True)[:1 + (name in FROM_LISTS)]:
        with contract.as_on_a_gpu():
            state, method = training(EVERY[name], lists=lists)
            with contract.Recorder() as recorder:
                train_epoch(*state, 2, 1e-2, 512, method, 0.5)
        assert not recorder.waits()


# Those that draw for every entity anew, as many as there are: without these draws, or not at all.
UNDRAWN = {name: {} for name in DISTIL} | {"nkd": {"mix": "none", "dropout": 0.0}, "cpd": {"dropout": 0.0}}
for name in ("de", "de-rrd", "htd", "pd-htd", "mkd", "stratified-mkd"):
    del UNDRAWN[name]


@pytest.mark.parametrize("size", [32, 512])
@pytest.mark.parametrize("name", UNDRAWN)
def test_fixed_shapes_change_no_gradient(name, size):
    """The way of a CPU and that of a GPU, on the same draws."""
    found = []
    for fixed in (False, True):
        state, method = training(METHODS[name], **UNDRAWN[name])
        with contract.as_on_a_gpu(fixed):
            record_step(state, method, size)
        found.append(state[0].table.grad.clone())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
