"""Protects: sampling takes from the tokens that it may take from, and a stop text ends a reply wherever it is split."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kotune.models.sampling import Sampling, StopTexts, draw, likeliest, penalise

SCORES = torch.tensor([2.0, 0.0, 1.0, -1.0])


def drawn(sampling, times=300):
    generator = torch.Generator().manual_seed(0)
    return {int(draw(SCORES, sampling, generator)) for _ in range(times)}


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=0), {0}),
        (Sampling(temperature=2), {0, 1, 2, 3}),
        (Sampling(temperature=2, top_k=1), {0}),
        (Sampling(temperature=2, top_k=2), {0, 2}),
        (Sampling(temperature=1, top_p=0.01), {0}),
        (Sampling(temperature=1, top_p=0.7), {0, 2}),
        (Sampling(temperature=1, top_p=0.5, top_k=3), {0}),
        (Sampling(temperature=1, min_p=0.3), {0, 2}),  # e**-1 of the likeliest stays, e**-2 goes
    ],
)
def test_only_the_likeliest_are_drawn(sampling, expected):
    assert drawn(sampling) == expected


def test_a_seed_draws_the_same_again():
    sampling = Sampling(temperature=2, top_p=0.9)
    rows = [
        [int(draw(SCORES, sampling, g)) for _ in range(20)] for g in (torch.Generator().manual_seed(s) for s in (5, 5, 6))
    ]
    assert rows[0] == rows[1] != rows[2]


def test_tokens_are_drawn_as_often_as_they_are_likely():
    rows = SCORES.expand(40_000, -1)
    found = draw(rows, Sampling(temperature=1.5), torch.Generator().manual_seed(7)).bincount(minlength=4) / len(rows)
    assert torch.allclose(found, (SCORES / 1.5).softmax(-1), atol=0.01)


@pytest.mark.parametrize("settings", [{}, {"top_k": 5}, {"top_p": 0.9}, {"min_p": 0.05}, {"top_p": 0.999, "min_p": 1e-6}])
def test_a_large_vocabulary_is_drawn_from_as_transformers_would(settings):
    """Flat and peaked rows: with the flat ones, the first look does not hold all that may be drawn."""
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(3)
    scores = torch.randn(2, 5000) * torch.tensor([[0.1], [6.0]])
    kept = scores
    for name, warper in (("top_k", TopKLogitsWarper), ("top_p", TopPLogitsWarper), ("min_p", MinPLogitsWarper)):
        if name in settings:
            kept = warper(settings[name])(None, kept)
    generator, sampling = torch.Generator().manual_seed(1), Sampling(temperature=1, **settings)
    for _ in range(200):
        assert kept.gather(1, draw(scores, sampling, generator)[:, None]).isfinite().all()


def test_a_token_that_cannot_come_is_never_drawn():
    scores = torch.tensor([0.0, -torch.inf, 0.0, -torch.inf]).expand(5000, -1)
    assert set(draw(scores, Sampling(temperature=1)).tolist()) == {0, 2}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.floats(0.5, 2))
def test_the_repetition_penalty_is_that_of_transformers(seen, factor):
    from transformers import RepetitionPenaltyLogitsProcessor

    theirs = RepetitionPenaltyLogitsProcessor(factor)(torch.tensor([seen]), SCORES[None].clone())[0]
    ours = penalise(SCORES, Sampling(repetition_penalty=factor), seen[:1], seen[1:])
    assert torch.allclose(ours, theirs)


def test_presence_counts_once_and_frequency_each_time_of_the_reply_alone():
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    assert penalise(SCORES, sampling, [3, 3], [1, 1, 2]).tolist() == [2.0, -1.0, 0.25, -1.0]


TEXT = st.text("가나다ab", max_size=12)


@given(TEXT, st.lists(st.text("가나ab", min_size=1, max_size=3), max_size=3), st.lists(st.integers(0, 12), max_size=4))
def test_a_reply_ends_before_its_first_stop_text_however_it_is_split(text, stops, cuts):
    places = sorted({0, len(text), *(c for c in cuts if c <= len(text))})
    stopper, shown = StopTexts(tuple(stops)), ""
    for start, end in pairwise(places):
        shown += stopper.feed(text[start:end])
        assert text.startswith(shown)
        if stopper.stopped:
            break
    if not stopper.stopped:
        shown += stopper.rest()
    # pieces may show the end of a longer stop text first, so the place is that of the text up to where it stopped
    found = [text.find(stop) for stop in stops if stop in text]
    assert stopper.stopped == bool(found)
    assert (shown == text) if not found else not any(stop in shown for stop in stops)


@given(
    rows=st.integers(1, 3),
    blocks=st.integers(1, 3),
    odd=st.integers(0, 2),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    values=st.sampled_from([2, 1000]),
    seed=st.integers(0, 10_000),
)
def test_the_likeliest_is_that_of_argmax_and_the_first_of_equals(rows, blocks, odd, dtype, values, seed):
    source = torch.Generator().manual_seed(seed)
    scores = torch.randint(-values, 1, (rows, 512 * blocks + odd), generator=source).to(dtype)
    scores[scores == -values] = -torch.inf
    assert torch.equal(likeliest(scores), scores.argmax(-1))
    assert int(likeliest(scores[0])) == int(scores[0].argmax())
