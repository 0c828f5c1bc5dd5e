"""Recipes: every value of a run, held to its type, and those that come with the course, as YAML in `recipe_files/`.

recipe = RECIPES["gemma-2b-l4"]
gentle = replace(recipe, learning_rate=2e-5)  # dataclasses.replace; a value that cannot be is refused
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from kotune.language import said
from utils import CourseError

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from pydantic.dataclasses import dataclass  # as the other, and each value is held to its type

LOCAL_GEMMA = "gemma-3-270m"  # the name in recipes: the package on PyPI, never a hub
FILES = Path(__file__).parent / "recipe_files"
# the order in which they are listed: the defaults, then the reference systems'; any other comes behind them
ORDER = (
    "gemma-3-270m-cpu", "gemma-3-270m-t4", "gemma-2b-l4",
    "llama-3-8b-qlora", "llama-2-7b-qlora", "solar-10.7b-qlora", "llama-3.1-8b-qlora",
)  # fmt: skip


def _words(value: Any) -> Any:
    """Return the words of a flag's text, `q_proj,v_proj`."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _or_none(value: Any) -> Any:
    """Return None for a flag's text that says so."""
    return None if isinstance(value, str) and value.lower() in ("", "none", "null") else value


NoneInText = BeforeValidator(_or_none)
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OptionalCount = Annotated[PositiveInt | None, NoneInText]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


