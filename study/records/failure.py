"""How the commands tell of what keeps them from their work, and their exit codes."""

from rich.console import Console
from rich.markup import escape

BAD_INPUT, FAILED = 2, 1
"""Exit codes; after a signal it is 128 + the signal's number."""


class StudyError(Exception):
    """What keeps a command from its work, with every problem, a line each.

    Attributes:
        problems: what is wrong, where, and what to do.
    """

    def __init__(self, *problems: str):
        super().__init__("\n".join(problems))
        self.problems = problems


def fail(*problems: str, code: int = BAD_INPUT) -> int:
    """Print problems, one line each, to standard error; returns the exit code."""
    errors = Console(stderr=True)
    for problem in problems:
        errors.print(f"[bold red]error:[/bold red] {escape(problem)}", highlight=False, soft_wrap=True)
    return code
