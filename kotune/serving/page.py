"""The chat page: one model, or two side by side with a blind vote, streamed, in Korean and English.

A model that does one job gets each text alone, with its own instruction; a listing's record is shown as a table.

Built with Chainlit, which is mounted behind the routes of `app.py`; `chainlit_patches` adapts it. Chainlit keeps
its settings in a folder; each start makes a fresh one, so that nothing is written into the repository.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kotune.data.retrieval import OpenBookPrompt
from kotune.judging import votes
from kotune.models.sampling import SERVED_RANGES, Finish, Sampling
from kotune.serving import chainlit_patches, page_problems, profiles, record_table
from kotune.serving.backends import ChatRequest, PromptTooLong
from kotune.serving.desk import Desk
from kotune.serving.guard import Sender, address_of, content_security_policy
from kotune.serving.jobs import Job
from kotune.serving.page_texts import Texts, texts
from kotune.serving.profiles import Profile
from utils import CourseError

PATHS = (
    "/", "/assets/", "/public/", "/project/translations", "/project/settings", "/project/action", "/project/file/",
    "/favicon", "/logo", "/avatars/", "/user", "/auth/config", "/set-session-cookie", "/ws/socket.io", "/ws/socket.io/",
)  # fmt: skip
VOTE, SOURCES = "vote", "sources"
SIDES = ("A", "B")  # authors of the two answers; page.css and the avatars know them by these
PAGE = "page"  # the author of what the page itself says
ON_THE_PAGE = ("max_tokens", "temperature", "top_p", "top_k", "repetition_penalty")  # the settings that it shows
PENDING_VOTES = 20
log = logging.getLogger("serve")
FILES = Path(__file__).with_name("page")  # the settings and files of the page, beside this module


@dataclass(frozen=True)
class Page:
    """What the handlers need: where requests go, and where votes are stored."""

    desk: Desk
    votes: Path


@dataclass
class StreamedReply:
    """A reply on the page as far as it came."""

    text: str
    tokens: int = 0
    seconds: float = 0.0
    finish: Finish | None = None


def mount(app, desk: Desk, votes_file: Path, folder: Path) -> Callable[[], int]:
    """Mount the page at / of an application, behind its routes; return what counts its open sockets.

    folder: an empty one that the page may fill.
    """
    prepare_folder(folder)
    chainlit_patches.set_environment(folder)
    import chainlit
    from chainlit import server
    from starlette.responses import HTMLResponse

    chainlit_patches.silence()

    async def page(request) -> HTMLResponse:
        text = chainlit_patches.without_outside_links(server.get_html_template(""))
        policy = content_security_policy(text, request.headers.get("host", ""))
        return HTMLResponse(text, headers={"content-security-policy": policy, "cache-control": "no-store"})

    app.add_route("/", page)
    _register(chainlit, Page(desk, votes_file))
    chainlit_patches.add_checked_routes(app, server)
    app.mount("", server.app)
    chainlit_patches.replace_stop_handler(server)
    return lambda: len(server.sio.eio.sockets)


def prepare_folder(folder: Path) -> None:
    """Fill the page's folder: settings, style, and the two languages."""
    chainlit_patches.write_translations(folder / ".chainlit" / "translations")
    shutil.copy(FILES / "config.toml", folder / ".chainlit" / "config.toml")
    shutil.copytree(FILES / "public", folder / "public")
    (folder / "chainlit.md").write_text("", encoding="utf-8")


def _language() -> Texts:
    return texts(chainlit_patches.page_session().language)


