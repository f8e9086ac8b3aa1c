"""Messages: what outsiders put into the inbox of a run.

Outsiders never write to a journal. The run's owner reads the inbox, decides, and commits what
became of each message in the same transaction that removes it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from astro.core.records import UNSET, Failure, Json, Moment, Raw, State

__all__ = [
    "AnswerMessage",
    "ApproveMessage",
    "CancelMessage",
    "FinishedMessage",
    "Message",
    "PauseMessage",
    "Posted",
    "ResumeMessage",
    "decode_message",
    "encode_message",
]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """What all messages have.

    Attributes:
        once: If set, only one message of a run may ever carry it.
        not_after: The message is refused after this moment of the store's time.
    """

    once: str | None = None
    not_after: Moment | None = None


class AnswerMessage(_Message, frozen=True, kw_only=True, tag="answer"):
    """The answer to a question; `once` names the question.

    Attributes:
        asked: Sequence number of the question's record; the same call may ask again. 0 is any.
    """

    call: str
    answer: Raw
    by: str = ""
    asked: int = 0


class CancelMessage(_Message, frozen=True, kw_only=True, tag="cancel"):
    """End the run."""

    reason: str = ""


class PauseMessage(_Message, frozen=True, kw_only=True, tag="pause"):
    """Stop dispatching."""

    by: str = ""


class ResumeMessage(_Message, frozen=True, kw_only=True, tag="resume"):
    """Go on dispatching; also unparks a run."""

    by: str = ""


class ApproveMessage(_Message, frozen=True, kw_only=True, tag="approve"):
    """Accept a divergence: these identities may be missing."""

    accepted: tuple[str, ...]
    by: str = ""


class FinishedMessage(_Message, frozen=True, kw_only=True, tag="finished"):
    """A child run has ended."""

    run: str
    state: State
    result: Json = UNSET
    blob: str | None = None
    failure: Failure | None = None


Message: TypeAlias = (
    AnswerMessage | CancelMessage | PauseMessage | ResumeMessage | ApproveMessage | FinishedMessage
)


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A message in an inbox.

    Attributes:
        number: Unique in the store; grows.
        at: The store's time when it was posted.
    """

    number: int
    tenant: str
    run: str
    at: datetime
    message: Message


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """Return a message as JSON."""
    return _ENCODER.encode(message)


def decode_message(raw: bytes | str) -> Message:
    """Return the message of some JSON."""
    return _DECODER.decode(raw)
