"""Every test of the exercises writes into a folder of its own, and none fails because the machine is busy."""

import pytest

from kotune.exercises import checking, results


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Return the folder that results go to."""
    monkeypatch.setattr(results, "FOLDER", tmp_path / "exercises")
    monkeypatch.setattr(checking, "LIMIT_S", 60)
    monkeypatch.setattr(checking, "_hints_given", checking.Counter())
    monkeypatch.delenv("KOTUNE_LANG", raising=False)
    return tmp_path / "exercises"
