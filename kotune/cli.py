"""Every command of the course on one page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from utils import CourseError

COMMANDS = {  # name: (module, its main, whether the name itself is its first argument, one line of help)
    "pretrain": ("kotune.training.stages", True),
    "sft": ("kotune.training.stages", True),
    "reward": ("kotune.training.stages", True),
    "dpo": ("kotune.training.stages", True),
    "infer": ("kotune.answering.batch", False),
    "merge": ("kotune.answering.batch", True),
    "judge": ("kotune.judging.run", False),
    "votes": ("kotune.judging.votes", False),
    "serve": ("kotune.serving.app", False),
    "data": ("kotune.data.registry", False),
    "korean": ("kotune.korean.checks", False),
    "notebooks": ("kotune.notebooks", False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a mistake of the user's is one line and exit code 1, Ctrl-C is 130."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in COMMANDS:
        sys.exit(f"usage: kotune {{{','.join(COMMANDS)}}} ...")
    module, keep = COMMANDS[given[0]]
    try:
        sys.exit(import_module(module).main(given if keep else given[1:]))
    except CourseError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
