# %%CELL 1
import importlib.metadata
import os
import subprocess
import sys

REPOSITORY = os.environ.get("COURSE_REPOSITORY", "")  # on Colab: the address of your copy of the course
if "google.colab" in sys.modules:  # sets Colab up; does nothing elsewhere
    folder = os.environ.get("COURSE_FOLDER", "/content/course")
    if not os.path.isdir(f"{folder}/kotune"):
        subprocess.run(["git", "clone", "-q", "--depth", "1", REPOSITORY, folder], check=True)
    os.chdir(folder)
    sys.path.insert(0, folder)
    kept = f"torch=={importlib.metadata.version('torch')}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", ".", kept], check=True)
    print(f"The course is in {folder}; installed beside Colab's own {kept}.")
# %%CELL 2
from dataclasses import asdict, replace
from zlib import crc32

import pandas as pd
from IPython.display import Image

import similarity
from kotune import data, judging, models, teacher
from kotune.judging import votes
from kotune.korean import checks, zero_shot
from kotune.stats import mean_interval, questions_needed, sign_test, wilson, win_rate_interval
from utils import OUTPUTS, write_json

pd.set_option("display.max_colwidth", 70)
# %%CELL 3
# NBVAL_IGNORE_OUTPUT
choice = models.choose()
recipe = choice.recipe
start = models.find_adapters(recipe, need_dpo=True)
print(f"{recipe.name}: {choice.reason}")
print(f"adapters in {start.sft.parent.name}/, {start.reason}")
# %%CELL 5
rows = data.load_rows("real_estate_evaluation")[: recipe.evaluation_questions]
questions = [judging.Question(r["id"], r["question"], r["reference"]) for r in rows]
pd.DataFrame(asdict(q) for q in questions[:4])
# %%CELL 7
# NBVAL_IGNORE_OUTPUT
tokenizer, model = models.load_tokenizer(recipe.model), models.load_model(recipe)
folder, answers = OUTPUTS / "eval", {}
for name, adapter in (("base", None), ("SFT", start.sft), ("DPO", start.dpo)):
    if adapter is not None:
        model = models.merge_adapter(model, adapter)
    mark = f" {models.adapter_hash(adapter)[:8]}" if adapter else ""  # another adapter is another model
    answerer = judging.LocalModel(model, tokenizer, recipe, name + mark)
    answers[name] = judging.answer(answerer, questions, folder / f"answers_{name}{mark.replace(' ', '_')}.jsonl")
pd.DataFrame({name: [a.answer[:60] for a in given] for name, given in answers.items()}).head(4)
# %%CELL 8
assert all(len(given) == len(questions) for given in answers.values())
# %%CELL 10
example = "네, 전세는 보증금를 맡기는 계약 입니다. 보증금를 맡긴다. 保證金은 나중에 돌려받습니다."
for finding in checks.check(example, question="전세가 무엇인가요?", ended=True):
    print(f"{finding.check:16} {finding.span!r}: {finding.message}")


# %%CELL 12
# NBVAL_IGNORE_OUTPUT
def share(count, n):
    low, high = wilson(count, n)
    return f"{count} of {n} ({low:.2f} to {high:.2f})"


def faults(given):
    found = [checks.check(a.answer, question=a.question, ended=a.ended) for a in given]
    return {one.check: share(one.answers, one.n) for one in checks.summary(found)}


checked = pd.DataFrame({name: faults(given) for name, given in answers.items()})
checked[~checked.apply(lambda row: row.str.startswith("0 of").all(), axis=1)]


# %%CELL 14
# NBVAL_IGNORE_OUTPUT
def overlap(texts):
    scores = similarity.rouge_scores(texts, [q.reference for q in questions])
    low, high = mean_interval([row.f1 for row in scores.rows])
    return {"ROUGE-L": f"{scores.mean.f1:.2f} ({low:.2f} to {high:.2f})", "n": len(texts)}


texts = {name: [a.answer for a in given] for name, given in answers.items()}
pd.DataFrame({name: overlap(given) for name, given in {**texts, "the question": [q.question for q in questions]}.items()}).T
# %%CELL 15
ended = {name: sum(a.ended for a in given) for name, given in answers.items()}
assert ended["SFT"] >= min(ended["base"] + len(questions) / 3, 0.8 * len(questions))
# %%CELL 17
# NBVAL_IGNORE_OUTPUT
judges = {"reference": judging.ReferenceJudge()}
if start.reward is not None:
    judges["reward model"] = judging.load_reward_judge(start.reward, start.sft, recipe)
calibrations = {name: judging.calibrate(judge) for name, judge in judges.items()}


def by_kind(calibration):
    kinds = {kind.kind: share(kind.right, kind.n) for kind in calibration.kinds}
    return {**kinds, "all": share(calibration.right, calibration.n)}


pd.DataFrame({name: by_kind(calibration) for name, calibration in calibrations.items()})
# %%CELL 19
# NBVAL_IGNORE_OUTPUT
pd.DataFrame(
    {"judge": name, "prefers": trait.name, "share": share(trait.chosen, trait.n), "a right judge": round(trait.fair, 2)}
    for name, calibration in calibrations.items()
    for trait in calibration.preferences
)
# %%CELL 20
for name, calibration in calibrations.items():
    print(f"{name}: {calibration.warning or 'clears the bar'}")
assert all(calibration.n == 168 for calibration in calibrations.values())


