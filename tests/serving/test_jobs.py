"""Protects: a model that does one job is asked exactly as it was trained, is offered with what it is for, and costs nothing unused."""

import asyncio
import json

import openai
import pytest
import torch

from kotune import data
from kotune.answering.workbook import read_rows
from kotune.models import sources
from kotune.models.chat_template import render
from kotune.models.machine import RECIPES, choose
from kotune.models.sampling import Progress, Sampling
from kotune.serving import backends, jobs
from kotune.serving.backends import BackendError, ChatRequest
from kotune.serving.desk import Desk
from kotune.serving.guard import Limits
from kotune.serving.jobs import JOBS
from kotune.serving.page_texts import ENGLISH, KOREAN
from kotune.serving.profiles import offered
from kotune.training.encoding import encode_supervised
from prompts import LISTING, RADIOLOGY
from tests.serving.test_app import curl
from tests.support.serving import ServerProcess, save_tiny_course
from utils import CourseError, write_jsonl

RECIPE = RECIPES["gemma-3-270m-cpu"]
AD = "망원동 원룸 500/45\n\n2층, 즉시 입주"
NAMES = [f"gemma-3-270m{end}" for end in ("", "-sft", "-listings", "-radiology")]


# --- asked as trained ------------------------------------------------------------------------


def trained_ids(record, tokenizer):
    """Return a training record's prompt as the trainer gets it: what comes before the tokens that the loss counts."""
    row = encode_supervised([record], tokenizer, 512).rows[0]
    return row["input_ids"][: row["labels"].count(-100)]


def served_ids(role, messages, tokenizer):
    """Return the ids that a backend would be given for a request."""

    class Backend:
        name = "none"

        async def stream(self, request):
            self.ids = backends.rendered(tokenizer, request, 2048)
            yield Progress("", 1, "stop", len(self.ids))

    async def ask():
        desk = Desk(Backend(), Limits(), roles={"m": role})
        desk.models = ["m"]
        async for _ in desk.stream(ChatRequest("m", messages, Sampling())):
            pass
        return desk.backend.ids

    return asyncio.run(ask())


