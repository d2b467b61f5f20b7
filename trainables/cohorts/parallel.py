"""Runs one function over all scans of a cohort at once, with a progress bar on a terminal."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_parallel(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result]:
    """Results in the order of the items. Threads, because zlib, numpy and torch release the interpreter lock."""
    console = Console(stderr=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results, hidden = pool.map(function, items), not console.is_terminal
        return list(track(results, description, len(items), console=console, transient=True, disable=hidden))
