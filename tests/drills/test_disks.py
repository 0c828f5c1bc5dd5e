"""Protects: a disk, a folder or a memory that fails is one sentence, half a file never stands for a whole one, and a run goes on."""

import random
import shutil
from pathlib import Path

import pytest

from tests.drills.drill import SIZE, drill, some
from tests.drills.writers import WITH_MODEL, WITHOUT_MODEL, clear, contents, faults_of, make_inputs, names, torn_lines
from tests.support.small_disk import small_disk

dice = random.Random(17)
OBEY = [["tests.support.troubles:obey_modes"]]


def faults_after(writer, ended, bench, out):
    """Return what is wrong in a folder after a command that met trouble: half of a file, or a file that is in the way."""
    found, expected = contents(out), bench.expected(writer)
    if ended.code == 0:
        return [] if found == expected else [f"{writer.name}: it ended well and did not write what it does: {ended}"]
    return faults_of(writer, found, expected) + torn_lines(writer, out)


def goes_on(tally, writer, bench, out):
    """Run a command again once the trouble is over."""
    again = bench.run(writer, out)
    if not bench.went_well(writer, again, out):
        tally.lost.append(f"{writer.name}: once the trouble was over the next run did not do what it does: {again}")


def fill_disks(kind, bench, writers, rooms, folder):
    with drill(kind) as tally:
        for writer in writers:
            bench.expected(writer)
            for room in rooms:
                with small_disk(folder / f"{writer.name}{room}", room) as disk:
                    ended = bench.run(writer, disk.folder, troubles=disk.troubles)
                    tally.tried += 1
                    if not ended.is_plain:
                        tally.crashed.append(f"{writer.name} on {room} KiB: {ended}")
                    tally.lost += faults_after(writer, ended, bench, disk.folder)
                    disk.enlarge()
                    if ended.code != 0:
                        goes_on(tally, writer, bench, disk.folder)


def test_a_full_disk(bench, tmp_path):
    fill_disks("full disk: commands without a model", bench, WITHOUT_MODEL, SIZE.rooms, tmp_path)


def test_a_full_disk_while_a_model_is_trained_asked_and_merged(model_bench, tmp_path):
    writers = some(WITH_MODEL, 0)
    fill_disks(f"full disk: {names(writers)}", model_bench, writers, SIZE.model_rooms, tmp_path)


@pytest.mark.parametrize("what", ["folder", "files"])
def test_what_may_only_be_read(what, bench, tmp_path):
    with drill(f"read-only {what}") as tally:
        for writer in some(WITHOUT_MODEL, 4 if what == "files" else 0, few=4):
            out = clear(tmp_path / writer.name)
            if what == "files":
                assert bench.run(writer, out).code == 0
            before = contents(out)
            paths = [out, *out.rglob("*")]
            for path in paths:
                path.chmod(0o555 if path.is_dir() else 0o444)
            ended = bench.run(writer, out, troubles=OBEY)
            tally.tried += 1
            # a teacher whose questions are all answered, and a judge whose verdicts are all there, have nothing to write
            if not ended.is_plain or (ended.code == 0 and what == "folder"):
                tally.crashed.append(f"{writer.name}: {ended}")
            if contents(out) != before:
                tally.lost.append(f"{writer.name}: what may only be read was changed")
            for path in paths:
                path.chmod(0o755 if path.is_dir() else 0o644)
            goes_on(tally, writer, bench, out)


def vanish(kind, bench, writers, fill, folder):
    """Remove the folder of the outputs, or of the inputs, while a command works."""
    with drill(kind) as tally:
        for number, writer in enumerate([one for one in writers for _ in range(SIZE.vanishings)]):
            bench.expected(writer)
            out, given = clear(folder / f"out{number}"), fill(clear(folder / f"given{number}"))
            command = bench.start(writer, out, given)
            command.wait_until_computed(dice.uniform(0, bench.computed_s[writer.name]))
            shutil.rmtree((out, given)[number % 2], ignore_errors=True)
            ended = command.wait()
            tally.tried += 1
            if not ended.is_plain:
                tally.crashed.append(f"{writer.name}, its {('outputs', 'inputs')[number % 2]} gone: {ended}")
            clear(out)
            goes_on(tally, writer, bench, out)


def test_folders_that_vanish(bench, tmp_path):
    vanish("vanishing folders: commands without a model", bench, some(WITHOUT_MODEL, 2, few=4), make_inputs, tmp_path)


def test_folders_that_vanish_while_a_model_is_trained_asked_and_merged(model_bench, tmp_path):
    def copied(folder: Path) -> Path:
        return Path(shutil.copytree(model_bench.given, folder, dirs_exist_ok=True))

    writers = some(WITH_MODEL, 1)
    vanish(f"vanishing folders: {names(writers)}", model_bench, writers, copied, tmp_path)


def test_a_working_folder_that_is_gone(bench, tmp_path):
    with drill("a working folder that is gone") as tally:
        for writer in some(WITHOUT_MODEL, 0, few=3):
            out = clear(tmp_path / writer.name)
            ended = bench.run(writer, out, troubles=[["tests.support.troubles:lose_working_folder"]])
            tally.tried += 1
            if not ended.is_plain:
                tally.crashed.append(f"{writer.name}: {ended}")
            tally.lost += faults_after(writer, ended, bench, out)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory a process holds is read from /proc")
@pytest.mark.parametrize("with_model", [False, True])
def test_too_little_memory(with_model, request, tmp_path):
    bench = request.getfixturevalue("model_bench" if with_model else "bench")
    writers = some(WITH_MODEL, 2) if with_model else some(WITHOUT_MODEL, 3, few=5)
    with drill(f"memory limit: {names(writers)}") as tally:
        for writer in writers:
            bench.expected(writer)
            for more in SIZE.memories:
                out = clear(tmp_path / f"{writer.name}{more}")
                ended = bench.run(writer, out, troubles=[["tests.support.troubles:limit_memory", more]])
                tally.tried += 1
                # a library written in Rust ends the process itself where it cannot start its threads
                if not ended.is_plain and "ThreadPoolBuildError" not in ended.said:
                    tally.crashed.append(f"{writer.name} with {more} MiB: {ended}")
                tally.lost += faults_after(writer, ended, bench, out)
                if ended.code != 0:
                    goes_on(tally, writer, bench, out)
