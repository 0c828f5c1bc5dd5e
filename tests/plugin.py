"""Settings of every test run: no network, no keys, no progress bars, notebooks in course order."""

import os
import shutil
from pathlib import Path

NOTEBOOKS = ["basics.ipynb", "preprocess.ipynb", "train.ipynb", "dpo.ipynb", "evaluation.ipynb"]
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


def pytest_sessionstart(session):
    """Start from what the repository ships: the results of an earlier test run would change what notebooks print."""
    if not hasattr(session.config, "workerinput"):  # once, and not in each worker of pytest-xdist
        shutil.rmtree(OUTPUTS, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Unit tests first, then the notebooks in the order in which a learner takes them."""
    items.sort(key=lambda item: NOTEBOOKS.index(item.path.name) if item.path.name in NOTEBOOKS else -1)
