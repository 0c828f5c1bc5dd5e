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
import math
from dataclasses import asdict

import pandas as pd

from kotune import data, models, plots, training
from utils import OUTPUTS, write_json

pd.set_option("display.max_colwidth", 80)
# %%CELL 3
# NBVAL_IGNORE_OUTPUT
choice = models.choose()
recipe = choice.recipe
start = models.find_adapters(recipe, need_dpo=False)
print(f"{recipe.name}: {choice.reason}")
print(f"SFT adapter: {start.sft.parent.name}/{start.sft.name}, {start.reason}")
# %%CELL 5
pairs = data.load("real_estate_preference")
assert all(pair["chosen"] != pair["rejected"] for pair in pairs)
by_kind = {pair["kind"]: pair for pair in pairs}
pd.DataFrame({"kind": kind, "rejected": by_kind[kind]["rejected"][0]["content"][:70]} for kind in sorted(by_kind))


# %%CELL 7
def characters(pair, side):
    return len(pair[side][0]["content"])


longer = [characters(pair, "chosen") > characters(pair, "rejected") for pair in pairs]
print(f"{len(pairs)} pairs; the longer answer is the chosen one in {sum(longer) / len(longer):.0%}")
by_length = pd.DataFrame({"kind": [pair["kind"] for pair in pairs], "chosen is longer": longer})
by_length.groupby("kind").mean().round(2).T
# %%CELL 9
# NBVAL_IGNORE_OUTPUT
held_out, train_pairs = pairs[-40:], pairs[:-40][: recipe.dpo_pairs]
tokenizer = models.load_tokenizer(recipe.model)
model = models.merge_chain(models.load_model(recipe), start.sft)
rewarded = training.reward(recipe, train_pairs, model, tokenizer, parent=start.sft)
print(f"{rewarded.figures['steps']} steps, loss {rewarded.figures['first_loss']:.2f} -> {rewarded.figures['last_loss']:.2f}")
# %%CELL 10
# NBVAL_IGNORE_OUTPUT
classifier = models.load_reward_model(model, tokenizer, rewarded.adapter)
measured = models.pair_accuracy(classifier, tokenizer, held_out, recipe)
classifier.unload()
columns = ["pairs", "reward model", "the longer wins"]
by_kind = {**measured.by_kind, "all": (measured.pairs, measured.accuracy, measured.longer_wins)}
pd.DataFrame(by_kind, index=columns).T.round(2)
# %%CELL 12
assert measured.accuracy > measured.longer_wins


# %%CELL 14
def dpo_loss(chosen_gain, rejected_gain, beta=0.1):
    margin = beta * (chosen_gain - rejected_gain)
    return math.log(1 + math.exp(-margin))


for gains in ((0, 0), (5, -5), (-5, -15), (-5, 5)):
    print(f"log-probability gains {gains!s:9}: loss {dpo_loss(*gains):.3f}")
# %%CELL 16
from datasets import Dataset
from trl import DPOConfig, DPOTrainer


class Rendered(DPOTrainer):  # TRL's own, but for the tokens: they come from models.render, as everywhere in the course
    def _prepare_dataset(self, dataset, *_):
        return dataset


few = training.reference_logprobs(
    model, training.encode_preference(held_out[:4], tokenizer, recipe.max_length).rows, tokenizer, recipe
)
# %%CELL 17
# NBVAL_IGNORE_OUTPUT
policy = models.add_adapter(model, recipe)
settings = DPOConfig(
    str(OUTPUTS / "trl"), use_cpu=recipe.device == "cpu", bf16=recipe.dtype == "bfloat16", disable_tqdm=True
)
rows = Dataset.from_list(few)
trainer = Rendered(policy, args=settings, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer)
for name, weight in policy.named_parameters():
    if "lora_B.default" in name:
        weight.data.normal_(std=0.005)
theirs = trainer.evaluate()["eval_loss"]
# %%CELL 18
# NBVAL_IGNORE_OUTPUT
shaken = training.reference_logprobs(policy, few, tokenizer, recipe)
gains = [
    [now[f"ref_{side}_logps"] - old[f"ref_{side}_logps"] for side in ("chosen", "rejected")]
    for now, old in zip(shaken, few, strict=True)
]
by_hand = sum(dpo_loss(chosen, rejected) for chosen, rejected in gains) / len(gains)
model = policy.unload()
print(f"by hand {by_hand:.4f}, TRL {theirs:.4f}")
assert math.isclose(by_hand, theirs, abs_tol=0.02)
# %%CELL 20
# NBVAL_IGNORE_OUTPUT
rows = training.encode_preference(held_out, tokenizer, recipe.max_length).rows
held_out_rows = training.reference_logprobs(model, rows, tokenizer, recipe)
print(len(train_pairs), "pairs to train on,", len(held_out_rows), "held out")
# %%CELL 22
# NBVAL_IGNORE_OUTPUT
result = training.dpo(recipe, train_pairs, model, tokenizer, parent=start.sft, validation=held_out)
figures = {name: value for name, value in result.figures.items() if name != "health"}
pd.Series(figures)
# %%CELL 24
print(f"before the first step: loss {result.figures['start_loss']:.3f} (ln 2 = {math.log(2):.3f})")
assert abs(result.figures["start_loss"] - math.log(2)) < 1e-3
assert abs(result.figures["start_margin"]) < 1e-3
# %%CELL 26
# NBVAL_IGNORE_OUTPUT
plots.reward_margins(result.log)
# %%CELL 28
# NBVAL_IGNORE_OUTPUT
model = models.merge_adapter(model, result.adapter)
held_out_figures = training.preference_loss(model, held_out_rows, tokenizer, recipe)
pd.Series(held_out_figures).round(3)
# %%CELL 30
assert held_out_figures["loss"] < math.log(2)
assert held_out_figures["accuracy"] > 0.5
# %%CELL 32
# NBVAL_IGNORE_OUTPUT
health = result.figures["health"]
shown = {name: value for name, value in health.items() if name not in ("verdict", "reasons")}
display(pd.Series(shown).round(3).to_frame("health"))
print(f"{health['verdict']}: {'; '.join(health['reasons'])}")
# %%CELL 34
assert health["verdict"] == "healthy"
# %%CELL 36
# NBVAL_IGNORE_OUTPUT
evaluation = data.load_rows("real_estate_evaluation")[:8]
questions = [data.from_question(row) for row in evaluation]
after = models.generate(model, tokenizer, questions, recipe, "DPO")
sft_model = models.merge_chain(models.load_model(recipe), start.sft)
before = models.generate(sft_model, tokenizer, questions, recipe, "SFT")
pd.DataFrame({"SFT": b.text[:80], "DPO": a.text[:80]} for b, a in zip(before, after, strict=True))
# %%CELL 37
ended_before, ended_after = sum(a.ended for a in before), sum(a.ended for a in after)
assert ended_after >= len(questions) // 2
# %%CELL 39
figures = {
    "first_loss": result.figures["start_loss"],
    "held_out": held_out_figures,
    "ended_by_itself": {"SFT": ended_before, "DPO": ended_after, "of": len(questions)},
    "reward": asdict(measured),
    "training": result.figures,
}
saved = write_json(OUTPUTS / "dpo" / "figures.json", figures)
print("figures saved in", saved.name)
