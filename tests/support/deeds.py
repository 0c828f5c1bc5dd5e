"""Deeds of the course that have no command of their own, run as one, so that what goes wrong ends as it does in a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kotune import cli


def _as_command(deed: Callable[..., None], arguments: Sequence[str]) -> None:
    def add_options(parser) -> None:
        parser.add_argument("given", nargs="*")

    cli.COMMANDS["deed"] = cli.Command("a deed", add_options, lambda chosen: deed(*chosen.given))
    cli.main(["deed", *arguments])


def ask(arguments: Sequence[str]) -> None:
    """Ask a teacher: JOURNAL, how many questions, and how many at a time; the endpoint is that of the environment."""

    def deed(journal: str, count: str, concurrency: str) -> None:
        from kotune.teacher import client

        who = client.connect(journal=journal, concurrency=int(concurrency))
        replies = who.ask([f"질문 {number}번" for number in range(int(count))])
        print(f"{len(client.answered(replies))} of {count} answered")

    _as_command(deed, arguments)


def cast(arguments: Sequence[str]) -> None:
    """Cast votes: the FILE, the name of the first and how many; each is told by its name once it is stored."""

    def deed(path: str, name: str, count: str) -> None:
        from dataclasses import replace

        from kotune.judging import votes

        for number in range(int(count)):
            asked = votes.pair(f"{name}, {number}", ("sft", "base")).decided("first")
            votes.store(path, replace(asked, answer_a="전입신고를 합니다. " * 20, answer_b="모릅니다."))
            print(f"stored: {asked.question}", flush=True)

    _as_command(deed, arguments)


def train(arguments: Sequence[str]) -> None:
    """Train a stage on a tiny model: STAGE, MODEL, DATA and OUTPUT; no seconds go into the estimate of `kotune sft`."""

    def deed(stage: str, model: str, data: str, output: str) -> None:
        from tests.support.killed_run import train as train_tiny

        train_tiny(stage, model, data, output)

    _as_command(deed, arguments)