# what each setting does, in English and in Korean; a lesson shows it beside the value
MEANINGS = {
    "name": ("what this recipe is called", "이 레시피의 이름"),
    "model": ("the model that training starts from", "학습을 시작할 모델"),
    "device": ("where it runs", "실행할 장치"),
    "dtype": (
        "how precisely numbers are kept; bfloat16 takes half the memory of float32",
        "숫자의 정밀도. bfloat16은 메모리를 float32의 절반만큼 씀",
    ),
    "attention": (
        "which code works out what each token sees of the others",
        "토큰마다 다른 토큰의 무엇을 볼지 계산하는 코드",
    ),
    "quantization": (
        "whether the frozen weights are kept in 4 bits (QLoRA), to save memory",
        "메모리를 아끼려고 고정한 가중치를 4비트로 둘지 여부(QLoRA)",
    ),
    "lora_r": (
        "rank of the adapter: how many directions it may change in each weight matrix",
        "어댑터의 랭크. 가중치 행렬마다 바꿀 수 있는 방향의 수",
    ),
    "lora_alpha": (
        "scale of the adapter: its product is multiplied by alpha / r",
        "어댑터의 배율. 두 행렬의 곱에 alpha / r을 곱함",
    ),
    "lora_dropout": (
        "share of the adapter's inputs left out at random while training",
        "학습하는 동안 어댑터의 입력에서 무작위로 빼는 비율",
    ),
    "target_modules": ("which weight matrices get an adapter", "어댑터를 붙일 가중치 행렬"),
    "optimizer": ("the rule that turns gradients into steps", "기울기를 스텝으로 바꾸는 규칙"),
    "scheduler": ("how the learning rate falls over the run", "실행하는 동안 학습률을 낮추는 방식"),
    "warmup": (
        "how long it rises first: below 1 a share of the steps, else their number",
        "처음에 학습률을 올리는 기간. 1보다 작으면 전체 스텝에 대한 비율, 아니면 스텝 수",
    ),
    "weight_decay": ("how strongly weights are pulled towards zero", "가중치를 0 쪽으로 당기는 세기"),
    "max_grad_norm": (
        "gradients longer than this are shortened, so that one batch cannot throw the model off",
        "기울기의 길이 한도. 더 길면 줄여서, 배치 하나 때문에 모델이 망가지지 않게 함",
    ),
    "max_length": (
        "tokens of prompt and completion; a longer row is left out and named",
        "프롬프트와 답변을 더한 토큰 수의 한도. 더 긴 행은 제외하고 id를 알림",
    ),
    "accumulation": ("batches whose gradients are added up before a step", "기울기를 더해 한 스텝을 움직이는 배치의 수"),
    "learning_rate": (
        "how far a step goes: too small and nothing is learnt, too large and the model breaks",
        "한 스텝에 움직이는 폭. 너무 작으면 배우지 못하고, 너무 크면 모델이 망가짐",
    ),
    "batch_size": ("rows whose mean loss gives one step", "손실을 평균하여 한 스텝을 움직이는 행의 수"),
    "epochs": ("how often the whole data is gone through", "데이터 전체를 도는 횟수"),
    "packing": (
        "whether short rows share one long one, none of which sees another",
        "짧은 행 여러 개를 서로 보이지 않게 긴 행 하나에 담을지 여부",
    ),
    "group_by_length": (
        "whether rows of like length share a batch, so that less of it is filled up",
        "길이가 비슷한 행을 한 배치에 모아, 채워 넣는 자리를 줄일지 여부",
    ),
    "pretrain_learning_rate": ("the learning rate of continued pre-training", "추가 사전학습의 학습률"),
    "pretrain_epochs": ("its epochs", "추가 사전학습의 에포크"),
    "reward_learning_rate": ("the learning rate of the reward model", "보상 모델의 학습률"),
    "reward_epochs": ("its epochs", "보상 모델의 에포크"),
    "dpo_learning_rate": (
        "the learning rate of DPO, far smaller than that of supervised fine-tuning",
        "DPO의 학습률. 지도 미세조정의 학습률보다 훨씬 작음",
    ),
    "dpo_beta": ("how dear it is to move away from the reference", "참조 모델에서 벗어나지 않게 붙드는 세기"),
    "dpo_batch_size": ("pairs in a batch of DPO and of the reward model", "DPO와 보상 모델의 한 배치에 담는 쌍의 수"),
    "dpo_epochs": ("epochs of DPO", "DPO의 에포크"),
    "dpo_pairs": ("how many pairs the lesson on DPO trains on", "DPO 노트북에서 학습하는 쌍의 수"),
    "save_steps": (
        "steps between two checkpoints, and between two looks at the validation data",
        "체크포인트를 저장하는 간격이자, 검증 데이터로 재는 간격(스텝)",
    ),
    "keep_checkpoints": ("how many checkpoints are kept", "남겨 두는 체크포인트의 수"),
    "early_stopping": (
        "validations without a better loss after which a run stops",
        "손실이 나아지지 않은 검증이 이만큼 이어지면 실행을 멈춤",
    ),
    "generation_batch": ("prompts that are answered at once", "한꺼번에 답하는 프롬프트의 수"),
    "max_new_tokens": ("the longest reply, in tokens", "응답의 최대 길이(토큰)"),
    "evaluation_questions": ("how many held-out questions the lessons ask", "노트북에서 묻는, 학습에 쓰지 않은 질문의 수"),
    "seed": (
        "the number that all random draws start from, so that a run can be repeated",
        "모든 무작위 값의 출발점. 같은 실행을 되풀이할 수 있게 함",
    ),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on besides its data.

    Raises:
        pydantic.ValidationError: a value of another type, or out of range.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # a name that is misspelt in a file is no recipe's

    name: str
    model: str  # a hub name, a folder, or LOCAL_GEMMA
    device: Literal["cpu", "cuda", "mps"]  # mps, Apple's GPU: answers alone
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    quantization: Annotated[Literal["nf4"] | None, NoneInText] = None  # "nf4": frozen weights in 4 bits (QLoRA)
    # LoRA
    lora_r: PositiveInt = 8
    lora_alpha: PositiveInt = 16
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Words = LINEAR_LAYERS
    # optimiser, for every stage
    optimizer: str = "adamw_torch"
    scheduler: str = "cosine"
    warmup: NonNegativeFloat = 0.05  # below 1 a share of the steps, else their number
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: Rate = 1.0
    max_length: PositiveInt = 512  # tokens of prompt and completion
    accumulation: PositiveInt = 1
    # supervised fine-tuning
    learning_rate: Rate = 1e-3
    batch_size: PositiveInt = 8
    epochs: Rate = 1.0
    packing: bool = False  # several rows in one, none of which sees another
    group_by_length: bool = False  # rows of like length share a batch; supervised fine-tuning and pre-training
    # continued pre-training; the batch is that of supervised fine-tuning
    pretrain_learning_rate: Rate = 1e-3
    pretrain_epochs: Rate = 1.0
    # reward model; the batch is that of DPO
    reward_learning_rate: Rate = 2e-4
    reward_epochs: Rate = 1.0
    # direct preference optimisation
    dpo_learning_rate: Rate = 5e-5
    dpo_beta: Rate = 0.1
    dpo_batch_size: PositiveInt = 4  # pairs
    dpo_epochs: Rate = 1.0
    dpo_pairs: OptionalCount = None  # how many pairs dpo.ipynb trains on; None = all
    # checkpoints and validation
    save_steps: PositiveInt = 50
    keep_checkpoints: PositiveInt = 2
    early_stopping: OptionalCount = None  # stop after so many validations without a better loss
    # generation
    generation_batch: PositiveInt = 40
    max_new_tokens: PositiveInt = 96
    evaluation_questions: PositiveInt = 40
    seed: NonNegativeInt = 42

    def table(self) -> list[tuple[str, object]]:
        """Return (field, value) rows to print with a run."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def explained(self, *names: str) -> list[dict[str, object]]:
        """Return a row for each of these settings: its name, its value and what it does, in a sentence.

        The column `setting` is called so in both editions: the lesson asks for it by name.
        """
        value, meaning = said("value", "값"), said("what it does", "하는 일")
        return [{"setting": name, value: getattr(self, name), meaning: said(*MEANINGS[name])} for name in names]

    def unquantised(self) -> Recipe:
        """Return the recipe with its weights whole: what an adapter is merged into."""
        return replace(self, quantization=None)


class Recipes(Mapping[str, Recipe]):
    """The recipes in `recipe_files/`, each read when it is first asked for."""

    def __getitem__(self, name: str) -> Recipe:
        if name not in _names():
            raise KeyError(name)
        return _read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())


RECIPES = Recipes()


@cache
def _names() -> tuple[str, ...]:
    found = {path.name.removesuffix(".yaml") for path in FILES.glob("*.yaml")}
    return (*(name for name in ORDER if name in found), *sorted(found.difference(ORDER)))


@cache
def _read(name: str) -> Recipe:
    import yaml

    return Recipe(**yaml.safe_load((FILES / f"{name}.yaml").read_text(encoding="utf-8")))


def _from_file(path: Path) -> Recipe:
    import yaml

    advice = "copy a file of kotune/recipe_files and change its values"
    try:
        return Recipe(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"The recipe {path} cannot be read ({error}); name a YAML file.") from None
    except yaml.YAMLError as error:
        raise CourseError(f"{path} is not YAML ({str(error).splitlines()[0]}); {advice}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise CourseError(f"{path}, {first['loc'][0]}: {first['msg']}; {advice}.") from None
    except TypeError:
        raise CourseError(f"{path} is no mapping of settings to values; {advice}.") from None


def by_name(name: str) -> Recipe:
    """Return a recipe by its name, or from a YAML file of one's own (`my_recipe.yaml`).

    Raises:
        CourseError: there is none of this name, and the nearest is named; or the file is no recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith((".yaml", ".yml")):
        return _from_file(Path(name))
    names = ", ".join(RECIPES)
    if near := difflib.get_close_matches(name, RECIPES, n=1):
        raise CourseError(f"There is no recipe {name!r}; did you mean {near[0]}? The recipes are {names}.")
    raise CourseError(f"There is no recipe {name!r}; choose one of {names}.")
