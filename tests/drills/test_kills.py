"""Protects: kill -9 at any moment loses nothing that was said to be stored, pays for nothing twice, and stops no later run."""

import json
import random
import shutil
from collections import Counter

import pytest

from kotune.exercises.catalogue import LESSONS
from tests.drills.drill import SIZE, drill
from tests.drills.writers import PAIRS, WITH_MODEL, WITHOUT_MODEL, clear, contents, faults_of, without_temporary
from tests.support.nursery import Command
from utils import ROOT

dice = random.Random(17)


def killed_within(command: Command, computed_s: float) -> bool:
    """Kill a command once it has computed a random share of so much; return whether it had not ended before."""
    command.wait_until_computed(dice.uniform(0, computed_s))
    command.kill()
    return command.wait().code < 0


def kill_and_go_on(tally, bench, writer, out, kills, old=None):
    """Kill a command again and again, then let it end; what is whole must stay so, and the end be that of a calm run."""
    expected = bench.expected(writer)
    done = 0
    for _ in range(4 * kills):  # one that ends before it is killed is tried again
        if done == kills:
            break
        before = {name: (out / name).read_bytes() for name in writer.growing if (out / name).exists()}
        command = bench.start(writer, out)
        if killed_within(command, bench.computed_s[writer.name]):
            done += 1
            tally.tried += 1
            found = without_temporary(contents(out))
            tally.lost += faults_of(writer, found, expected, old or {})
            tally.lost += [
                f"{writer.name}: {name} no longer holds what it held"
                for name, held in before.items()
                if not (out / name).read_bytes().startswith(held[: held.rfind(b"\n") + 1]) and contents(out) != expected
            ]
        elif writer.growing:  # it ended before it was killed, and has left nothing to do: from the beginning
            clear(out)
    ended = bench.run(writer, out)
    if not ended.is_plain:
        tally.crashed.append(f"{writer.name}: {ended}")
    elif ended.code != 0 or without_temporary(contents(out)) != expected:
        tally.lost.append(f"{writer.name}: after {done} kills the next run does not end as a calm one: {ended}")


def test_files_that_are_written_whole(bench, other_given, tmp_path):
    with drill("kill -9: convert, dedup, scan, korean, judge, votes") as tally:
        for writer in WITHOUT_MODEL:
            if writer.name == "teacher":
                continue
            out, old = clear(tmp_path / writer.name), {}
            if not writer.growing:  # what an earlier run wrote is there until the new one is whole
                assert bench.run(writer, out, other_given).code == 0
                old = contents(out)
            kill_and_go_on(tally, bench, writer, out, SIZE.kills, old)


def test_training_inference_and_merging(model_bench, tmp_path):
    for writer in WITH_MODEL:
        with drill(f"kill -9: {writer.name}") as tally:
            kill_and_go_on(tally, model_bench, writer, clear(tmp_path / writer.name), SIZE.model_kills)


def copy_of_the_notebooks(folder):
    """Return a folder with the notebooks, but for the text of their exercises, which is older than that of the course."""
    clear(folder)
    for name in LESSONS:
        notebook = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["id"].startswith("ex-") and cell["id"].endswith("-text"):
                cell["source"] = ["An older text of this exercise."]
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("rewriting", [["exercises"], ["badges", "--repository", "https://github.com/a-school/a-course"]])
def test_notebooks_that_are_rewritten_in_place(rewriting, bench, tmp_path):
    arguments = ["notebooks", *rewriting, "--folder"]
    with drill(f"kill -9: notebooks {rewriting[0]}") as tally:
        old = contents(copy_of_the_notebooks(tmp_path / "calm"))
        calm = bench.nursery.run(*arguments, tmp_path / "calm")
        assert calm.code == 0, calm
        new = contents(tmp_path / "calm")
        assert all(old[name] != new[name] for name in old), "the command has to change every notebook"
        for _ in range(4 * SIZE.kills):  # one that ends before it is killed is tried again
            if tally.tried == SIZE.kills:
                break
            folder = copy_of_the_notebooks(tmp_path / "killed")
            tally.tried += killed_within(bench.nursery.start(*arguments, folder), calm.computed_s)
            found = without_temporary(contents(folder))
            tally.lost += [
                f"{name} is neither the old one nor the new" for name in old if found[name] not in (old[name], new[name])
            ]
            ended = bench.nursery.run(*arguments, folder)
            if ended.code != 0 or without_temporary(contents(folder)) != new:
                tally.lost.append(f"after a kill the next run does not end as a calm one: {ended}")


