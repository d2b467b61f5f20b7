"""`lethe`: every command by one word."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from study.records.failure import BAD_INPUT
from study.records.files import DISTRIBUTION

COMMANDS = {
    "run": ("study.run", "run a study, or continue one"),
    "status": ("study.status", "list the studies, or show how far one is"),
    "ui": ("analysis.ui.__main__", "serve MLflow and the studies' pages"),
    "report": ("analysis.report", "write what came out of a study"),
    "compare": ("analysis.compare", "set two studies side by side"),
    "pictures": ("study.pictures", "draw segmentations before and after a trial"),
    "export": ("study.export", "write the unlearned network, with its model card"),
    "sync": ("study.sync", "send to MLflow what it lacks of a study"),
}
"""Word -> the module that does it, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Hand the arguments to the command that the first of them names; returns its exit code."""
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if word in COMMANDS:
        code: int | None = import_module(COMMANDS[word][0]).main(rest, f"lethe {word}")
        return code
    if word in ("-V", "--version"):
        print(f"lethe {version(DISTRIBUTION)}")
        return 0
    asked = word in ("-h", "--help")
    lines = [f"  {name:9} {does}" for name, (_, does) in COMMANDS.items()]
    said = ["usage: lethe COMMAND [OPTIONS]", "", *lines, "", "lethe COMMAND --help lists the options of a command."]
    print(
        "\n".join(said if asked or not word else [f"lethe: no command {word!r}", *said]),
        file=None if asked else sys.stderr,
    )
    return 0 if asked else BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
