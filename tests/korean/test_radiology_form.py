"""Protects: a report is judged by form as well as by facts, and a copy of its conclusion never passes for one."""

import pytest

from kotune.data import registry
from kotune.korean.radiology_form import report_form, score_reports
from utils import CourseError

CONCLUSION = "1) Pneumonia in Lt. lower lung field.\n2) About 2.0 cm sized nodule in Rt. middle lung field."
REPORT = (
    "The left lower lung zone shows air-space consolidation. In the right middle lung zone, there is a nodular opacity "
    "measuring about 2.0 cm. Neither pleural effusion nor pneumothorax is present."
)


def rows():
    return registry.load_rows("radiology_test") + registry.load_rows("radiology_train")


def test_every_shipped_report_is_right_and_no_conclusion_is():
    reports, conclusions = [row["output"] for row in rows()], [row["input"] for row in rows()]
    ended = [True] * len(reports)
    scores = score_reports(reports, reports, conclusions, ended)
    assert scores.both == scores.form == scores.facts == scores.n
    copies = score_reports(conclusions, reports, conclusions, ended)
    assert copies.facts == copies.n  # the facts alone would call a copy perfect
    assert copies.form == copies.both == 0


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        (CONCLUSION, "whole_sentences"),
        ("The left lower lung zone shows consolidation", "whole_sentences"),
        ("The left lower lung zone shows consolidation. A 2.0 cm nodule in the right lung.", "whole_sentences"),
        ("- The left lower lung zone shows consolidation.", "whole_sentences"),
        ("the left lower lung zone shows consolidation.", "whole_sentences"),
        ("", "whole_sentences"),
        ("There is consolidation in the LLL.", "written_out"),
        ("There is a 2.0 cm nodule in Rt. middle lung zone.", "written_out"),
        ("Consolidation is seen, R/O pneumonia.", "written_out"),
        (f"{REPORT} Pneumonia in Lt. lower lung field.", "own_words"),
    ],
)
def test_each_fault_of_form_is_found(report, fault):
    assert report_form(REPORT, CONCLUSION, True).right
    assert not getattr(report_form(report, CONCLUSION, True), fault)


def test_a_report_that_was_cut_or_wrong_in_a_fact_is_not_right(monkeypatch):
    assert not report_form(REPORT, CONCLUSION, False).right
    wrong = REPORT.replace("left lower", "right lower")
    scores = score_reports([REPORT, wrong, REPORT], [REPORT] * 3, [CONCLUSION] * 3, [True, True, False])
    assert (scores.facts, scores.form, scores.both) == (2, 2, 1)
    assert scores.faults["ended"] == 1
    assert scores.row() == {"facts": "2 of 3", "form": "2 of 3", "both": "1 of 3"}
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    assert scores.row() == {"사실": "2/3", "형식": "2/3", "둘 다": "1/3"}


def test_lists_of_different_length_are_refused():
    with pytest.raises(CourseError, match="pass one for each"):
        score_reports([REPORT], [REPORT], [CONCLUSION, CONCLUSION], [True])
