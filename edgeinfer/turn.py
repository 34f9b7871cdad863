"""Whose turn it is to run a session that several threads use."""

from __future__ import annotations

import threading
from contextlib import suppress


class Turn:
    """Runs of one session follow each other: who runs has taken the one item of `free`.

    It does what a lock does for a fifth of a microsecond less than ``with lock`` costs, and as
    safely when a signal handler raises, KeyboardInterrupt say. CPython lets handlers run after
    calls and on entering Python functions. So the turn is taken by ``del turn.free[0]``, no call,
    right before a `try`, and given back by ``turn.home.append(None)``, one call of a C function,
    first thing in its `finally`. A method that did either could be interrupted on being entered.

    Who finds `free` empty waits in `take`, first come, first served. While anybody does, `home` is
    not `free` but a place where only the first of those who wait looks: a thread that runs in a
    loop cannot take its own turn again before them. Whatever an interruption leaves undone, a turn
    in that place without anybody who waits, say, the next one in `take` puts right.
    """

    __slots__ = ("_changing", "_reserved", "free", "home", "waiting")

    def __init__(self) -> None:
        self.free: list[None] = [None]
        self.home = self.free  # where the turn is given back to
        self.waiting: list[threading.Lock] = []  # if any: ring after giving the turn back
        self._reserved: list[None] = []  # the turn, for the first of those who wait
        self._changing = threading.Lock()  # `waiting` and `home` change together

    def take(self, taken: list[None]) -> None:
        """Wait for the turn, and put it in `taken`, even where this is interrupted.

        The caller gives it back by ``turn.home.extend(taken)`` in the `finally` around this call.
        """
        bell = threading.Lock()
        bell.acquire()  # locked until it is rung
        try:
            with self._changing:
                self.waiting.append(bell)
                self.home = self._reserved
            while not taken:
                if self.waiting[0] is bell:
                    self._move(self._reserved, taken) or self._move(self.free, taken)
                if not taken:
                    # Look again now and then: who was to ring may have been interrupted.
                    bell.acquire(timeout=0.1)
        finally:
            try:  # noqa: SIM105 - nothing that can be interrupted comes before the removal
                self.waiting.remove(bell)
            except ValueError:
                pass  # interrupted before it was there
            with self._changing:
                if not self.waiting:
                    self.home = self.free
                    self._move(self._reserved, self.free)
            if not taken:
                self.ring()  # the bell of this thread may have been rung in vain

    def ring(self) -> None:
        """Let the first of those who wait see that the turn is free."""
        with suppress(IndexError, RuntimeError):  # nobody waits any more, or it was rung already
            self.waiting[0].release()

    @staticmethod
    def _move(source: list[None], target: list[None]) -> bool:
        """Move the turn if it is there. Handlers run before or after, never with it in between."""
        try:
            del source[0]
        except IndexError:
            return False
        target.append(None)
        return True