# %%CELL 22
# NBVAL_IGNORE_OUTPUT
def compare(a, b, judge_name):
    judge, (name_a, name_b) = judges[judge_name], (answers[side][0].model.replace(" ", "_") for side in (a, b))
    mark = f"{crc32(calibrations[judge_name].fingerprint.encode()):08x}"
    kept = folder / f"judgments_{name_a}_{name_b}_{mark}.jsonl"
    judgments = judging.compare(judge, answers[a], answers[b], kept)
    return judging.report(judgments, calibrations[judge_name]), judgments


pairs = [("SFT", "base"), ("DPO", "SFT")]
compared = {(f"{a} against {b}", name): compare(a, b, name) for a, b in pairs for name in judges}
# %%CELL 24
# NBVAL_IGNORE_OUTPUT
counts = ["n_judged", "unparsed", "wins", "ties", "losses"]
columns = [*counts, "win_rate", "interval", "p_value", "flip_rate", "questions_needed"]
shown = {name: report.row() for name, (report, _) in compared.items()}
marked = {name: row | {"below the bar": "yes" if row["warning"] else "no"} for name, row in shown.items()}
pd.DataFrame(marked).loc[[*columns, "below the bar"]]
# %%CELL 25
# NBVAL_IGNORE_OUTPUT
judging.win_rates([(f"{pair}\n({judge})", report) for (pair, judge), (report, _) in compared.items()])
# %%CELL 27
for report, _ in compared.values():
    assert report.n_asked == len(questions) == report.n_judged + report.unparsed + report.failed + report.left_out
    assert report.interval[0] <= report.win_rate <= report.interval[1]
# %%CELL 29
# NBVAL_IGNORE_OUTPUT
first, lines = compared["SFT against base", "reference"]
second = [name for name in judges if name != "reference"]
kept = {
    "calibration": calibrations["reference"],
    "scores": judging.scores_behind(lines),
    "seconds": [compared["SFT against base", name] for name in second],
    "second_calibrations": [calibrations[name] for name in second],
}
card = judging.make_card("SFT", "base", first, lines, **kept)
# %%CELL 30
# NBVAL_IGNORE_OUTPUT
judging.write_html(card, folder / "report_card.html")
Image(judging.write_png(card, folder / "report_card.png"), width=900)
# %%CELL 31
assert len(card.warnings) == sum(bool(calibration.warning) for calibration in calibrations.values())
# %%CELL 33
wins, ties, losses = 10, 2, 3
low, high = win_rate_interval(wins, ties, losses)
print(f"win rate {(wins + ties / 2) / 15:.1%}, 95% interval {low:.0%} to {high:.0%}")
print(f"sign test p = {sign_test(wins, losses):.3f}")
print(f"to show a difference of this size: {questions_needed(wins, ties, losses)} questions")
# %%CELL 35
# NBVAL_IGNORE_OUTPUT
short = replace(recipe, max_new_tokens=12)
replies, found = {}, []
for name in zero_shot.SETS:
    items = zero_shot.read(name)
    prompts = [zero_shot.messages(name, item) for item in items]
    replies[name] = [a.text for a in models.generate(model, tokenizer, prompts, short, name)]
    found.append(zero_shot.zero_shot_report(name, items, replies[name]))
pd.DataFrame(one.row() for one in found).round(2)
# %%CELL 36
# NBVAL_IGNORE_OUTPUT
pd.DataFrame({name: given[:3] for name, given in replies.items()})
# %%CELL 38
items = zero_shot.read("sentiment")
other = {"긍정": "부정", "부정": "긍정"}
made_up = [item.label for item in items[:36]] + [other[item.label] for item in items[36:40]]
made_up += ["긍정과 부정이 섞여 있어 판단하기 어렵습니다."] * 8
pd.Series(zero_shot.zero_shot_report("sentiment", items, made_up).row()).to_frame("made up")
# %%CELL 39
for one in found:
    assert one.n == 48
    assert one.strict.interval[0] <= one.strict.macro_f1 <= one.strict.interval[1]
    assert not one.dropped.macro_f1 < one.strict.macro_f1
# %%CELL 41
# NBVAL_IGNORE_OUTPUT
ballots = votes.draw(lines)
votes.widget(ballots, folder / "votes.jsonl")
# %%CELL 42
# NBVAL_IGNORE_OUTPUT
voted = folder / "votes.jsonl"
winners = votes.read_winners(voted) if voted.exists() else {}
print(votes.agreement(winners, lines) if winners else "no votes yet: vote above and run this cell again")
# %%CELL 43
assert len({ballot.id for ballot in ballots}) == 10
# %%CELL 45
# NBVAL_IGNORE_OUTPUT
if teacher.has_real_teacher():
    judge = judging.LLMJudge(teacher.connect())
    shown = [judging.ShownPair(judging.Question(x.id, x.question, x.reference), x.answer_a, x.answer_b) for x in lines]
    print(*judge.estimate(shown * 2), sep="\n")
    asked = f"--judge openai:{judge.teacher.model} --answers_a ... --answers_b ... --out outputs/eval/llm.json"
    print(f"kotune judge {asked}")
else:
    print("no endpoint is set")
# %%CELL 47
reports = {pair: report for (pair, judge), (report, _) in compared.items() if judge == "reference"}
saved = write_json(folder / "report.json", {name: report.row() for name, report in reports.items()})
print("reports saved in", saved.name)