def _register(chainlit, page: Page) -> None:
    """Tell Chainlit what to do when a chat starts, a message comes, a setting changes or a vote is cast."""

    @chainlit.set_chat_profiles
    async def listed(user, language: str | None):
        first, *others = profiles.offered(page.desk)
        shown = profiles.shown(chainlit, first, page.desk, texts(language))
        shown.default = True
        return [shown, *(profiles.shown(chainlit, other, page.desk, texts(language)) for other in others)]

    @chainlit.set_starters
    async def starters(user, language: str | None):
        return [chainlit.Starter(label=label, message=message) for label, message in texts(language).starters]

    @chainlit.on_chat_start
    async def start():
        chainlit.user_session.set("turns", [])
        chainlit.user_session.set("votes", {})
        await chainlit.ChatSettings(_settings(chainlit, _language(), page.desk, _profile(page).job)).send()

    @chainlit.on_message
    async def message(message):
        chainlit_patches.count_as_answer()
        question, said = message.content.strip(), _language()
        if not question:
            return
        longest = page.desk.limits.message_characters
        for text, sentence in ((question, said.too_long), (_wanted(page).system, said.system_too_long)):
            if len(text) > longest:
                await _complain(sentence.format(limit=longest))
                return
        try:
            profile = _profile(page)
            answer = _compare if len(profile.models) > 1 else _answer
            await answer(page, profile, question, said)
        except CourseError as error:
            log.info("The page could not answer: %s", error)
            await _complain(said.problem.format(sentence=page_problems.sentence(error, said)))
        except Exception:  # Chainlit would show its bare text, in English
            log.exception("The page could not answer, by a fault of the server.")
            await _complain(said.fault)
        except asyncio.CancelledError:
            await chainlit.Message(said.stopped, author=PAGE).send()
            raise

    @chainlit.on_chat_end
    async def leave():
        chainlit_patches.stop_answer_of_a_closed_page()

    @chainlit.action_callback(VOTE)
    async def vote(action):
        await _vote(page, action)

    @chainlit.action_callback(SOURCES)
    async def sources(action):
        await _show_sources(page, action)


async def _complain(sentence: str) -> None:
    from chainlit import ErrorMessage

    await ErrorMessage(content=sentence, author=PAGE).send()


def _sender() -> Sender:
    session = chainlit_patches.page_session()
    return Sender(address_of((session.environ or {}).get("asgi.scope", {})), session.id)


def _profile(page: Page) -> Profile:
    """Return the entry that is chosen, or the default."""
    from chainlit import user_session

    offered = profiles.offered(page.desk)
    chosen = user_session.get("chat_profile")
    return next((profile for profile in offered if profile.name == chosen), offered[0])


def _settings(chainlit, said: Texts, desk: Desk, job: Job | None = None) -> list:
    """Return the settings that a chat has: with a job no system text and no documents, since its instruction is its own."""
    widgets = chainlit.input_widget

    def slider(name: str, step: float, low: float, high: float):
        return widgets.Slider(
            id=name,
            label=said.settings[name],
            initial=getattr(Sampling, name),
            min=low,
            max=high,
            step=step,
            description=said.about.get(name),
        )

    shown = [
        slider("temperature", 0.1, *SERVED_RANGES["temperature"]),
        slider("top_p", 0.05, 0.05, 1),
        slider("top_k", 1, 0, 200),  # all 262,144 would leave no room to aim
        slider("repetition_penalty", 0.05, *SERVED_RANGES["repetition_penalty"]),
        slider("max_tokens", 16, 16, desk.limits.max_tokens),
    ]
    if job and job.choices:
        values = list(job.choices)
        return [widgets.Select(id="choice", label=said.settings["choice"], values=values, initial_index=0), *shown]
    if job:
        return shown
    shown.append(
        widgets.TextInput(
            id="system", label=said.settings["system"], initial="", description=said.about["system"], multiline=True
        )
    )
    if desk.library:
        shown.append(
            widgets.Switch(
                id="use_documents",
                label=said.settings["use_documents"],
                initial=True,
                description=f"{said.about['use_documents']} {said.rankings[desk.library.ranking]}",
            )
        )
    return shown


@dataclass(frozen=True)
class ChatSettings:
    """The settings of one chat, read from what the browser sent and brought within their bounds."""

    sampling: Sampling
    system: str
    use_documents: bool
    choice: str  # of a job's instructions


def read_settings(settings: dict, longest: int) -> ChatSettings:
    """Return settings within bounds; what is no number counts as not set."""

    ranges = {**SERVED_RANGES, "max_tokens": (1, longest)}

    def within(name: str) -> Any:
        kind, (low, high) = type(getattr(Sampling, name)), ranges[name]
        value = settings.get(name)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return kind(value) if usable else min(getattr(Sampling, name), high)

    def text(name: str) -> str:
        value = settings.get(name)
        return value if isinstance(value, str) else ""

    sampling = Sampling(**{name: within(name) for name in ON_THE_PAGE})
    return ChatSettings(sampling, text("system"), settings.get("use_documents", True) is True, text("choice"))


