"""What several tests of serving need and what takes seconds to make."""

import pytest


@pytest.fixture(scope="session")
def answering(tmp_path_factory):
    """A tiny model that has learnt one answer by heart, as a GGUF file."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    from tests.support import answering_model

    return answering_model.make(tmp_path_factory.mktemp("answering"))
