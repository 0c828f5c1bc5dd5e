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
# %%CELL 3
THRESHOLD = 0.7  # ROUGE-L F1 above which a question repeats an earlier one
UNIT = "eojeol"  # what ROUGE-L compares: words between spaces
PASSAGES = 3  # documents shown to the teacher with each question
VALIDATION_SHARE = 0.1  # of the finished pairs
BUDGET_USD = None  # a number stops a paid teacher before it costs more
PREFERENCE_PAIRS = 257  # good answers that are also spoilt
# %%CELL 4
import pandas as pd
from IPython.display import HTML
from rouge_score import rouge_scorer

import similarity
from kotune import data, plots, teacher
from kotune.data import card, pii
from kotune.data import documents as document_sources
from kotune.korean import task_styles
from kotune.korean.tasks import TASK_PROMPTS, TASKS
from kotune.teacher import generation, preferences
from prompts import DOCUMENT_QUESTIONS, GROUNDED_ANSWER, SEED_WORDS, SELF_INSTRUCT, SPOIL
from utils import DATA, OUTPUTS, read_jsonl, read_text, write_atomic, write_jsonl

pd.set_option("display.max_colwidth", 60)
# %%CELL 6
seed_words = [line for line in read_text(DATA / "seed_words.txt").split("\n") if line]
print(len(seed_words), "seed words:", ", ".join(seed_words[:12]), "...")
# %%CELL 8
print(SEED_WORDS.system)
print("---")
requests = generation.seed_requests(seed_words)
print(requests[0][1]["content"])
# %%CELL 10
who = teacher.connect(journal=OUTPUTS / "journal.jsonl", budget_usd=BUDGET_USD)
print("teacher:", who.endpoint.name)
# %%CELL 12
# NBVAL_IGNORE_OUTPUT
print(who.estimate(requests, SEED_WORDS.schema, likely_tokens=750))
# %%CELL 14
replies = who.ask(requests, SEED_WORDS.schema, likely_tokens=750)
print(len(requests), "requests,", len(teacher.answered(replies)), "answered")
# %%CELL 16
again = who.ask(requests, SEED_WORDS.schema)
print(sum(reply.from_journal for reply in again), "of", len(again), "came from the journal")
assert [reply.text for reply in again] == [reply.text for reply in replies]
# %%CELL 18
questions = generation.collect_questions(teacher.answered(replies))
print(len(questions), "questions")
pd.DataFrame(questions).sample(6, random_state=1)
# %%CELL 20
first = "새집으로 이사하면 전입신고를 언제까지 해야 하나요?"
second = "새집으로 이사하면 전입신고를 언제까지 해야 합니까?"
scorer = rouge_scorer.RougeScorer(["rougeL"])
print("the same sentence twice: ", scorer.score(first, first)["rougeL"].fmeasure)
print("two subjects, one number:", scorer.score("2024년 세금", "2024년 청약")["rougeL"].fmeasure)
# %%CELL 22
for unit in similarity.UNITS:
    print(f"{unit:9}", similarity.tokenize(first, unit)[:9])
