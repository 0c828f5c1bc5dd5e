"""The one renderer from messages to tokens, and the chat templates of models that come without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from prompts import Message
from utils import CourseError

# What every template below has in common: a system text may come first, then user and assistant take turns.
_TURNS = (
    "{%- set turns = namespace(system='', expected='user') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' and loop.first -%}"
    "{%- set turns.system = message['content'] | trim -%}"
    "{%- else -%}"
    "{%- if message['role'] != turns.expected -%}"
    "{{ raise_exception('turns must alternate between user and assistant, the user first') }}"
    "{%- endif -%}"
    "{%- if message['role'] == 'user' -%}"
    "<user>"
    "{%- set turns.system = '' -%}"
    "{%- set turns.expected = 'assistant' -%}"
    "{%- else -%}"
    "<assistant>"
    "{%- set turns.expected = 'user' -%}"
    "{%- endif -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<generation>{%- endif -%}"
)


def _chat_template(user: str, assistant: str, generation: str) -> str:
    """Return a Jinja chat template out of how one turn of each role is written, and what opens a reply."""
    turns = _TURNS.replace("<user>", user).replace("<assistant>", assistant).replace("<generation>", generation)
    return "{{ bos_token if bos_token else '' }}" + turns


# Gemma's turns: `<start_of_turn>user\n ... <end_of_turn>\n<start_of_turn>model\n ... <end_of_turn>\n`.
# There is no system role: a system text opens the first user turn.
GEMMA_CHAT_TEMPLATE = _chat_template(
    user=(
        "{{ '<start_of_turn>user\n' + (turns.system + '\n\n' if turns.system else '') + message['content'] | trim "
        "+ '<end_of_turn>\n' }}"
    ),
    assistant="{{ '<start_of_turn>model\n' + message['content'] | trim + '<end_of_turn>\n' }}",
    generation="{{ '<start_of_turn>model\n' }}",
)


END_OF_TURN = "<end_of_turn>"


# Llama 3's turns: `<|start_header_id|>user<|end_header_id|>\n\n ... <|eot_id|>`, with a system role of its own.
_LLAMA_3_TURN = "'<|start_header_id|>{role}<|end_header_id|>\n\n' + {text} | trim + '<|eot_id|>'"


LLAMA_3_CHAT_TEMPLATE = _chat_template(
    user=(
        "{%- if turns.system -%}{{ " + _LLAMA_3_TURN.format(role="system", text="turns.system") + " }}{%- endif -%}"
        "{{ " + _LLAMA_3_TURN.format(role="user", text="message['content']") + " }}"
    ),
    assistant="{{ " + _LLAMA_3_TURN.format(role="assistant", text="message['content']") + " }}",
    generation="{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
)


# For a base model without turn markers of its own, as SOLAR and Llama 2: plain headings, and the tokenizer's own end
# token, which is trained already, to end a reply. (Home-made end marks such as the suite's `$&%` are several tokens, which
# no server stops at.)
KOREAN_CHAT_TEMPLATE = _chat_template(
    user="{{ (turns.system + '\n\n' if turns.system else '') + '### 입력:\n' + message['content'] | trim + '\n\n' }}",
    assistant="{{ '### 출력:\n' + message['content'] | trim + eos_token + '\n\n' }}",
    generation="{{ '### 출력:\n' }}",
)


# A template for each vocabulary, by markers that it has; the first that fits is taken.
TEMPLATES_BY_MARKERS = (
    (("<start_of_turn>", END_OF_TURN), GEMMA_CHAT_TEMPLATE),
    (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), LLAMA_3_CHAT_TEMPLATE),
)


# What may serve for padding where the vocabulary has no token for it.
PAD_CANDIDATES = ("<pad>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<unk>")


class Rendered(NamedTuple):
    """Tokens of a conversation, and which of them the loss counts.

    ids: token ids, (sequence,). mask: 1 where the token belongs to the completion, else 0, (sequence,).
    """

    ids: list[int]
    mask: list[int]


def _has_token(tokenizer, token: str) -> bool:
    found = tokenizer.convert_tokens_to_ids(token)
    return found is not None and (found != tokenizer.unk_token_id or token == tokenizer.unk_token)


def prepare_tokenizer(tokenizer):
    """Give a tokenizer a chat template and a padding token where it has none, and pad on the left; return it.

    A template that is there is kept. Else the markers in the vocabulary choose: Gemma's turns (the pre-trained Gemma 3
    270M has no template, though its vocabulary holds the markers), Llama 3's, or plain Korean headings that end with the
    tokenizer's own end token. Padding never is an end token where the vocabulary offers another, because code that masks
    padding by its id would mask the end as well.

    Raises:
        CourseError: there is no template, no known marker, and no end token.
    """
    if tokenizer.chat_template is None:
        fitting = (
            template for markers, template in TEMPLATES_BY_MARKERS if all(_has_token(tokenizer, mark) for mark in markers)
        )
        tokenizer.chat_template = next(fitting, KOREAN_CHAT_TEMPLATE)
    if tokenizer.chat_template == KOREAN_CHAT_TEMPLATE and tokenizer.eos_token is None:
        raise CourseError(
            "This model's tokenizer has neither a chat template, nor turn markers, nor an end token (eos_token), so that "
            "a reply could not end; choose a Gemma, a Llama or a SOLAR, or an instruction-tuned model."
        )
    ends = {tokenizer.convert_ids_to_tokens(token) for token in stop_ids(tokenizer)}
    if tokenizer.pad_token is None or tokenizer.pad_token in ends:
        free = (token for token in PAD_CANDIDATES if _has_token(tokenizer, token) and token not in ends)
        tokenizer.pad_token = next(free, tokenizer.eos_token)
        if tokenizer.pad_token in ends:
            print(
                f"The tokenizer has no token for padding and none that is free, so {tokenizer.pad_token} pads as well as "
                "ends; the course's losses count by position, where others may mask the end."
            )
    tokenizer.padding_side = "left"
    return tokenizer


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Move a leading system text to the start of the first user turn."""
    if len(messages) < 2 or messages[0]["role"] != "system":
        return list(messages)
    system, first, *rest = messages
    return [{**first, "content": f"{system['content'].strip()}\n\n{first['content'].strip()}"}, *rest]


