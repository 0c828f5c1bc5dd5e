"""Who is asked and how: a model at an endpoint, what it charges, and the form in which it takes requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from kotune.teacher.costs import Price, Usage, price_of
from kotune.teacher.endpoint import Dialect, Endpoint, dialect_of, request_body
from kotune.teacher.replies import Outcome, Request, journal_key, schema_name

RECORDED_MODEL = "recording"  # the name under which recorded replies stand in the journal: never a model's
MAX_COMPLETION_TOKENS = 2048  # bounds what one request can cost
_LEARNING = threading.Lock()  # over the dialects, which all teachers of a process share


@dataclass(frozen=True)
class Connection:
    """A model at an endpoint, as every request to it needs to know it."""

    model: str
    endpoint: Endpoint
    max_completion_tokens: int = MAX_COMPLETION_TOKENS  # of a reply that sets no length of its own
    dialect: Dialect = field(init=False)  # what the endpoint turned out to understand
    price: Price | None = field(init=False)  # None: the model stands in no table

    def __post_init__(self):
        """Look up the dialect, which all who ask this endpoint share, and the price."""
        object.__setattr__(self, "dialect", dialect_of(self.endpoint.name))
        object.__setattr__(self, "price", price_of(self.model))

    @property
    def model_in_journal(self) -> str:
        """The model whose replies the journal is asked for: recorded replies never pass for a model's."""
        if not self.endpoint.is_recording:
            return self.model
        return f"{RECORDED_MODEL} of {self.endpoint.replays}" if self.endpoint.replays else RECORDED_MODEL

    def key_of(self, request: Request, schema: type[BaseModel] | None) -> str:
        """Return the key under which a request's reply stands in the journal."""
        return journal_key(self.model_in_journal, request, schema)

    def longest_reply(self, request: Request) -> int:
        """Return the most tokens that a reply may have."""
        given = request.parameters
        return given.get("max_completion_tokens") or given.get("max_tokens") or self.max_completion_tokens

    def body_of(self, request: Request, schema: type[BaseModel] | None, dialect: Dialect | None = None) -> dict:
        """Return the body in which a request is sent, in the endpoint's dialect or in that given."""
        return request_body(request, self.model, schema, dialect or self.dialect, self.max_completion_tokens)

    def learn(self, error: Exception, used: Dialect, request: Request, schema: type[BaseModel] | None) -> bool:
        """Return whether to send again: the dialect has changed, by this refusal or another request's meanwhile."""
        with _LEARNING:
            if self.dialect != used:
                return True
            changed = self.dialect.learn(error, request, schema)
        if changed:
            print(f"{self.endpoint.name} {changed}")
        return changed is not None

    def usd(self, usage: Usage | None) -> float | None:
        """Return what a reply cost: nothing for the recording, None where the price or the usage is not known."""
        if self.endpoint.is_recording:
            return 0.0
        return self.price.usd(usage) if self.price and usage else None

    def row_of(self, key: str, request: Request, schema: type[BaseModel] | None, step: str, outcome: Outcome) -> dict:
        """Return a line for the journal, or, with the failure's class, its error and messages, for the failures."""
        row: dict[str, Any] = {
            "key": key,
            "id": request.id,
            "step": step,
            "model": self.model_in_journal,
            "schema": schema_name(schema),
            "text": outcome.text,
            "usage": dict(vars(outcome.usage)) if outcome.usage else None,
            "usd": self.usd(outcome.usage),
            "served_by": outcome.served_by,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if outcome.failure:
            row |= {"failure": outcome.failure, "error": outcome.error, "messages": list(request.messages)}
        return row
