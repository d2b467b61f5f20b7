"""Ctrl-C and SIGTERM: the first lets trials save their state, a second one stops at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Catches signals while it is entered.

    Attributes:
        caught: the signal that came, if any.
        told: what to do at the first signal instead of raising KeyboardInterrupt; None while nothing can be saved.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self.told: Callable[[], None] | None = None

    def __enter__(self) -> "Interrupts":
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Catch signals again after a library (Ray, when it starts) has put its own handlers in."""
        if threading.current_thread() is threading.main_thread():  # no other may
            for number in _SIGNALS:
                signal.signal(number, self._hear)

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal has ended."""
        return 128 + (self.caught or signal.SIGINT)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        first, self.caught = self.caught is None, number
        if first and self.told is not None:
            self.told()
        else:
            raise KeyboardInterrupt
