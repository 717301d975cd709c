"""Methods that remember keep results, and not their object."""

from __future__ import annotations

import gc
import weakref

import pytest

from simdata.common.remembered import remembering


class Table:
    def __init__(self) -> None:
        self.asked: list[int] = []
        self.row = remembering(self._row, 2)

    def _row(self, number: int) -> int:
        self.asked.append(number)
        return number**2


def test_the_last_results_are_not_worked_out_again():
    table = Table()
    assert [table.row(number) for number in (2, 3, 2, 4, 3)] == [4, 9, 4, 16, 9]
    assert table.asked == [2, 3, 4, 3], "3 was the one not asked for longest when 4 came"


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_the_object_goes_with_its_last_name():
    table = Table()
    table.row(1)
    seen = weakref.ref(table)
    del table
    assert seen() is None
