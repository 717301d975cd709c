import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from simdata.common.errors import StoreNotWritten, UserError
from simdata.common.faults import of_store
from simdata.common.workers import execute, workers_within


@dataclass(frozen=True)
class Number:
    value: int

    @property
    def path(self):
        return Path(f"/somewhere/{self.value}.nii")


NUMBERS = [Number(value) for value in range(6)]


class Stubborn(Exception):
    """Does not pickle: what unpickles it would have to give two arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
        self.file = open(os.devnull)  # noqa: SIM115


def square_or_refuse(number):
    if number.value == 3:
        raise UserError("three is a bad source")
    return number.value**2, os.getpid()


def raise_something(number):
    """What the libraries that read sources were seen to raise, and what nobody has seen."""
    match number.value:
        case 0:
            np.memmap("/dev/null", "f4", "r", 0, (2**40, 2**40))
        case 1:
            raise MemoryError
        case 2:
            return int("12a")
        case 3:
            raise Stubborn("one", "two")
        case 4:
            with open("/nowhere/at all") as file:
                return file.read()
    return [][number.value]


def full_disk(number):
    with of_store(Path("/out.zarr")):
        raise OSError(errno.ENOSPC, "No space left on device")


def die_on_three(number):
    if number.value == 3:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return number.value


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_with_its_result_or_its_error(workers):
    outcomes = dict(execute(square_or_refuse, NUMBERS, workers))
    assert set(outcomes) == set(NUMBERS)
    assert str(outcomes.pop(NUMBERS[3])) == "three is a bad source"
    assert [outcomes[NUMBERS[n]][0] for n in (0, 1, 2, 4, 5)] == [0, 1, 4, 16, 25]
    here = {outcome[1] == os.getpid() for outcome in outcomes.values()}
    assert here == {workers == 1}


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_a_source_raises_is_its_message(workers):
    outcomes = dict(execute(raise_something, NUMBERS, workers))
    kinds = [
        "OverflowError|ValueError|OSError",
        "MemoryError",
        "ValueError",
        "Stubborn",
        "FileNotFound",
        "IndexE",
    ]
    for number, kind in zip(NUMBERS, kinds, strict=True):
        assert isinstance(outcomes[number], UserError)
        with pytest.raises(UserError, match=rf"^/somewhere/{number.value}\.nii: cannot be read \(({kind})"):
            raise outcomes[number]
    if workers == 1:
        assert isinstance(outcomes[NUMBERS[3]].__cause__, Stubborn)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_no_sources_fault(workers):
    for outcome in dict(execute(full_disk, NUMBERS[:2], workers)).values():
        assert isinstance(outcome, StoreNotWritten)
        assert "/out.zarr: cannot be written (OSError: [Errno 28] No space left" in str(outcome)


def test_a_source_on_which_its_process_dies_is_named_and_the_others_are_done():
    outcomes = dict(execute(die_on_three, NUMBERS, workers=2))
    assert isinstance(outcomes[NUMBERS[3]], UserError)
    assert "/somewhere/3.nii: the process that converted it was killed, twice" in str(outcomes[NUMBERS[3]])
    assert [outcomes[NUMBERS[n]] for n in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]


def test_memory_bounds_the_number_of_workers():
    assert workers_within(None, 700e6, 8) == 8
    assert workers_within(1500e6, 700e6, 8) == 1, "this process takes memory too"
    assert workers_within(1800e6, 700e6, 8) == 2
    assert workers_within(800e6, 700e6, 8) == 1
    with pytest.raises(UserError, match="500MB is too little: one worker needs 700MB"):
        workers_within(500e6, 700e6, 8)
