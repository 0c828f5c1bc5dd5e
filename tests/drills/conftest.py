"""What the drills share: commands to start, something for them to work on, and an endpoint that answers them."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.drills.writers import Writer, clear, contents, make_inputs
from tests.support.endpoint import Endpoint, chat_completion
from tests.support.nursery import Command, Ended, Nursery

LIGHT = (
    "kotune.data.writers", "kotune.data.dedup", "kotune.data.pii", "kotune.korean.checks", "kotune.korean.contrasts",
    "kotune.judging.run", "kotune.judging.vote_pairs", "kotune.teacher.client", "openai", "httpx2", "jinja2", "yaml",
    "numpy.random", "nbformat", "kotune.exercises.cells", "kotune.first_cells", "tests.support.deeds", "tests.support.troubles",
)  # fmt: skip
HEAVY = (
    "tests.support.killed_run", "kotune.models.merging", "kotune.models.gguf_export", "kotune.models.machine", "kotune.plots",
    "kotune.answering.batch", "transformers", "transformers.models.gemma3.modeling_gemma3", "trl.trainer.sft_trainer", "peft",
    "datasets", "openpyxl", "gguf", "safetensors.torch", "tests.support.deeds", "tests.support.troubles",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Leave the drills to `make drill`; without fork, as on Windows, out of these too."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if sys.platform == "win32":
                item.add_marker(pytest.mark.skip(reason="the drills start their commands by fork, and kill them"))


@dataclass
class Workbench:
    """Commands, what they work on, and the endpoint that they ask."""

    nursery: Nursery
    given: Path
    url: str
    spare: Path
    computed_s: dict[str, float] = field(default_factory=dict)  # by a run that nobody disturbed, by writer
    known: dict[tuple[str, Path], dict[str, str]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The settings by which a command asks the endpoint."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "none", "TEACHER_MODEL": "m", "TEACHER_PRICE": "1,1"}

    def start(self, writer: Writer, out: Path, given: Path | None = None, **how) -> Command:
        """Start a command that writes into `out`."""
        return self.nursery.start(*writer.arguments(given or self.given, out), call=writer.call, **{**self.settings, **how})

    def run(self, writer: Writer, out: Path, given: Path | None = None, **how) -> Ended:
        """Run a command that writes into `out`."""
        return self.start(writer, out, given, **how).wait()

    def expected(self, writer: Writer, given: Path | None = None) -> dict[str, str]:
        """Return what a command writes where nothing disturbs it."""
        key = (writer.name, given or self.given)
        if key not in self.known:
            ended = self.run(writer, clear(self.spare), given)
            assert ended.code == 0, ended
            self.computed_s[writer.name] = ended.computed_s
            self.known[key] = contents(self.spare)
        return self.known[key]

    def went_well(self, writer: Writer, ended: Ended, out: Path) -> bool:
        """Return whether a command has written all that it does where nothing disturbs it."""
        return ended.code == 0 and contents(out) == self.expected(writer)


def answer(body: dict):
    """Answer a question with itself, and a judge's prompt with a verdict."""
    time.sleep(0.02)
    asked = body["messages"][-1]["content"]
    content = json.dumps({"reason": "", "winner": "first"}) if "response_format" in body else asked
    return 200, chat_completion(content, usage=(10, 10))


@pytest.fixture(scope="session")
def endpoint_of_drills():
    """An endpoint that answers, and keeps what it was asked."""
    endpoint = Endpoint(answer)
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    """A process that starts commands without a model."""
    nursery = Nursery(tmp_path_factory.mktemp("outputs"), *LIGHT)
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def bench(nursery, endpoint_of_drills, tmp_path_factory):
    """Commands without a model."""
    given = make_inputs(tmp_path_factory.mktemp("given"))
    return Workbench(nursery, given, endpoint_of_drills.url, tmp_path_factory.mktemp("spare"))


@pytest.fixture(scope="session")
def other_given(tmp_path_factory):
    """Other inputs of the same names."""
    return make_inputs(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="session")
def model_bench(endpoint_of_drills, tmp_path_factory):
    """Commands with a model."""
    nursery = Nursery(tmp_path_factory.mktemp("outputs"), *HEAVY)
    given = tmp_path_factory.mktemp("models")
    made = nursery.run(given, call="tests.drills.writers:make_models")
    assert made.code == 0, made
    yield Workbench(nursery, given, endpoint_of_drills.url, tmp_path_factory.mktemp("spare"))
    nursery.close()
