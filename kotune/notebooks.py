"""Run the course's notebooks without a browser.

kotune notebooks run        execute them in order into outputs/notebooks/ and print what they found
kotune notebooks store      execute them in place, so that their stored outputs are those of one clean run
                            (with names: these alone, each from what the repository ships)
kotune notebooks adapters   copy the adapters of the last run into assets/, so that each notebook can start alone
kotune notebooks exercises  put exercises and questions into them (kotune/exercises/cells.py)
kotune notebooks badges     write their heads: badges, and the cell that fetches the course (kotune/first_cells.py)

With --language ko, `run` and `store` take the Korean edition in ko/ of each notebook that has one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kotune.language import Language
from utils import ASSETS, OUTPUTS, ROOT, CourseError, read_json, relative, write_atomic, write_json

NOTEBOOKS = ("basics.ipynb", "preprocess.ipynb", "train.ipynb", "dpo.ipynb", "evaluation.ipynb")
ADAPTERS = ("pretrain", "sft", "sft_open_book", "reward", "dpo")  # a folder each, from what `store` leaves
STORED = ROOT / "outputs" / "store" / "outputs"  # what `store` runs in, apart from the learner's own outputs
QUIET = {  # kernels inherit these
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONWARNINGS": "ignore",
}


def in_edition(notebook: str, language: Language) -> str:
    """Return the path of a notebook in the edition of a language: ko/NAME where there is one, else the English NAME."""
    path = f"ko/{notebook}"
    return path if language == "ko" and (ROOT / path).exists() else notebook


def execute(notebook: str, target: Path) -> float:
    """Execute one notebook, named by its path from the root, with a progress bar over its cells; return the minutes.

    Raises:
        CourseError: a cell failed; the target holds the outputs up to it.
    """
    import papermill
    import tqdm.auto  # noqa: F401  reads TQDM_DISABLE now, before it is set for the kernels: our own bar stays
    from matplotlib import font_manager
    from papermill.exceptions import PapermillExecutionError

    font_manager.get_font_names()  # made once for a user, with a message that would stand in an output
    os.environ.update(QUIET)
    target.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        papermill.execute_notebook(
            str(ROOT / notebook),
            str(target),
            cwd=str(ROOT),
            kernel_name="python3",
            progress_bar={"desc": notebook},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
    except PapermillExecutionError as error:
        raise CourseError(
            f"{notebook}, cell {error.exec_count}, failed with {error.ename}: {error.evalue} "
            f"(see {target.relative_to(ROOT)})."
        ) from None
    return (time.perf_counter() - start) / 60


def run(language: Language = "en") -> None:
    """Run the whole course on this machine's recipe and print its minutes and figures."""
    from kotune.models import files
    from kotune.models.machine import choose
    from kotune.recipes import LOCAL_GEMMA

    choice = choose()
    print(f"{choice.recipe.name}: {choice.reason}")
    if choice.recipe.model == LOCAL_GEMMA:
        files.local_gemma()
    editions = {name: in_edition(name, language) for name in NOTEBOOKS}
    minutes = {name: execute(path, OUTPUTS / "notebooks" / path) for name, path in editions.items()}
    figures = course_figures(choice.recipe.name, minutes)
    write_json(OUTPUTS / "course.json", figures)
    print("\n".join(summary(figures)))
    print(f"all figures: {relative(OUTPUTS / 'course.json')}")


def course_figures(recipe: str, minutes: dict[str, float]) -> dict:
    """Return every figure that the notebooks saved, by stage, with the recipe and the minutes of each notebook."""
    sft, dpo = (read_json(OUTPUTS / stage / "figures.json") for stage in ("sft", "dpo"))
    return {
        "recipe": recipe,
        "minutes": {name: round(spent, 2) for name, spent in minutes.items()},
        "listings": {**sft.pop("listings"), "dpo_exact": dpo["listings_dpo"]["listings_test"]["DPO"]},
        "open_book": sft.pop("open_book"),
        **read_json(OUTPUTS / "eval" / "jobs.json"),  # radiology, labels
        "sft": sft,
        "dpo": dpo,
        "evaluation": read_json(OUTPUTS / "eval" / "report.json"),
    }


def summary(figures: dict) -> list[str]:
    """Return the lines that close a run: minutes a notebook, and the course's own figures."""
    minutes, sft, dpo = figures["minutes"], figures["sft"], figures["dpo"]
    loss, ended = sft["held_out_loss"], sft["ended_by_itself"]
    lines = ["", "minutes"]
    lines += [f"  {name:18} {spent:5.1f}" for name, spent in minutes.items()]
    lines += [
        f"  {'together':18} {sum(minutes.values()):5.1f}",
        "figures",
        f"  pre-training: perplexity {sft['perplexity']['before']:.1f} -> {sft['perplexity']['after']:.1f} on unread texts",
        f"  SFT: held-out loss {loss['before']:.2f} -> {loss['after']:.2f} nats a token; "
        f"answers that end by themselves {ended['before']} -> {ended['after']} of {ended['of']}",
        *(f"  {book}: {row['terms']} terms stand in the document" for book, row in sft["books"].items()),
        f"  reward model: right on {dpo['reward']['accuracy']:.0%} of {dpo['reward']['pairs']} held-out pairs; "
        f"the longer answer is the better in {dpo['reward']['longer_wins']:.0%}",
        f"  DPO: loss {dpo['first_loss']:.3f} (ln 2) -> {dpo['held_out']['loss']:.3f} on held-out pairs, "
        f"accuracy {dpo['held_out']['accuracy']:.2f}; {dpo['training']['health']['verdict']}",
    ]
    lines += job_lines(figures)
    for name, report in figures["evaluation"].items():
        low, high = report["interval"]
        lines.append(
            f"  {name}: win rate {report['win_rate']:.2f}, 95% interval {low:.2f} to {high:.2f} "
            f"(n = {report['n_judged']}, judge: {report['judge']})"
        )
    peak = max(stage["training"]["peak_memory_gib"] for stage in (sft, dpo))
    return [*lines, f"  peak memory {peak:.1f} GiB"]