def user(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("name", ["listings_train", "listings_handwritten"])
def test_an_advertisement_is_rendered_as_in_training_and_in_batches(name, tokenizer, tmp_path):
    (row, *_), (record, *_) = data.load_rows(name), data.load(name)
    due = trained_ids(record, tokenizer)
    for messages in (
        user(row["input"]),
        user(f"{LISTING.system}\n\n{row['input']}"),
        [{"role": "system", "content": f" {LISTING.system}\n"}, *user(row["input"] + "\n")],
        JOBS["listings"].ask(row["input"]),
    ):
        assert served_ids("listings", messages, tokenizer) == due
    [asked] = read_rows(write_jsonl(tmp_path / "rows.jsonl", [{"text": row["input"]}]), LISTING.system)
    assert render(tokenizer, asked.prompt).ids == due


def test_a_conclusion_is_rendered_as_in_training_by_any_of_its_instructions(tokenizer):
    rows, records = data.load_rows("radiology_train"), data.load("radiology_train")
    ours = [place for place, row in enumerate(rows) if row["instruction"] in JOBS["radiology"].instructions.values()]
    assert {rows[place]["instruction"] for place in ours} == {prompt.system for prompt in RADIOLOGY.values()}
    row, due = rows[ours[0]], trained_ids(records[ours[0]], tokenizer)
    study = next(study for study, prompt in RADIOLOGY.items() if prompt.system == row["instruction"])
    assert served_ids("radiology", JOBS["radiology"].ask(row["input"], study), tokenizer) == due
    for row, record in list(zip(rows, records, strict=True))[:20]:
        messages = [{"role": "system", "content": row["instruction"]}, *user(row["input"])]
        assert served_ids("radiology", messages, tokenizer) == trained_ids(record, tokenizer)


def test_an_advertisement_of_several_paragraphs_is_one_text():
    assert JOBS["listings"].prompt_of(user(AD)) == user(f"{LISTING.system}\n\n{AD}")


@pytest.mark.parametrize(
    ("role", "messages", "says"),
    [
        ("listings", [{"role": "system", "content": "요약해 주세요."}, *user(AD)], "leave the system text out"),
        ("listings", [*user("안녕"), {"role": "assistant", "content": "네"}, *user(AD)], "without earlier turns"),
        ("listings", [*user("안녕"), *user(AD)], "without earlier turns"),
        ("radiology", user("1) Pneumonia."), r"names the study \(흉부 X선 사진, 흉부 CT"),
        ("radiology", [{"role": "system", "content": "영어로."}, *user("1) Pneumonia.")], "such as '다음은 흉부 X선"),
    ],
)
def test_what_a_job_never_saw_is_refused(role, messages, says):
    with pytest.raises(CourseError, match=says):
        JOBS[role].prompt_of(messages)


def test_every_role_and_job_has_its_words_in_both_languages():
    for said in (KOREAN, ENGLISH):
        assert set(said.roles) == {"base", "tuned", *JOBS} and set(said.jobs) == set(said.job_starters) == set(JOBS)
        assert list(said.record_fields) == list(LISTING.schema.model_fields)


# --- which are offered -----------------------------------------------------------------------


def test_a_job_is_offered_where_its_adapter_fits_and_the_learners_own_comes_first(tmp_path, monkeypatch, capsys):
    for root in ("outputs", "assets"):
        monkeypatch.setattr(f"kotune.models.adapters.{root.upper()}", tmp_path / root)

    def put(folder, **card):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(card))
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": card["base"]}))
        return folder

    assert jobs.find_models(RECIPE) == {}
    shipped = put(tmp_path / "assets" / "listings", base="gemma-3-270m")
    assert jobs.find_models(RECIPE)["listings"].adapters == (shipped,)
    put(tmp_path / "outputs" / "listings", base="google/gemma-2b-it")
    assert jobs.find_models(RECIPE)["listings"].adapters == (shipped,)
    (tmp_path / "outputs" / "listings").rename(tmp_path / "another")
    own = put(tmp_path / "outputs" / "listings", base="gemma-3-270m")
    assert jobs.find_models(RECIPE)["listings"].adapters == (own,)
    put(tmp_path / "assets" / "radiology", base="gemma-3-270m", parent_sha256="f" * 64)
    assert list(jobs.find_models(RECIPE)) == ["listings"]
    assert "The radiology model is left out: " in capsys.readouterr().out


def test_chat_models_come_first_and_each_job_stands_beside_the_base():
    desk = Desk(None, Limits(), roles=dict(zip(NAMES, ("base", "tuned", "listings", "radiology"), strict=True)))
    desk.models = NAMES
    assert desk.default_model == NAMES[1]
    assert [entry.models for entry in offered(desk)] == [
        (NAMES[1],), (NAMES[0],), (NAMES[1], NAMES[0]),
        (NAMES[2],), (NAMES[2], NAMES[0]), (NAMES[3],), (NAMES[3], NAMES[0]),
    ]  # fmt: skip
    plain = Desk(None, Limits())
    plain.models = NAMES[:2]
    assert [entry.name for entry in offered(plain)] == [NAMES[1], NAMES[0], "compare"]


