"""Protects: shards on Ray end as in one process, a worker that is killed is replaced, and nothing is reported or left behind."""

import os
import sys
from argparse import Namespace
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from kotune import cli, ray_tasks
from kotune.ray_tasks import Resources, run_shards
from tests.support import on_ray
from utils import CourseError, read_jsonl, write_jsonl


@contextmanager
def skipped_where_ray_does_not_start():
    """Skip a test, with the reason, on a machine so busy that Ray misses its half minute three times."""
    try:
        yield
    except CourseError as error:
        if "Ray does not answer" in str(error) and "timed out" in str(error):
            pytest.skip(str(error))
        raise


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (pip install -e .[ray])")


@needs_ray
@pytest.mark.slow
def test_shards_end_as_in_one_process_though_a_worker_is_killed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_tasks, "_cores", lambda _: 2)
    long = tmp_path / ("긴 이름 " * 12)
    long.mkdir()
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, str(long))  # Ray's sockets would have no room there
    monkeypatch.setattr("tempfile.tempdir", None)
    started = []
    start = ray_tasks._start
    monkeypatch.setattr(ray_tasks, "_start", lambda ray, **options: started.append(options) or start(ray, **options))
    (tmp_path / "deadly-2").touch()
    with skipped_where_ray_does_not_start():
        [files] = run_shards(on_ray.write, Namespace(folder=str(tmp_path)), 3)
    assert [read_jsonl(file) for file in files] == [[{"shard": f"{number}/3"}] for number in (1, 2, 3)]
    said = capsys.readouterr().out
    assert all(f"[shard {number}/3] written by {number}/3, 0" in said for number in (1, 2, 3))  # 0: nothing is reported
    assert not (tmp_path / "deadly-2").exists()
    assert started[0]["_node_ip_address"] == "127.0.0.1" and not started[0]["include_dashboard"]
    assert not Path(started[0]["_temp_dir"]).exists() and not [*long.iterdir()]
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@needs_ray
@pytest.mark.slow
def test_dedup_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_tasks, "_cores", lambda _: 2)
    rows = [
        {
            "id": place,
            "question": f"보증금 {place % 5}억 원인 전세의 중개보수는 얼마인가요{'?' * (place % 3)}",
            "answer": "네.",
        }
        for place in range(30)
    ]
    source = str(write_jsonl(tmp_path / "a.jsonl", rows))
    cli.run(["data", "dedup", source, str(tmp_path / "whole.jsonl")])
    whole_said = capsys.readouterr().out
    with skipped_where_ray_does_not_start():
        cli.run(["data", "dedup", source, str(tmp_path / "parts.jsonl"), "--ray", "2"])
    said = capsys.readouterr().out
    assert "[shard 1/2] " in said and "[shard 2/2] " in said and said.endswith(whole_said.replace("whole.", "parts."))
    for part in ("", ".dropped", ".spared"):
        assert (tmp_path / f"parts{part}.jsonl").read_bytes() == (tmp_path / f"whole{part}.jsonl").read_bytes()


def test_a_cluster_that_is_not_there_or_ray_that_is_not_is_one_sentence(tmp_path, monkeypatch):
    chosen = Namespace(folder=str(tmp_path))
    for count, resources, words in ((0, Resources(), "--ray is 0"), (1, Resources(cpus=-1), "--ray-cpus is -1"),
                                    (1, Resources(gpus=float("nan")), "--ray-gpus is nan")):  # fmt: skip
        with pytest.raises(CourseError, match=words):
            run_shards(on_ray.write, chosen, count, resources)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CourseError, match=r"--ray needs the package ray; run `pip install -e \.\[ray\]`"):
        run_shards(on_ray.write, chosen, 2)