def job_lines(figures: dict) -> list[str]:
    """Return a line for each job that can be checked: how often right without training, and with it."""
    listings, radiology, labels, book = (figures[name] for name in ("listings", "radiology", "labels", "open_book"))
    low, high = labels["interval"]
    return [
        f"  listings exactly right, of {listings['n']}: base {listings['base_exact']}, three examples "
        f"{listings['few_shot_exact']}, rules {listings['regex_exact']}, tuned {listings['tuned_exact']}, after DPO "
        f"{listings['dpo_exact']}; by hand, of {listings['handwritten_n']}: tuned {listings['handwritten_tuned_exact']}",
        f"  radiology, facts and form right, of {radiology['n']}: copying {radiology['copy_both']}, base "
        f"{radiology['base_both']}, tuned {radiology['tuned_both']}",
        f"  labels ({labels['set']}, n = {labels['n']}): macro F1 base {labels['base_f1']:.2f}, tuned "
        f"{labels['tuned_f1']:.2f} ({low:.2f} to {high:.2f})",
        f"  open book: ROUGE-L {book['tuned_rouge']:.2f}; the document's best sentence {book['best_sentence_rouge']:.2f}",
    ]


def store(notebooks: Sequence[str] = NOTEBOOKS, language: Language = "en") -> None:
    """Execute notebooks from the shipped data alone, as a new learner would, and store them with their outputs.

    Raises:
        CourseError: a notebook has no Korean edition, or a cell failed.
    """
    paths = {name: in_edition(name, language) for name in notebooks}
    if missing := [name for name, path in paths.items() if language == "ko" and path == name]:
        raise CourseError(
            f"ko/{missing[0]} does not exist; build it from ko/text/ with `python dev/build_editions.py build`."
        )
    shutil.rmtree(STORED, ignore_errors=True)
    os.environ.update({"COURSE_RECIPE": "gemma-3-270m-cpu", "COURSE_OUTPUTS": str(STORED)})
    unset = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEACHER_MODEL", "TEACHER_PRICE", "NAVER_CLIENT_ID", "RECORD")
    os.environ.update(dict.fromkeys(unset, ""))
    for name, path in paths.items():
        target = STORED / "notebooks" / path
        print(f"{path}: {execute(path, target):.1f} minutes")
        tidy(target)
        if path != name:
            note_english_outputs(target, ROOT / name)
        shutil.copy(target, ROOT / path)


def tidy(path: Path) -> None:
    """Remove what names this machine, the time of day and the folder of `store`; a cell's own tags stay."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if not tag.startswith("papermill")]
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = joined_streams(cell.outputs)
    nbformat.write(notebook, path)
    # a learner's own run has its results in outputs/
    path.write_text(path.read_text(encoding="utf-8").replace(relative(STORED), relative(OUTPUTS)), encoding="utf-8")


def note_english_outputs(path: Path, english: Path) -> None:
    """Write into a notebook of the Korean edition which outputs the English one had when this one was run.

    So `dev/build_editions.py` knows the outputs that are older than the English ones.
    """
    notebook = read_json(path)
    digests = {cell["id"]: outputs_digest(cell) for cell in read_json(english)["cells"] if cell.get("outputs")}
    notebook["metadata"]["english_outputs"] = digests
    write_notebook(path, notebook)


def outputs_digest(cell: Mapping) -> str:
    """Return 12 digits that stand for the outputs of a cell."""
    return hashlib.sha256(json.dumps(cell["outputs"], sort_keys=True).encode()).hexdigest()[:12]


def write_notebook(path: Path, notebook: Mapping) -> None:
    """Write a notebook as nbformat does."""
    write_atomic(path, json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def joined_streams(outputs: Sequence) -> list:
    """Return a cell's outputs with neighbours of one stream as one: a reply that was printed word by word is one text."""
    joined: list = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1]["text"] += output.text
        else:
            joined.append(output)
    return joined


def adapters() -> None:
    """Copy the adapters of the last `store` into assets/."""
    from kotune.models.adapters import copy_adapter

    for stage in ADAPTERS:
        source, target = STORED / stage, ASSETS / stage
        if not (source / "run.json").exists():
            raise CourseError(f"{source.relative_to(ROOT)} has no adapter; run `make notebooks` first.")
        copy_adapter(source, target)
        print(f"assets/{stage}: {sum(f.stat().st_size for f in target.iterdir()) / 1e6:.1f} MB")