def conversation(turns: list[tuple[str, str]], system: str, content: str) -> list[dict]:
    """Return the messages of a chat: system text, earlier turns, the question."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*messages, {"role": "user", "content": content}]


async def _asked(page: Page, question: str, wanted: ChatSettings) -> OpenBookPrompt:
    if page.desk.library and wanted.use_documents:
        return await page.desk.sources(question)
    return OpenBookPrompt(question, ())


def _wanted(page: Page) -> ChatSettings:
    from chainlit import user_session

    return read_settings(user_session.get("chat_settings") or {}, page.desk.limits.max_tokens)


async def _answer(page: Page, profile: Profile, question: str, said: Texts) -> None:
    """Let one model do its job, or go on with the conversation; the oldest turns go where all do not fit."""
    from chainlit import Message, user_session

    model, wanted = profile.models[0], _wanted(page)
    if profile.job:
        reply = Message("", author=author(model))
        written = await _write(page, ChatRequest(model, profile.job.ask(question, wanted.choice), wanted.sampling), reply)
        await _show_record(profile.job, reply, written, said)
        await _finish(reply, written, OpenBookPrompt(question, ()), _notes(model, written, said), said)
        return
    asked = await _asked(page, question, wanted)
    turns = list(user_session.get("turns") or [])
    reply, forgotten = Message("", author=author(model)), 0
    while True:
        request = ChatRequest(model, conversation(turns, wanted.system, asked.content), wanted.sampling)
        try:
            written = await _write(page, request, reply)
            break
        except PromptTooLong:
            if not turns:
                raise
            turns.pop(0)
            forgotten += 1
    notes = _notes(model, written, said)
    if forgotten:
        notes.append(said.forgotten.format(turns=forgotten))
    if page.desk.library and wanted.use_documents and not asked.sources:
        notes.append(said.no_sources)
    await _finish(reply, written, asked, notes, said)
    if written.text.strip():
        turns.append((question, written.text.strip()))
    user_session.set("turns", turns)


def _notes(model: str, written: StreamedReply, said: Texts) -> list[str]:
    """Return what stands below an answer: by whom, how long, and that it was cut."""
    footer = said.footer.format(model=model, tokens=written.tokens, seconds=written.seconds)
    return [footer, said.cut] if written.finish == "length" else [footer]


async def _show_record(job: Job | None, reply, written: StreamedReply, said: Texts) -> None:
    """Put a listing's record in the place of what was streamed, as a table; or say why it is none."""
    if job and job.name == "listings" and written.text.strip():
        await reply.stream_token(record_table.shown(written.text, said), is_sequence=True)


async def _write(page: Page, request: ChatRequest, reply) -> StreamedReply:
    """Stream a reply into a message; stopped in the middle, what was written stays."""
    started, written = time.monotonic(), StreamedReply("")
    try:
        async with aclosing(page.desk.stream(request, _sender())) as pieces:
            async for progress in pieces:
                text = progress.text if written.text else progress.text.lstrip()
                written.text += text
                written.tokens, written.finish = progress.tokens, progress.finish
                await reply.stream_token(text)
    except (asyncio.CancelledError, CourseError):
        if written.text:
            await reply.update()
        raise
    written.seconds = time.monotonic() - started
    return written


async def _finish(reply, written: StreamedReply, asked: OpenBookPrompt, notes: list[str], said: Texts) -> None:
    if not written.text:
        await reply.stream_token(said.empty)
    if asked.sources:
        await reply.stream_token("\n\n" + _named(asked, said))
        reply.actions = [_sources_action(asked, said)]
    await reply.stream_token("\n\n*" + " · ".join(notes) + "*")
    await reply.send()


def _named(asked: OpenBookPrompt, said: Texts) -> str:
    return said.sources.format(titles=" / ".join(f"[{source.number}] {source.title}" for source in asked.sources))


def _sources_action(asked: OpenBookPrompt, said: Texts):
    from chainlit import Action

    return Action(
        name=SOURCES, payload={"ids": [source.id for source in asked.sources]}, label=said.show_sources, icon="book-open"
    )