# %%CELL 24
pairs_to_compare = {
    "one ending differs": (first, second),
    "particles differ": ("보증금을 받는 방법", "보증금은 받는 방법이"),
    "order differs": ("전세와 월세의 차이는?", "차이는? 전세와 월세의"),
    "unrelated": (first, "재산세는 누가 내야 합니까?"),
}
pd.DataFrame(
    {unit: similarity.rouge_l(*pair, unit).f1 for unit in similarity.UNITS} for pair in pairs_to_compare.values()
).set_axis(list(pairs_to_compare)).round(2)
# %%CELL 26
texts = [row["question"] for row in questions]
scores = similarity.nearest_earlier(texts, UNIT)
plots.nearest_scores(scores, THRESHOLD, UNIT)
# %%CELL 28
thresholds = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
shares = {
    unit: [len(similarity.deduplicate(texts, t, unit).kept) / len(texts) for t in thresholds]
    for unit in ("eojeol", "morpheme", "syllable", "jamo")
}
plots.kept_shares(thresholds, shares, THRESHOLD)
# %%CELL 30
deduplication = similarity.deduplicate(texts, THRESHOLD, UNIT)
print(f"kept {len(deduplication.kept)} of {len(texts)}, dropped {len(deduplication.dropped)}")
table = deduplication.to_frame().head(6)
pairs_shown = list(zip(table.text, table.twin_text, strict=True))
table["text"] = [similarity.highlight(text, twin) for text, twin in pairs_shown]
table["twin_text"] = [similarity.highlight(twin, text) for text, twin in pairs_shown]
HTML(table[["f1", "text", "twin_text"]].round(2).to_html(escape=False, index=False))
# %%CELL 32
kept = [texts[i] for i in deduplication.kept]
again = similarity.deduplicate(kept, THRESHOLD, UNIT)
assert not again.dropped  # a second pass finds nothing
print(len(kept), "distinct questions")
# %%CELL 34
documents = document_sources.collect(seed_words)
print(len(documents), "documents; the third:", documents[2]["title"])
print(documents[2]["text"])
# %%CELL 36
bodies = [f"{d['title']}\n{d['text']}" for d in documents]
for index, score in similarity.rank(kept[13], bodies, top_k=PASSAGES):
    print(f"{score:6.2f}  {documents[index]['title']}")
print("question:", kept[13])
# %%CELL 38
answer_requests = generation.answer_requests(kept, documents, PASSAGES)
print(GROUNDED_ANSWER.system)
print("---")
print(answer_requests[13].messages[1]["content"][:300], "...")
# %%CELL 40
replies = who.ask([r.messages for r in answer_requests], GROUNDED_ANSWER.schema, likely_tokens=90)
collected = generation.collect_answers(answer_requests, replies, documents)
print(f"{len(collected.rows)} answers kept, {len(collected.rejected)} rejected:")
reasons = pd.Series([row["reason"] for row in collected.rejected], dtype=object)
print(reasons.value_counts().to_string())
# %%CELL 42
pairs = collected.rows
assert len(pairs) + len(collected.rejected) == len(kept)
pd.DataFrame(pairs)[["question", "answer", "document_id"]].head(5)
# %%CELL 44
plots.answer_lengths([len(pair["answer"]) for pair in pairs])
# %%CELL 46
found = read_jsonl(DATA / "found_documents.jsonl")
document_requests = generation.document_requests(found)
replies = who.ask(document_requests, DOCUMENT_QUESTIONS.schema)
from_documents = generation.collect_document_questions(teacher.answered(replies), found)
print(len(from_documents.rows), "questions, for example:", from_documents.rows[0]["question"])
pd.DataFrame(from_documents.rejected)
# %%CELL 48
pd.DataFrame(pii.scan(found, ["title", "text"]))
# %%CELL 50
seed_tasks = read_jsonl(DATA / "seed_tasks.jsonl")
replies = who.ask(generation.self_instruct_requests(seed_tasks)[:3], SELF_INSTRUCT.schema)
new_tasks = generation.collect_tasks(teacher.answered(replies), seed_tasks)
for task in new_tasks.rows[:4]:
    print("-", task["instruction"])
print(len(new_tasks.rows), "kept;", *(f"dropped: {task['instruction']} ({task['reason']})" for task in new_tasks.rejected))
# %%CELL 52
examples = read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")
contexts = {row["task"]: row["context"] for row in examples if row["id"].endswith("-1")}
task_replies = generation.ask_tasks(who, contexts)
for task_id in ("task01_01", "task05_02"):
    row = TASKS[task_id].row(contexts[task_id], task_replies[task_id].parsed)
    print(f"[{task_id} {TASKS[task_id].name}] {row['input'].splitlines()[0]}\n{row['output']}\n")
