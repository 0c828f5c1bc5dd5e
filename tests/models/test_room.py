"""Protects: what does not fit into memory is known before it is tried."""

import pytest

from kotune.models.room import rows_that_fit
from kotune.models.sampling import Sampling
from utils import CourseError


def test_wider_prompts_and_more_beams_leave_room_for_fewer(tiny_model):
    narrow = rows_that_fit(tiny_model, 100, Sampling())
    assert rows_that_fit(tiny_model, 1000, Sampling()) < narrow
    assert rows_that_fit(tiny_model, 100, Sampling(beam_width=4)) < narrow / 3
    with pytest.raises(CourseError, match=r"A prompt of 1,000,000 tokens .* takes [\d.]+ GiB and [\d.]+ are free"):
        rows_that_fit(tiny_model, 1_000_000, Sampling())
