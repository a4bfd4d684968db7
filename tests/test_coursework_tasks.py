"""Coursework: tasks, their solutions and listed mistakes, and how answers travel."""

import re

import numpy as np
import pytest
import torch
from coursework_helpers import TASKS_OF, functions, said

from rkd.coursework import TASKS, check
from rkd.coursework.answers import answer, decode, encode, plain
from rkd.coursework.release import solution_copy, student_copy
from rkd.coursework.task import Wrong, close


def test_every_task_is_in_one_exercise():
    assert sorted(sum(TASKS_OF.values(), [])) == sorted(TASKS) and len(TASKS_OF) == 9


@pytest.mark.parametrize("exercise", TASKS_OF)
def test_solutions_are_right(exercise, capsys):
    namespace = functions(exercise, solution_copy)
    for task in TASKS_OF[exercise]:
        assert said(task, namespace[task]) == ""
        assert capsys.readouterr().out == f"{task}: right\n" * 2


@pytest.mark.parametrize("exercise", TASKS_OF)
def test_stubs_are_told_to_be_written(exercise):
    namespace = functions(exercise, student_copy)
    for task in TASKS_OF[exercise]:
        for hidden in (False, True):
            with pytest.raises(Wrong, match=rf"^{task}: it is not written yet \(about \d+ lines?\)$"):
                check(task, namespace[task], hidden)


@pytest.mark.parametrize("task", [name for name in TASKS if TASKS[name].mistakes])
def test_mistakes_are_called_by_their_name(task):
    """No listed mistake is right, or is taken for another."""
    for words, wrong in TASKS[task].mistakes.items():
        assert said(task, wrong) == f"{task}: {words}"


def test_a_stub_of_another_tool():
    """nbgrader's own say nothing of lines."""
    def stub(hits):
        raise NotImplementedError()

    assert said("dcg", stub) == "dcg: it is not written yet"


def test_a_wrong_answer_is_shown_without_a_traceback():
    assert Wrong("a: b")._render_traceback_() == ["Not right yet: a: b"]


def test_an_unknown_task():
    with pytest.raises(ValueError, match="there is no task 'bpr'; the tasks are bpr_loss, "):
        check("bpr", print)


def test_answers_survive_their_journey():
    value = plain([torch.tensor([[1.5, torch.nan]]), np.arange(3), True, None, {"a": torch.tensor(2)}, (1, 2.5),
                   object()])
    back = decode(encode(value))
    assert close(back[:5], value[:5]) and back[5:] == [[1, 2.5], "object"]
    assert back[0].shape == (1, 2) and back[1].dtype == torch.int64
    with pytest.raises(ValueError, match="no tensor"):
        decode({"tensor": [1], "shape": [1], "dtype": "Tensor"})


def test_a_function_cannot_change_the_case():
    def greedy(train):
        train.zero_()
        return torch.zeros(train.shape[1])

    before = TASKS["net_push"].visible[0]["train"].clone()
    assert "changes its argument train in place" in said("net_push", greedy)
    assert torch.equal(TASKS["net_push"].visible[0]["train"], before)


def test_gradients_are_answered():
    found = answer(lambda x, y: (x * y).sum(), {"x": torch.ones(2), "y": torch.tensor([1.0, 3.0])}, ("x",))
    assert found["gradient"]["x"].tolist() == [1, 3] and found["changed"] == [] and close(found["value"], 4.0)


def test_words_are_sentences_of_one_line():
    for name, task in TASKS.items():
        for words in task.mistakes:
            assert re.fullmatch(r"[^\n]{10,160}", words), (name, words)
