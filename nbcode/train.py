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
import copy
from dataclasses import replace

import pandas as pd
import torch

from kotune import data, models, plots, training
from kotune.korean.grounding import support
from prompts import open_book_prompt
from similarity import rouge_l
from utils import DATA, OUTPUTS, read_jsonl, write_json

pd.set_option("display.max_colwidth", 90)
# %%CELL 4
# NBVAL_IGNORE_OUTPUT
choice = models.choose()
recipe = choice.recipe
print(f"{recipe.name}: {choice.reason}")
# %%CELL 5
# NBVAL_IGNORE_OUTPUT
pd.DataFrame(recipe.table(), columns=["field", "value"]).set_index("field").T.iloc[:, 1:16]
# %%CELL 7
# NBVAL_IGNORE_OUTPUT
train_path, validation_path = data.course_data("train"), data.course_data("validation")
train, validation = data.load(train_path), data.load(validation_path)
print(f"{len(train)} training and {len(validation)} validation records from {train_path.parent.name}/")
train[0]
# %%CELL 9
assert all(record["completion"][-1]["role"] == "assistant" for record in train)
evaluation = data.load_rows("real_estate_evaluation")[:20]
for row in evaluation[:3]:
    print("-", row["question"])
# %%CELL 11
# NBVAL_IGNORE_OUTPUT
expected = training.estimate(recipe, train)
pd.DataFrame(expected.rows()).set_index("what")
# %%CELL 13
tokenizer = models.load_tokenizer(recipe.model)
sample = data.load("real_estate_train")[0]
rendered = models.render(tokenizer, sample["prompt"], sample["completion"])
print(tokenizer.decode(rendered.ids))
# %%CELL 15
# NBVAL_IGNORE_OUTPUT
tokens = pd.DataFrame(models.label_table(tokenizer, rendered))
edge = int(tokens["trained"].argmax())
tokens.iloc[edge - 4 : edge + 5]
# %%CELL 17
trained_ids = [i for i, counted in zip(rendered.ids, rendered.mask, strict=True) if counted]
learnt = tokenizer.decode(trained_ids)
print(learnt)
assert learnt == sample["completion"][0]["content"] + models.END_OF_TURN
assert rendered.ids.count(tokenizer.bos_token_id) == 1
# %%CELL 19
# NBVAL_IGNORE_OUTPUT
model = models.load_model(recipe)
questions = [data.from_question(row) for row in evaluation]
before = models.generate(model, tokenizer, questions, recipe, "before")
for row, answer in zip(evaluation[:3], before, strict=False):
    print(f"Q: {row['question']}\nA: {answer.text[:120]}\n")
# %%CELL 21
# NBVAL_IGNORE_OUTPUT
loss_before = training.held_out_loss(model, tokenizer, validation, recipe)
print(f"held-out loss before: {loss_before:.3f} nats a token")
# %%CELL 23
adapted = models.add_adapter(model, recipe)
layer = copy.deepcopy(adapted.get_base_model().model.layers[0].self_attn.q_proj).float()
x = torch.randn(2, layer.in_features, device=model.device)
A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
with torch.no_grad():
    assert torch.equal(layer(x), layer.base_layer(x))  # B is zero
    B.normal_()
    by_hand = x @ layer.base_layer.weight.T + recipe.lora_alpha / recipe.lora_r * (x @ A.T) @ B.T
    torch.testing.assert_close(by_hand, layer(x))