# --- served ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory, tokenizer):
    """A tiny model in the place of the course's, with adapters of its own; and a server that is told nothing of them."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                              num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=64,
                              pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
                              bos_token_id=tokenizer.bos_token_id)  # fmt: skip
    folder = tmp_path_factory.mktemp("course")
    settings = save_tiny_course(Gemma3ForCausalLM(config).eval(), tokenizer, folder)
    served = ServerProcess(folder / "log.txt", **settings)
    yield folder, served
    served.close()


def source(folder, name):
    base = next((folder / "cache").glob("gemma*"))
    adapters = () if name == "base" else (folder / "outputs" / name,)
    return sources.ModelSource(name, str(base), adapters)


@pytest.mark.slow
def test_the_models_are_listed_with_what_they_are_for(course):
    listed = curl(course[1], "/v1/models")[2]["data"]
    assert [model["id"] for model in listed] == NAMES
    assert [model["description"] for model in listed] == [ENGLISH.roles[role] for role in ("base", "tuned", *JOBS)]


@pytest.mark.slow
def test_chat_and_job_answer_as_they_do_in_python(course, tokenizer):
    folder, served = course
    row, record = data.load_rows("listings_train")[0], data.load("listings_train")[0]
    recipe, texts = choose().recipe, {}
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        for name, adapter, prompt in (
            (NAMES[1], "sft", user(row["input"])),
            (NAMES[2], "listings", record["prompt"]),
        ):
            assert f"{name} was asked for" not in served.said
            ids = render(tokenizer, prompt).ids
            model = sources.load_merged(source(folder, adapter), recipe)
            with torch.inference_mode():
                output = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False)
            texts[name] = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
            whole = client.chat.completions.create(model=name, messages=user(row["input"]), max_tokens=12)
            assert (whole.choices[0].message.content, whole.usage.prompt_tokens) == (texts[name], len(ids))
    assert len(set(texts.values())) == 2
    for body in ({"instruction": row["input"]}, {"instruction": row["instruction"], "input": row["input"]}):
        _, _, reply = curl(served, "/generate", body={**body, "model": NAMES[2], "max_tokens": 12})
        assert reply["text"] == texts[NAMES[2]].strip()
    assert served.said.count(f"{NAMES[2]} was asked for and loaded") == 1  # by four requests


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"instruction": "요약해 주세요.", "input": AD}, "leave the system text out"),
        ({"instruction": AD, "system": "짧게"}, "leave the system text out"),
        ({"instruction": AD, "use_documents": True}, "leave use_documents out"),
    ],
)
def test_a_job_that_is_asked_something_else_is_a_422(course, body, says):
    status, _, reply = curl(course[1], "/generate", body={**body, "model": NAMES[2]})
    assert status == 422 and says in reply["error"]["message"]


@pytest.mark.slow
def test_a_job_is_loaded_once_on_first_use_beside_the_base_and_shares_its_embedding(course):
    folder = course[0]

    async def ask():
        backend = backends.LocalBackend([source(folder, "base")], RECIPE, 256, [source(folder, "listings")])
        try:
            before = (list(backend.loaded), await backend.models())
            request = ChatRequest("listings", JOBS["listings"].ask(AD), Sampling(max_tokens=3))

            async def read():
                return [progress async for progress in backend.stream(request)][-1].tokens

            tokens = await asyncio.gather(*(read() for _ in range(3)))
            return before, tokens, backend.loaded
        finally:
            await backend.close()

    before, tokens, loaded = asyncio.run(ask())
    assert before == (["base"], ["base", "listings"]) and len(tokens) == 3 and list(loaded) == ["base", "listings"]
    embeddings = [model.get_input_embeddings().weight for model in loaded.values()]
    assert embeddings[0].data_ptr() == embeddings[1].data_ptr()
    whole, own = sources.own_bytes(loaded["listings"], []), sources.own_bytes(loaded["listings"], [loaded["base"]])
    assert whole - own == embeddings[0].numel() * embeddings[0].element_size()


@pytest.mark.slow
def test_a_job_that_cannot_be_loaded_says_so_and_the_others_answer(course, tmp_path):
    folder, broken = course[0], sources.ModelSource("listings", source(course[0], "base").base, (tmp_path,))

    async def ask():
        backend = backends.LocalBackend([source(folder, "base")], RECIPE, 256, [broken])
        try:
            for _ in range(2):
                with pytest.raises(BackendError, match=r"listings could not be loaded \(.* holds no adapter"):
                    await anext(backend.stream(ChatRequest("listings", user(AD), Sampling(max_tokens=3))))
            return [progress async for progress in backend.stream(ChatRequest("base", user(AD), Sampling(max_tokens=3)))]
        finally:
            await backend.close()

    assert asyncio.run(ask())[-1].tokens <= 3