def test_processes_that_share_a_journal(bench, endpoint_of_drills, tmp_path):
    """Two ask at once, and each is killed at a moment of its own."""
    count, journal, computed_s = 40 * SIZE.kills, tmp_path / "journal.jsonl", 0.2
    asked = [f"질문 {number}번" for number in range(count)]

    def start():
        return bench.nursery.start(journal, count, 4, call="tests.support.deeds:ask", **bench.settings)

    with drill("kill -9: teacher") as tally:
        before = len(endpoint_of_drills.requests)
        for _ in range(SIZE.kills):
            both = [start(), start()]
            tally.tried += sum(killed_within(command, computed_s) for command in both)
        ended = start().wait()
        if ended.code != 0:
            tally.crashed.append(str(ended))
        kept = Counter(json.loads(line)["text"] for line in journal.read_text(encoding="utf-8").splitlines())
        sent = Counter(one["body"]["messages"][-1]["content"] for one in endpoint_of_drills.requests[before:])
        tally.lost += [f"{text!r} is {kept[text]} times in the journal" for text in asked if kept[text] != 1]
        # of a process that dies, what it had sent and not yet kept: two for each of its four workers
        if sent.total() > count + tally.tried * 8 or max(sent.values()) > 1 + tally.tried:
            tally.lost.append(f"{sent.total()} requests were paid for where {count} were wanted")


def test_a_judge_that_is_paid_for(bench, endpoint_of_drills, tmp_path):
    folder = tmp_path / "judged"
    out, judge = (
        folder / "report.json",
        ["judge", "--answers_a", bench.given / "a.jsonl", "--answers_b", bench.given / "b.jsonl"],
    )
    arguments = [*judge, "--judge", "openai:m", "--out", out, "--journal", folder / "journal.jsonl"]
    with drill("kill -9: judging by a paid model") as tally:
        bench.expected(next(writer for writer in WITHOUT_MODEL if writer.name == "judge"))
        before = len(endpoint_of_drills.requests)
        for _ in range(4 * SIZE.kills):
            if tally.tried == SIZE.kills:
                break
            if killed_within(bench.nursery.start(*arguments, **bench.settings), bench.computed_s["judge"]):
                tally.tried += 1
            elif tally.tried == 0:  # it ended before it was killed, and left nothing to ask: from the beginning
                shutil.rmtree(folder)
                before = len(endpoint_of_drills.requests)
        ended = bench.nursery.run(*arguments, **bench.settings)
        if ended.code != 0:
            tally.crashed.append(str(ended))
            return
        report = json.loads(out.read_text(encoding="utf-8"))
        judged = (folder / "report.LLM_m.judgments.jsonl").read_text(encoding="utf-8").splitlines()
        sent = len(endpoint_of_drills.requests) - before
        if (
            report["n_judged"] != PAIRS
            or len({json.loads(line)["id"] for line in judged}) != len(judged)
            or len(judged) != PAIRS
        ):
            tally.lost.append(f"{report['n_judged']} of {PAIRS} judged, {len(judged)} lines")
        if sent > 2 * PAIRS + tally.tried * 32:  # two for each of its sixteen workers
            tally.lost.append(f"{sent} requests were paid for where {2 * PAIRS} were wanted")


def test_votes(bench, tmp_path):
    """Three people vote into one file; the one who never ends is killed, and then another takes the place."""
    path, stored, never = tmp_path / "votes.jsonl", [], 10**6
    with drill("kill -9: votes") as tally:
        for turn in range(SIZE.kills):
            voters = [
                bench.nursery.start(path, f"{turn}.{number}", (12, never)[number == 0], call="tests.support.deeds:cast")
                for number in range(3)
            ]
            tally.tried += killed_within(voters[0], 0.15)
            for voter in voters[1:]:
                if (ended := voter.wait()).code != 0:
                    tally.crashed.append(str(ended))
            stored += [
                line.removeprefix("stored: ") for one in voters for line in one.said.splitlines() if "stored: " in line
            ]
        ended = bench.nursery.run("votes", path, "--out", tmp_path / "out")
        if ended.code != 0:
            tally.crashed.append(str(ended))
        kept = Counter(json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines())
        tally.lost += [f"the vote {one!r} is {kept[one]} times in the file" for one in stored if kept[one] != 1]
        if kept.total() > len(stored) + tally.tried:  # stored, and killed before it could say so
            tally.lost.append(f"{kept.total()} votes in the file, {len(stored)} were cast")
