"""Ctrl-C and SIGTERM as a wish to stop, which the loop grants between two steps."""

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM")


def leave_interrupts_to_parent(_: int = 0) -> None:
    """For a process that helps: Ctrl-C reaches it too, and the one that it helps may still need it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Interrupt:
    """While it is entered, the first signal sets `asked`; a second one does what it always did."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        # Only the main thread may set handlers; elsewhere signals are its business.
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
