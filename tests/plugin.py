"""Settings of every test run: no network, no keys, no progress bars, notebooks in course order."""

import os
import shutil
import signal
from pathlib import Path

import pytest

NOTEBOOKS = ["basics.ipynb", "preprocess.ipynb", "train.ipynb", "dpo.ipynb", "evaluation.ipynb"]
TRAINING = ["train.ipynb", "dpo.ipynb"]  # an hour and more where a CPU emulates bfloat16
OUTPUTS = Path(__file__).parents[1] / "outputs" / "test" / "outputs"  # never the learner's own

# The kernels of the notebooks inherit these. The shipped recording and the CPU recipe are what the stored
# outputs show, so settings of the person who runs the tests, `.env` included, must not reach them.
for name in (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "TEACHER_MODEL", "TEACHER_PRICE", "TEACHER_TIMEOUT", "TEACHER_RETRY_TIMEOUTS",
    "RECORD", "NAVER_CLIENT_ID", "COURSE_RECIPE",
):  # fmt: skip
    os.environ[name] = ""
os.environ.update(
    {
        "COURSE_RECIPE": "gemma-3-270m-cpu",
        "COURSE_OUTPUTS": str(OUTPUTS),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONWARNINGS": "ignore",
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
)


# A shell's background and nohup ignore signals, and so would the processes that the tests start and send them to.
for name, own in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL), ("SIGQUIT", signal.SIG_DFL)):
    number = getattr(signal, name, None)  # Windows has only the first
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, own)


def pytest_sessionstart(session):
    """Start from what the repository ships: the results of an earlier test run would change what notebooks print."""
    if not hasattr(session.config, "workerinput"):  # once, and not in each worker of pytest-xdist
        shutil.rmtree(OUTPUTS, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Unit tests first, then the notebooks in the order in which a learner takes them; see `too_slow`."""
    items.sort(key=lambda item: NOTEBOOKS.index(item.path.name) if item.path.name in NOTEBOOKS else -1)
    training = [item for item in items if item.path.name in TRAINING]
    reason = too_slow() if training and len({item.path.name for item in items}) > 1 else None
    for item in training if reason else []:
        item.add_marker(pytest.mark.skip(reason=reason))


def too_slow() -> str | None:
    """Return why the notebooks that train are left out of a run of everything; None where they are not.

    Asked for alone (`pytest --nbval train.ipynb`), or with EVERY_NOTEBOOK=1, they run on any machine. Their cells run in
    `tests/course/test_own_data.py` as well, with a tiny model.
    """
    if os.environ.get("EVERY_NOTEBOOK") == "1":
        return None
    from kotune.models.machine import bf16_speed

    bf16, fp32 = bf16_speed()
    if bf16 > fp32:
        return None
    return f"this CPU emulates bfloat16 ({bf16:.0f} GFLOP/s; float32: {fp32:.0f}): set EVERY_NOTEBOOK=1 to run it in an hour or two"
