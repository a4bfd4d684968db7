"""Coursework: exercises that check themselves, their release to students, and grading."""

from .checking import TASKS, check