class Rays:
    """Stands in for Ray: runs tasks at once, in this process."""

    class exceptions:
        class RayError(Exception): ...

        class RayTaskError(RayError): ...

        class OutOfMemoryError(RayError): ...

    def __init__(self, starts_at=1, died=()):
        self.starts_at, self.died, self.inits, self.is_down = starts_at, died, [], False

    def is_initialized(self):
        return False

    def init(self, **options):
        self.inits.append(options)
        if len(self.inits) < self.starts_at:
            raise RuntimeError("The current node timed out\nduring startup.")

    def shutdown(self):
        self.is_down = True

    def remote(self, function):
        class Task:
            def options(self, **options):
                return self

            def remote(self, *arguments):
                return (function, arguments)

        return Task()

    def wait(self, waiting, num_returns):
        return [waiting[-1]], waiting[:-1]

    def get(self, task):
        function, arguments = task
        if arguments[2].number in self.died:
            raise self.exceptions.RayError("The worker died unexpectedly.\nlong story")
        return function(*arguments)


@pytest.fixture
def ray(monkeypatch):
    """Return a function that puts a stand-in into the place of Ray."""

    def put(**how):
        made = Rays(**how)
        monkeypatch.setattr(ray_tasks, "_import_ray", lambda: made)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        return made

    return put


def test_a_busy_machine_gets_more_than_one_start_and_a_cluster_one(ray, tmp_path):
    made = ray(starts_at=3)
    assert run_shards(on_ray.write, Namespace(folder=str(tmp_path)), 1) and len(made.inits) == 3
    made = ray(starts_at=4)
    with pytest.raises(CourseError, match=r"Ray does not answer \(The current node timed out during startup.\)"):
        run_shards(on_ray.write, Namespace(folder=str(tmp_path)), 1)
    made = ray(starts_at=2)
    with pytest.raises(CourseError, match=r"Ray at 10\.0\.0\.1:6379 does not answer"):
        run_shards(on_ray.write, Namespace(folder=str(tmp_path)), 1, Resources("10.0.0.1:6379"))
    assert len(made.inits) == 1 and made.is_down and "_temp_dir" not in made.inits[0]


def test_shards_that_fail_are_counted_and_the_others_end(ray, tmp_path):
    ray(died=(3,))
    (tmp_path / "refused-2").touch()
    with pytest.raises(CourseError, match=r"Shard 2/4: 2/4 is refused; name another\. \(1 more of 4 shards failed\)"):
        run_shards(on_ray.write, Namespace(folder=str(tmp_path)), 4)
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["한글.shard-1-of-4.jsonl", "한글.shard-4-of-4.jsonl"]
    (tmp_path / "refused-2").unlink()
    with pytest.raises(
        CourseError, match=r"Shard 3/4: its worker died \(The worker died unexpectedly\), and it was tried 4"
    ):
        run_shards(on_ray.write, Namespace(folder=str(tmp_path)), 4)


def test_what_belongs_to_the_whole_comes_once_all_parts_are_there(ray, tmp_path, capsys):
    ray()
    rows = [
        {"id": i, "question": f"질문 {i}", "answer": "전입신고는 14일 이내에 합니다.", "reference": "14일 이내입니다."}
        for i in range(5)
    ]
    a, b = (
        write_jsonl(tmp_path / f"{name}.jsonl", [row | {"answer": row["answer"] * times} for row in rows])
        for name, times in (("a", 1), ("b", 2))
    )
    call = ["judge", "--answers_a", str(a), "--answers_b", str(b), "--judge", "reference", "--scores"]
    cli.run([*call, "--out", str(tmp_path / "whole.json")])
    cli.run([*call, "--out", str(tmp_path / "parts.json"), "--ray", "3", "--html", str(tmp_path / "card.html")])
    for what in ("judgments", "scores_a", "scores_b"):
        whole, parts = (next(tmp_path.glob(f"{name}.*.{what}.jsonl")) for name in ("whole", "parts"))
        assert parts.read_bytes() == whole.read_bytes()
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert (tmp_path / "card.html").exists() and "[shard 3/3] " in capsys.readouterr().out


def test_sockets_get_a_folder_with_a_short_name_wherever_temporary_files_lie(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "한글"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("a" * 80)))
    if os.access("/tmp", os.W_OK):
        folder = ray_tasks._short_folder()
        assert folder.startswith("/tmp/ray-") and len(folder) <= ray_tasks.LONGEST_FOLDER
        os.rmdir(folder)
    monkeypatch.setattr(ray_tasks, "_is_short", lambda _: False)
    with pytest.raises(CourseError, match="set RAY_TMPDIR to one"):
        ray_tasks._short_folder()
