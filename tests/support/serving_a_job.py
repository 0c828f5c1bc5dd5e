"""`kotune serve` before a stand-in backend whose second model does the listings job: records come from a script."""

import sys

from kotune import cli
from kotune.serving import app, backends
from tests.support.serving import MODELS

if __name__ == "__main__":
    app.start_backend = lambda asked: (
        backends.RemoteBackend(asked.backend),
        dict(zip(MODELS, ("base", "listings"), strict=True)),
    )
    cli.main(["serve", *sys.argv[1:]])