async def _show_sources(page: Page, action) -> None:
    """Open the passages of an answer beside it, in the order of the prompt."""
    from chainlit import ElementSidebar, Text

    wanted = action.payload.get("ids")
    if page.desk.library is None or not isinstance(wanted, list):
        return
    known = {document["id"]: document for document in page.desk.library.documents}
    chosen = [known[i] for i in wanted if isinstance(i, str) and i in known]
    headed = [(f"[{number}] {document['title']}", document["text"]) for number, document in enumerate(chosen, start=1)]
    shown = [Text(name=head, content=f"**{head}**\n\n{text}") for head, text in headed]
    await ElementSidebar.set_elements(shown)
    await ElementSidebar.set_title(_language().show_sources)  # the elements take an earlier title away


def author(model: str) -> str:
    """Return a model's name in the characters that Chainlit takes for an author's picture."""
    return re.sub(r"[^\w .-]", "-", model, flags=re.ASCII)


async def _compare(page: Page, profile: Profile, question: str, said: Texts) -> None:
    """Let two models answer at once under numbers, and ask which is better."""
    from chainlit import Action, Message, user_session

    wanted, job = _wanted(page), profile.job
    asked = OpenBookPrompt(question, ()) if job else await _asked(page, question, wanted)
    vote = votes.pair(question, (profile.models[0], profile.models[1]))
    shown = profile.models if vote.shown_first == "a" else profile.models[::-1]
    replies = [Message("", author=side) for side in SIDES]
    for reply in replies:
        await reply.send()  # both stand in their places before either says anything
    messages = job.ask(question, wanted.choice) if job else conversation([], wanted.system, asked.content)
    writing = [
        asyncio.ensure_future(_write(page, ChatRequest(name, messages, wanted.sampling), reply))
        for name, reply in zip(shown, replies, strict=True)
    ]
    try:
        both = await asyncio.gather(*writing)
    finally:
        for task in writing:
            task.cancel()  # one that failed leaves the other without a use
    for reply, written in zip(replies, both, strict=True):
        if not written.text:
            await reply.stream_token(said.empty)
        await _show_record(job, reply, written, said)
        if written.finish == "length":
            await reply.stream_token(f"\n\n*{said.cut}*")
        await reply.update()
    first, second = [written.text.strip() for written in both]
    first_is_a = vote.shown_first == "a"
    a, b = (first, second) if first_is_a else (second, first)
    vote = replace(vote, answer_a=a, answer_b=b, prompt=messages)
    pending = user_session.get("votes")
    while len(pending) >= PENDING_VOTES:
        pending.pop(next(iter(pending)))
    labels = {"first": said.vote_first, "second": said.vote_second, "tie": said.vote_tie}
    actions = [Action(name=VOTE, payload={"id": vote.id, "shown": s}, label=label) for s, label in labels.items()]
    asks = said.vote
    if asked.sources:
        asks = f"{_named(asked, said)}\n\n{asks}"
        actions.append(_sources_action(asked, said))
    ballot = Message(asks, author=PAGE, actions=actions)
    pending[vote.id] = (vote, ballot)
    await ballot.send()


async def _vote(page: Page, action) -> None:
    from chainlit import Message, user_session

    said, pending = _language(), user_session.get("votes") or {}
    shown, known = action.payload.get("shown"), action.payload.get("id")
    if not isinstance(known, str) or known not in pending or shown not in ("first", "second", "tie"):
        await Message(said.voted_already, author=PAGE).send()
        return
    vote, ballot = pending.pop(known)
    decided = vote.decided(shown)
    try:
        await asyncio.to_thread(votes.store, page.votes, decided)
    except (CourseError, OSError) as error:
        pending[vote.id] = (vote, ballot)
        log.warning("A vote could not be stored: %s", error)
        await _complain(said.not_stored.format(reason=page_problems.file_reason(error, said)))
        return
    for cast in ballot.actions:
        if cast.name == VOTE:
            await cast.remove()
    names = vote.models if vote.shown_first == "a" else {"a": vote.models["b"], "b": vote.models["a"]}
    await Message(said.voted.format(first=names["a"], second=names["b"]), author=PAGE).send()
