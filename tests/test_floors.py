"""Protects: light modules stay light, and imports point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# top to bottom: a module imports only those above it
ORDER = [
    "utils", "progress", "event_loop", "schemas", "korean_tasks", "prompts", "similarity", "grounding", "document_support",
    "style_checks", "radiology_facts", "pii", "text_files", "zero_shot", "excel", "rows", "korean_particles",
    "speech_levels", "korean_checks", "intervals", "task_metrics", "records", "writers", "validation",
    "korean_font", "model_files", "recipe_table", "formats", "estimates", "losses", "probes", "overrides", "recipes", "models",
    "adapters", "costs", "journal", "replies", "recording", "endpoint", "batches", "teacher",
    "document_sources", "generation", "preferences", "datacard",
    "encoding", "checkpoints", "run_card", "loss_plot", "reward_model", "trainers", "decoding", "preference_health", "training",
    "agreement", "length_control", "answers", "judges", "judgments", "calibration", "comparison", "plots",
    "report_card", "blind_vote", "judging", "course",
    "token_choice", "local_engine", "passages", "votes", "serving_limits", "served_models", "backends", "answering",
    "chat_texts", "chat_api", "chat_page", "serve", "engines", "inference_files", "merging", "inference",
]  # fmt: skip
HEAVY = ["losses", "trainers", "plots", "course", "local_engine", "serve"]
LIGHT = [module for module in ORDER if module not in HEAVY]


def test_every_module_has_its_place():
    assert {path.stem for path in ROOT.glob("*.py")} - {"conftest"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_those_above_it(module):
    tree = ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    below = set(ORDER[ORDER.index(module) :])
    assert not imported & below


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_brings_no_heavy_library(module):
    heavy = "'torch', 'transformers', 'trl', 'peft', 'datasets', 'openai', 'kiwipiepy', 'matplotlib', 'pandas', 'fastapi', 'chainlit'"
    code = f"import sys, {module}; print([m for m in ({heavy}) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
