"""What is trained without a teacher: teachers, and the plain student."""

from ..limits import FROM_0
from ..losses import BPR, PD
from .base import Method


class Alone(Method):
    """A model that is trained on the interactions alone, by an objective of losses.py."""

    taught_by = None
    weight = 0.0

    def objective(self):
        """What the model minimises."""
        return BPR()


class Student(Alone):
    """The plain student: BPR, no teacher."""

    label = "Student"
    source = "Rendle et al., UAI 2009"


class Teacher(Alone):
    """The teacher: BPR at a larger size."""

    label = "Teacher"
    source = "Rendle et al., UAI 2009"
    teaches = True


class DebiasedTeacher(Alone):
    """A teacher debiased by PD (losses.PD): popularity has a factor of its own in training, which inference drops."""

    label = "PD teacher"
    source = "Zhang et al., SIGIR 2021"
    teaches = True
    search = {"gamma": (0.02, 0.25)}
    limits = {"gamma": FROM_0}
    differs = ("f is ELU + 1 as in PD's paper (UnKD's code: ReLU); popularity factors as in UnKD's code: shares of the "
               "interactions, each item counted once more.",)

    gamma: float = 0.1

    def objective(self):
        return PD(self.gamma)
