"""Signals that ask a training to stop: Ctrl-C, and those with which batch systems announce the end.

A training that is asked ends the step in work, saves, and leaves in order; how often it is asked, and by how
many signals, makes no difference. Only Ctrl-C a second time kills it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from simtrain.common import processes

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
# s within which a second Ctrl-C is the first one again: parents pass on what the terminal, or a batch system,
# has sent to their children as well. torchrun takes longer to.
ECHO, ECHO_OF_TORCHRUN = 0.3, 2.0


class Stopped(BaseException):
    """A signal (``number``) came while there was nothing to save yet."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interrupts:
    """The signals of this process so far; ``signal`` is the number of the first one, None without any."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._first_key: float | None = None
        self._held = False

    def hold(self) -> None:
        """From here on signals are only noted: who holds them looks, and stops in order.

        Before, the first one raises `Stopped` at once; but not if there are several processes, which must
        agree to stop and would wait for each other for ever.
        """
        self._held = True

    def release(self) -> None:
        """The opposite of `hold`: what is to be saved is saved."""
        self._held = False

    def catch(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._again():
            raise KeyboardInterrupt
        if self.signal is not None:
            return
        self.signal = number
        if not self._held and processes.size() == 1:
            raise Stopped(number)
        if number == signal.SIGINT and processes.rank() == 0:
            os.write(2, b"\nstopping behind this step; Ctrl-C again kills\n")  # print may not be interrupted

    def _again(self) -> bool:
        now = time.monotonic()
        if self._first_key is None:
            self._first_key = now
        return now - self._first_key > (ECHO if processes.size() == 1 else ECHO_OF_TORCHRUN)


_active: Interrupts | None = None
_to_the_end = False


def keep_to_the_end() -> None:
    """From here on, what is caught once is caught until the process ends.

    For a process that ends with its work: the second signal of a pair may come while it leaves, and would
    give it another status than the one it leaves with.
    """
    global _to_the_end
    _to_the_end = True


def leave(number: int | None) -> None:
    """Raise `Stopped`, if a signal of that number stopped what was done."""
    if number is not None:
        raise Stopped(number)


@contextmanager
def caught() -> Iterator[Interrupts]:
    """Within it, signals are caught; within another, they are that one's.

    Hang-ups that the process was started to ignore (``nohup``) stay ignored. Python gives signals to the main
    thread alone: in any other none is seen, not even one that stops what the main thread trains.
    """
    global _active
    if threading.current_thread() is not threading.main_thread():
        yield Interrupts()
        return
    if _active is not None:
        yield _active
        return
    interrupts = _active = Interrupts()
    before = {}
    for name in NAMES:
        number = getattr(signal, name, None)
        ignored = number is not None and signal.getsignal(number) is signal.SIG_IGN
        if number is not None and not (ignored and name == "SIGHUP"):
            before[number] = signal.signal(number, interrupts.catch)
    try:
        yield interrupts
    finally:
        interrupts.hold()
        for number, handler in before.items() if not _to_the_end else ():
            signal.signal(number, handler)
        _active = None
