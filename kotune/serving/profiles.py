"""What the chat page offers in its list (Chainlit's chat profiles), and the sentence on each."""

from __future__ import annotations

from dataclasses import dataclass

from kotune.serving.desk import Desk
from kotune.serving.jobs import Job
from kotune.serving.page_texts import Texts

COMPARE = "compare"


@dataclass(frozen=True)
class Profile:
    """An entry of the list: one model or two side by side, and the job that they are asked to do, if it is one."""

    name: str
    models: tuple[str, ...]
    job: Job | None = None


def offered(desk: Desk) -> list[Profile]:
    """Return the list, the default first: chat models, two of them side by side, each job, and each job beside the base."""
    names = list(reversed(desk.chat_models))
    entries = [Profile(name, (name,)) for name in names]
    if len(names) > 1:
        entries.append(Profile(COMPARE, (names[0], names[1])))
    base = next((name for name, role in desk.roles.items() if role == "base"), None)
    for name, job in desk.jobs.items():
        entries.append(Profile(name, (name,), job))
        if base:
            entries.append(Profile(f"{COMPARE} {name}", (name, base), job))
    return entries


def shown(chainlit, profile: Profile, desk: Desk, said: Texts):
    """Return an entry of the list as Chainlit shows it, with one sentence on what it is for."""
    title, starters = None, None
    role = desk.roles.get(profile.models[0])
    if len(profile.models) > 1:
        title = said.job_compare.format(job=said.jobs[profile.job.name]) if profile.job else said.compare
        sentence = said.job_compare_about if profile.job else said.compare_about
        about = sentence.format(a=profile.models[0], b=profile.models[1])
    else:
        title = f"{said.jobs[profile.job.name]} ({profile.name})" if profile.job else None
        about = said.roles[role] if role else said.model_about.format(model=profile.name)
    if profile.job:
        starters = [chainlit.Starter(label=label, message=text) for label, text in said.job_starters[profile.job.name]]
    return chainlit.ChatProfile(name=profile.name, display_name=title, markdown_description=about, starters=starters)