print(f"A is {tuple(A.shape)}, B is {tuple(B.shape)}: by hand as by PEFT")
# %%CELL 24
trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
total = sum(p.numel() for p in adapted.parameters())
share = trainable / total
model = adapted.unload()
assert share < 0.02
# %%CELL 25
# NBVAL_IGNORE_OUTPUT
print(f"{trainable:,} of {total:,} parameters are trained: {share:.2%}")
# %%CELL 27
# NBVAL_IGNORE_OUTPUT
texts = data.load("pretraining")
reading, unread = texts[:64], texts[-24:]
perplexity_before = training.perplexity(model, tokenizer, unread, recipe)
pretrained = training.pretrain(recipe, reading, model, tokenizer)
adapted = models.load_adapter(model, pretrained.adapter)
perplexity_after = training.perplexity(adapted, tokenizer, unread, recipe)
model = adapted.unload()
print(f"perplexity of unread texts: {perplexity_before:.1f} before, {perplexity_after:.1f} after")
# %%CELL 28
assert perplexity_after < 0.9 * perplexity_before
# %%CELL 31
# NBVAL_IGNORE_OUTPUT
result = training.sft(recipe, train, model, tokenizer, validation=validation)
pd.Series(result.figures)
# %%CELL 32
# NBVAL_IGNORE_OUTPUT
model = models.merge_adapter(model, result.adapter)
loss_after = training.held_out_loss(model, tokenizer, validation, recipe)
plots.loss_curve(result.log, loss_before, loss_after)
# %%CELL 34
assert loss_after < 0.85 * loss_before  # fell by 15% at least, on any machine
assert result.figures["too_long"] == 0
# %%CELL 36
# NBVAL_IGNORE_OUTPUT
after = models.generate(model, tokenizer, questions, recipe, "after")
pd.DataFrame(
    {"before": b.text[:60], "after": a.text[:90], "reference": row["reference"][:90]}
    for row, b, a in zip(evaluation[:8], before, after, strict=False)
)
# %%CELL 38
merged = models.save_merged(model, tokenizer, OUTPUTS / "merged")
reloaded = models.load_model(recipe, str(merged))
same = models.generate(reloaded, tokenizer, questions[:4], recipe, "reloaded")
expected = models.generate(model, tokenizer, questions[:4], recipe, "in memory")
assert [a.text for a in same] == [a.text for a in expected]
print("the merged model answers as before it was saved")
# %%CELL 39
# NBVAL_IGNORE_OUTPUT
del reloaded
adapted = models.load_adapter(models.load_model(recipe), result.adapter)
loss_adapted = training.held_out_loss(adapted, tokenizer, validation, recipe)
print(f"held-out loss: {loss_adapted:.4f} with the adapter on, {loss_after:.4f} merged")
# %%CELL 40
assert abs(loss_adapted - loss_after) < 0.02
del adapted
# %%CELL 42
documents = {document["id"]: document for document in read_jsonl(DATA / "documents.jsonl")}


def open_book(question, document_id):
    instruction, passages = open_book_prompt(question, [documents[document_id]])
    return [{"role": "user", "content": f"{instruction}\n\n{passages}"}]


with_document = [open_book(row["question"], row["document_id"]) for row in evaluation]
print(with_document[0][0]["content"][:160], "...")


# %%CELL 44
def figures_of(prompts, answers):
    texts, references = [answer.text for answer in answers], [row["reference"] for row in evaluation]
    passages = [documents[row["document_id"]]["text"] for row in evaluation]
    found = support(texts, passages, [row["question"] for row in evaluation])
    overlap = [rouge_l(text, reference).f1 for text, reference in zip(texts, references, strict=True)]
    ended, mean_overlap = sum(answer.ended for answer in answers), sum(overlap) / len(overlap)
    loss = training.held_out_loss(model, tokenizer, data.from_answers(prompts, references), recipe)
    return {"loss": loss, "ROUGE-L": mean_overlap, "ended": ended, **found.row()}


# %%CELL 46
# NBVAL_IGNORE_OUTPUT
closed = figures_of(questions, after)
untrained = figures_of(with_document, models.generate(model, tokenizer, with_document, recipe, "document shown"))
# %%CELL 48
# NBVAL_IGNORE_OUTPUT
pairs = [
    {**pair, "prompt": open_book(pair["prompt"][0]["content"], pair["source"])}
    for pair in data.load("real_estate_train")[::5]
]
small_batch = replace(recipe, batch_size=recipe.batch_size // 2)  # with its document a row is nearly five times as long
opened = training.sft(small_batch, pairs, model, tokenizer, OUTPUTS / "sft_open_book", parent=result.adapter)
model = models.merge_adapter(model, opened.adapter)
answers = models.generate(model, tokenizer, with_document, recipe, "open book")
open_figures = figures_of(with_document, answers)
# %%CELL 50
# NBVAL_IGNORE_OUTPUT
table = {
    "closed book": closed,
    "closed-book model, document shown": untrained,
    "open book": open_figures,
}
pd.DataFrame(table).T
# %%CELL 52
assert open_figures["loss"] < closed["loss"]
terms = {name: int(row["terms"].split()[0]) / int(row["terms"].split()[2]) for name, row in table.items()}
assert terms["open book"] > terms["closed book"] + 0.2
# %%CELL 53
# NBVAL_IGNORE_OUTPUT
pd.DataFrame(
    {"closed book": a.text[:90], "open book": b.text[:90], "reference": row["reference"][:90]}
    for row, a, b in zip(evaluation[:6], after, answers, strict=False)
)
# %%CELL 55
ended_before, ended_after = sum(a.ended for a in before), closed["ended"]
assert ended_after >= min(ended_before + len(questions) // 2, 0.8 * len(questions))
# %%CELL 56
figures = {
    "perplexity": {"before": perplexity_before, "after": perplexity_after},
    "held_out_loss": {"before": loss_before, "after": loss_after},
    "ended_by_itself": {"before": ended_before, "after": ended_after, "of": len(questions)},
    "books": table,
    "training": result.figures,
}
saved = write_json(OUTPUTS / "sft" / "figures.json", figures)
print("figures saved in", saved.name)