# %%CELL 54
problems = {
    task_id: task_styles.check_reply(task_id, contexts[task_id], reply.parsed) for task_id, reply in task_replies.items()
}
print(sum(not found for found in problems.values()), "of", len(problems), "tasks keep to their form")
spoilt = task_replies["task01_01"].parsed.model_copy(update={"output": "전입신고는 30일 안에 합니다."})
task_styles.check_reply("task01_01", contexts["task01_01"], spoilt)
# %%CELL 56
rows = [(task.id, task.name, task.style, TASKS[task.id].output(task_replies[task.id].parsed)) for task in TASKS.values()]
pd.DataFrame(rows, columns=["id", "name", "style", "output"])
# %%CELL 58
named = {row["prompt"]: row["kind"] for row in data.load_rows("real_estate_preference")}
planned = preferences.plan(pairs, named)[:PREFERENCE_PAIRS]
spoil_requests = preferences.spoil_requests(planned, documents)
replies = who.ask(spoil_requests, SPOIL["rude"].schema, step="spoil", likely_tokens=60)
spoilt_pairs = preferences.collect_pairs(planned, replies)
table = pd.DataFrame(spoilt_pairs.rows)
print(len(table), "pairs,", len(spoilt_pairs.rejected), "not spoilt as asked")
table.groupby("kind").first()[["chosen", "rejected"]]
# %%CELL 60
table["longer wins"] = table["chosen"].str.len() > table["rejected"].str.len()
table.groupby("kind")["longer wins"].mean().round(2)
# %%CELL 62
train, validation = generation.split(pairs, VALIDATION_SHARE)
print(len(train), "train,", len(validation), "validation")
# %%CELL 64
evaluation = read_jsonl(DATA / "real_estate_evaluation.jsonl")
held_out = [row["question"] for row in evaluation]
trained_on = [row["question"] for row in train + validation]
overlap = similarity.find_overlap(trained_on, held_out, THRESHOLD, UNIT)
print(f"{len(evaluation)} evaluation questions, {len(overlap)} of them near a training question")
assert not overlap
# %%CELL 66
filters = {
    "near duplicates": len(deduplication.dropped),
    "answers without support": len(collected.rejected),
    "pairs not spoilt as asked": len(spoilt_pairs.rejected),
}
main_prompts = [SEED_WORDS, GROUNDED_ANSWER, DOCUMENT_QUESTIONS, SELF_INSTRUCT, *SPOIL.values(), *TASK_PROMPTS.values()]
source = document_sources.describe(documents)
provenance = card.Provenance(who.endpoint.name, main_prompts, source, "CC BY 4.0", filters)
# %%CELL 67
# NBVAL_IGNORE_OUTPUT
parts = {"train": train, "validation": validation}
text = card.card("Korean real-estate questions", parts, ["question", "answer"], provenance)
print(text.split("## Prompts")[0])
# %%CELL 69
# NBVAL_IGNORE_OUTPUT
ledger = who.ledger().groupby("step", sort=False).sum(numeric_only=True)
columns = ["prompt_tokens_estimated", "prompt_tokens", "completion_tokens_estimated", "completion_tokens"]
ledger[["sent", "failed", *columns]]
# %%CELL 71
folder = OUTPUTS / "data"
for name, part in {"instruction": pairs, "train": train, "validation": validation}.items():
    write_jsonl(folder / f"{name}.jsonl", part)
write_jsonl(folder / "preference.jsonl", spoilt_pairs.rows)
write_jsonl(folder / "tasks.jsonl", [TASKS[i].row(contexts[i], r.parsed) for i, r in task_replies.items()])
write_jsonl(folder / "rejected.jsonl", collected.rejected + spoilt_pairs.rejected + from_documents.rejected)
write_atomic(folder / "DATA_CARD.md", text)
print(len(pairs), "pairs,", len(spoilt_pairs.rows), "preference pairs")
