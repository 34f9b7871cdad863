"""One line on the terminal that says how far long work has come."""

from __future__ import annotations

import re
import sys
import time
from types import TracebackType
from typing import TextIO

_SECONDS_BETWEEN = 0.1  # more often nobody can read, and writing takes time from the work
_CLEAR_LINE = "\r\x1b[K"
_COUNTED = re.compile(r"(?s)(.*?)(\d+) of (\d+)$")
_BAR_WIDTH = 24


class Progress:
    """Shows the latest text on standard error while it is a terminal, and nothing otherwise.

    Used as a context manager, at whose end the line goes away.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_shown = self._stream.isatty()
        self._next = 0.0
        self._is_dirty = False

    def stage(self, text: str) -> None:
        """Show what is being done now."""
        if self._is_shown:
            self._stream.write(f"{_CLEAR_LINE}{text} ...")
            self._stream.flush()
            self._is_dirty = True
            self._next = time.monotonic() + _SECONDS_BETWEEN

    def count(self, text: str) -> None:
        """Show one of many texts that follow each other quickly: ten a second at most."""
        if self._is_shown and time.monotonic() >= self._next:
            self.stage(text)

    def show(self, text: str) -> None:
        """Show a stage, with a bar in front where the text ends in "N of M"."""
        counted = _COUNTED.match(text)
        if counted is None:
            self.stage(text)
            return
        done, total = int(counted[2]), max(int(counted[3]), 1)
        filled = min(_BAR_WIDTH * done // total, _BAR_WIDTH)
        self.count(f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_dirty:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()