def _template_ids(tokenizer, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
    from jinja2.exceptions import TemplateError

    arguments = {"add_generation_prompt": add_generation_prompt, "tokenize": True, "return_dict": False}
    # gemma-2b-it refuses a system role; the text then opens the first user turn
    for attempt in (list(messages), fold_system(messages)):
        try:
            return list(tokenizer.apply_chat_template(attempt, **arguments))
        except TemplateError as error:
            reason = error
    roles = " -> ".join(message["role"] for message in messages)
    raise CourseError(f"The conversation {roles} cannot be rendered: {reason}.")


# A tokenizer's template, and the end token that was read off it. Reading takes 14 ms with Gemma's 6,414 added tokens, ten
# times what rendering a conversation takes.
_ENDS: WeakKeyDictionary[object, tuple[str, int]] = WeakKeyDictionary()


def end_of_turn_id(tokenizer) -> int:
    """Return the id of the token that ends an assistant's turn, read off the chat template itself."""
    known = _ENDS.get(tokenizer)
    if known is None or known[0] != tokenizer.chat_template:
        known = _ENDS[tokenizer] = (tokenizer.chat_template, _read_end_of_turn_id(tokenizer))
    return known[1]


def _read_end_of_turn_id(tokenizer) -> int:
    probe = [{"role": "user", "content": "가"}]
    prompt = _template_ids(tokenizer, probe, add_generation_prompt=True)
    whole = _template_ids(tokenizer, [*probe, {"role": "assistant", "content": "나"}], False)
    special = {*tokenizer.get_added_vocab().values(), tokenizer.eos_token_id}
    for token in whole[len(prompt) :]:
        if token in special:
            return token
    raise CourseError("This model's chat template ends a turn with no special token; it cannot learn to stop.")


def stop_ids(tokenizer) -> list[int]:
    """Return every token id that ends a reply: the end of a turn, and the tokenizer's own end token."""
    return sorted({end_of_turn_id(tokenizer), tokenizer.eos_token_id} - {None})


_MARKS: WeakKeyDictionary[object, tuple[str, tuple[str, ...]]] = WeakKeyDictionary()


def template_marks(tokenizer) -> tuple[str, ...]:
    """Return what no text may hold: the tokens that the template writes, and those that begin, end, pad or split texts."""
    known = _MARKS.get(tokenizer)
    if known is None or known[0] != tokenizer.chat_template:
        probe = [{"role": role, "content": "가"} for role in ("user", "assistant", "user")]
        written = set(_template_ids(tokenizer, probe, add_generation_prompt=True))
        marks = {token for token, number in tokenizer.get_added_vocab().items() if number in written}
        marks |= {str(token) for token in tokenizer.all_special_tokens}
        known = _MARKS[tokenizer] = (tokenizer.chat_template, tuple(sorted(mark for mark in marks if mark.strip())))
    return known[1]


def require_no_marks(tokenizer, text: str, what: str) -> None:
    """Raise a CourseError if a text holds a token of the template, or half of a surrogate pair, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CourseError(
            f"{what} holds half of a surrogate pair (an emoji that was cut, at character {error.start + 1}), which no "
            "tokenizer takes; take it out."
        ) from None
    found = next((mark for mark in template_marks(tokenizer) if mark in text), None)
    if found is None:
        return
    does = "would be read as a token of the template and not as text"
    if found == tokenizer.bos_token:
        raise CourseError(
            f"{what} holds {found}, and would be rendered with two {found} tokens; pass messages, not rendered text, or "
            "take it out."
        )
    if found == tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer)):
        does = "would end the turn in the middle of its text"
    raise CourseError(f"{what} holds {found}, which {does}; take it out.")


def _require_plain_text(tokenizer, messages: Sequence[Message]) -> None:
    """Raise a CourseError for a message without text, or with a token of the template written out in its text."""
    for place, message in enumerate(messages):
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise CourseError(f"Message {place} ({message.get('role')}) has no text; fill it in or drop the record.")
        require_no_marks(tokenizer, message["content"], f"Message {place} ({message.get('role')})")


def render(tokenizer, prompt: Sequence[Message], completion: Sequence[Message] | None = None) -> Rendered:
    """Turn a conversation into token ids and a completion mask: the only code that does so.

    Without a completion the ids end where the model is to speak, and the mask is all zero. With one, the mask
    covers its tokens up to and including the end-of-turn token; whatever the template writes after that
    (Gemma: a newline) is never generated, and so is left out of ids and loss alike.

    Raises:
        CourseError: the roles do not alternate, a text is empty or holds a token of the template or half of a
            surrogate pair, or the template renders the prompt otherwise once a completion follows (the model would train
            on a context that it never meets in use).
    """
    end = end_of_turn_id(tokenizer)
    _require_plain_text(tokenizer, [*prompt, *(completion or [])])
    if not any(message["role"] == "user" for message in prompt):
        raise CourseError("The prompt has no user turn; a model answers a user.")
    prompt_ids = _template_ids(tokenizer, prompt, add_generation_prompt=True)
    if completion is None:
        ids, mask = prompt_ids, [0] * len(prompt_ids)
    else:
        whole = _template_ids(tokenizer, [*prompt, *completion], add_generation_prompt=False)
        if whole[: len(prompt_ids)] != prompt_ids:
            raise CourseError(
                "The chat template renders the prompt differently once a completion follows; "
                "choose a model whose template does not."
            )
        last = len(whole) - 1 - whole[::-1].index(end)
        ids = whole[: last + 1]
        mask = [0] * len(prompt_ids) + [1] * (len(ids) - len(prompt_ids))
    # only at the start: Llama 2's own template writes <s> before each user turn
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        raise CourseError("The chat template writes two <bos> tokens; fix the template that came with this tokenizer.")
    return Rendered(ids, mask)


class Lengths(NamedTuple):
    """Tokens of one rendered sequence, and how many of them the loss counts."""

    tokens: int
    trained: int


def rendered_lengths(tokenizer, record: dict) -> list[Lengths]:
    """Return the length of each sequence that a canonical record is trained as: a preference pair has two.

    A pre-training document counts its first and end tokens, and learns all but the first.
    """
    if "text" in record:
        require_no_marks(tokenizer, record["text"], "The document")
        tokens = len(tokenizer(record["text"], add_special_tokens=False)["input_ids"]) + 2
        return [Lengths(tokens, tokens - 1)]
    replies = [record[side] for side in ("completion", "chosen", "rejected") if side in record] or [None]
    return [Lengths(len(ids), sum(mask)) for ids, mask in (render(tokenizer, record["prompt"], reply) for reply in replies)]


def label_table(tokenizer, rendered: Rendered) -> list[dict]:
    """Return one row a token for the notebook: position, id, text, and whether the loss counts it."""
    return [
        {"position": i, "id": token, "token": tokenizer.decode([token]), "trained": bool(counted)}
        for i, (token, counted) in enumerate(zip(rendered.ids, rendered.mask, strict=True))
    ]
