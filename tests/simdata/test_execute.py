import os

import pytest

from simdata.errors import UserError
from simdata.execute import execute, workers_within


def square_or_refuse(number):
    if number == 3:
        raise UserError("three is a bad source")
    return number**2, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_with_its_result_or_its_error(workers):
    outcomes = dict(execute(square_or_refuse, range(6), workers))
    assert set(outcomes) == set(range(6))
    assert isinstance(outcomes[3], UserError)
    assert [outcomes[n][0] for n in (0, 1, 2, 4, 5)] == [0, 1, 4, 16, 25]
    here = {outcome[1] == os.getpid() for n, outcome in outcomes.items() if n != 3}
    assert here == {workers == 1}


def test_other_exceptions_are_bugs_and_are_raised():
    with pytest.raises(ZeroDivisionError):
        list(execute(lambda number: 1 / number, [0], workers=1))


def test_memory_bounds_the_number_of_workers():
    assert workers_within(None, 700e6, 8) == 8
    assert workers_within(1500e6, 700e6, 8) == 1, "this process takes memory too"
    assert workers_within(1800e6, 700e6, 8) == 2
    assert workers_within(800e6, 700e6, 8) == 1
    with pytest.raises(UserError, match="500MB is too little: one worker needs 700MB"):
        workers_within(500e6, 700e6, 8)
