"""Judge answers, and know how far to trust the judge. Three stages with JSONL between them, each resumable:

    judging.answer(answerer, questions, "a.jsonl")                                 answers
    lines = judging.compare(judge, "a.jsonl", "b.jsonl", "judgments.jsonl")        judgments, in both orders
    judging.report(lines, judging.calibrate(judge))                                the report, with intervals

`judges` gives verdicts (`load_judge` finds one by name), `judgments` asks them in both orders, `calibration` measures them,
`comparison` counts, `correction` takes the judge's errors out of the win rate, `report_card` shows, `votes` asks people,
`class_votes` a whole room, `vote_pairs` makes pairs for DPO of what they said, and `run` is the command `kotune judge`.
"""

from kotune.answering.answer_files import AnswerRow, LocalModel, Question, TeacherModel, answer, read_answers
from kotune.judging.calibration import Calibration, calibrate
from kotune.judging.comparison import Report, ScoreSummary, report, scores_behind, summarise
from kotune.judging.correction import Corrected
from kotune.judging.judges import Judge, LLMJudge, ReferenceJudge, RewardJudge, ShownPair, SingleAnswer, load_reward_judge
from kotune.judging.judgments import Judgment, ScoreLine, compare, read_judgments, score
from kotune.judging.report_card import ReportCard, make_card, win_rates, write_html, write_png
from kotune.judging.run import load_judge
from kotune.stats import Agreement, agree

__all__ = [
    "Agreement", "AnswerRow", "Calibration", "Corrected", "Judge", "Judgment", "LLMJudge", "LocalModel", "Question",
    "ReferenceJudge", "Report", "ReportCard", "RewardJudge", "ScoreLine", "ScoreSummary", "ShownPair", "SingleAnswer",
    "TeacherModel", "agree", "answer", "calibrate", "compare", "load_judge", "load_reward_judge", "make_card",
    "read_answers", "read_judgments", "report", "score", "scores_behind", "summarise", "win_rates", "write_html",
    "write_png",
]  # fmt: skip
