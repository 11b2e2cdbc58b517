"""Reading a request's body: JSON into named fields, and every mistake into a sentence that says what to do.

Pure. Fields that headrace acts on are taken out with their types checked; what is left keeps the JSON it came
as. Unknown fields are accepted (reference, rule 10). The options every route knows, in the body's `headrace`
object or in headers, are read here too.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_origin

import msgspec

from headrace.errors import InvalidRequest, MalformedBody
from headrace.requests import (
    Disconnect,
    GenerationRequest,
    Interruption,
    Message,
    Parent,
    ReaderOptions,
    TextPart,
    Timeouts,
)
from headrace.wire import json_text

DEPTH_LIMIT = 64
MOST_CHOICES = 128
"""As many as OpenAI makes of one request (`n`)."""
MOST_TOKENS = 2**31
"""More than any model says, and few enough for every upstream's whole numbers."""

T = TypeVar("T")

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_POLICY: Any = str | float
_KINDS: dict[object, str] = {
    _POLICY: 'one of "cancel", "continue" or a number of seconds',
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}

# Sampling fields of OpenAI's chat API and what they may hold; checked here, so that a mistake is named before an
# upstream is asked, and passed on as they came.
_SAMPLING: dict[str, tuple[Any, str]] = {
    "temperature": (float | None, "a number"),
    "top_p": (float | None, "a number"),
    "presence_penalty": (float | None, "a number"),
    "frequency_penalty": (float | None, "a number"),
    "n": (Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None, f"a whole number from 1 to {MOST_CHOICES}"),
    "seed": (int | None, "a whole number"),
    "stop": (str | list[str] | None, "text or a list of texts"),
    "user": (str | None, "text"),
    "tools": (list[dict[str, Any]] | None, "a list of objects"),
    "tool_choice": (str | dict[str, Any] | None, "text or an object"),
    "response_format": (dict[str, Any] | None, "an object"),
    "metadata": (dict[str, Any] | None, "an object"),
    "logprobs": (bool | int | None, "true or false"),
    "top_logprobs": (int | None, "a whole number"),
    "logit_bias": (dict[str, Any] | None, "an object"),
}
_SAMPLING_DECODERS = {name: (msgspec.json.Decoder(kind), words) for name, (kind, words) in _SAMPLING.items()}


class Fields:
    """The fields of a JSON object, taken out one by one.

    Args:
        body: the object.
        name: what errors call it.

    Raises:
        MalformedBody: the body is not a JSON object.
    """

    def __init__(self, body: bytes, name: str = "the body") -> None:
        if not body.strip():
            raise MalformedBody(f'{name} is empty; send a JSON object, as {{"model": "…", "messages": […]}}')
        if json_text.depth_exceeds(body, DEPTH_LIMIT):
            raise MalformedBody(f"the JSON is nested more than {DEPTH_LIMIT} levels deep")
        try:
            if not body.isascii():
                body.decode("utf-8")  # all of it at once: what is kept as raw JSON would not be looked into
            self._raw = _decode_object(body)
        except UnicodeDecodeError as error:
            raise MalformedBody(f"{name} is not UTF-8 (byte {error.start})") from None
        except msgspec.ValidationError:
            raise MalformedBody(f"{name} is JSON, but not an object: send {{…}}") from None
        except msgspec.DecodeError as error:
            half = json_text.half_character(body)
            if half is not None:
                raise MalformedBody(
                    f'{name} is JSON, but "{half}" in it is half a character; send both halves, or all of it as it is'
                ) from None
            raise MalformedBody(f"{name} is not JSON: {error}") from None

    def take(self, name: str, kind: type[T]) -> T | None:
        """The field `name`, which is not passed on; `None` where it is missing or null."""
        raw = self._raw.pop(name, None)
        return None if raw is None else _decoded(name, raw, kind)

    def take_raw(self, name: str) -> msgspec.Raw | None:
        """The field `name` as the JSON it came as; `None` where it is missing or null."""
        raw = self._raw.pop(name, None)
        return None if raw is None or bytes(raw) == b"null" else raw

    def take_first(self, names: tuple[str, ...], kind: type[T]) -> T | None:
        """The first field of `names` that is given; all of them are taken out."""
        found = [value for name in names if (value := self.take(name, kind)) is not None]
        return found[0] if found else None

    def look_at(self, name: str) -> msgspec.Raw | None:
        """The field `name`, which stays; `None` where it is missing or null."""
        raw = self._raw.get(name)
        return None if raw is None or bytes(raw) == b"null" else raw

    def written(self, **others: Any) -> bytes:
        """What was not taken, as JSON, with other fields instead or besides."""
        return json_text.encode({**self._raw, **others})

    def rest(self) -> dict[str, msgspec.Raw]:
        """What was not taken, as it came; nulls left out, known fields checked."""
        rest = {}
        for name, raw in self._raw.items():
            if (known := _SAMPLING_DECODERS.get(name)) is not None:
                decoder, words = known
                try:
                    if decoder.decode(raw) is None:
                        continue
                except msgspec.DecodeError:
                    raise InvalidRequest(f'"{name}" must be {words}', parameter=name) from None
            # A copy: a Raw is a view that would keep the whole body alive as long as the stream.
            rest[name] = raw.copy()
        return rest


@functools.cache
def _decoder(kind: Any) -> Any:
    # Making a decoder costs several times what it then does; the kinds are the few that the protocols name.
    return msgspec.json.Decoder(kind | None).decode


def _decoded(name: str, raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return _decoder(kind)(raw)
    except msgspec.DecodeError as error:
        words = _KINDS.get(kind)
        if words is None:
            words = f"{'a list' if get_origin(kind) is list else 'an object'} ({error})"
        raise InvalidRequest(f'"{name}" must be {words}', parameter=name) from None


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True):
    role: Annotated[str, msgspec.Meta(min_length=1)]
    content: str


_decode_plain_messages = msgspec.json.Decoder(list[_PlainMessage]).decode
_decode_messages = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_content = msgspec.json.Decoder(str | list[TextPart] | None).decode


def read_messages(fields: Fields, name: str = "messages") -> tuple[Message, ...]:
    """The messages of a conversation; empty where the field is missing.

    Raises:
        InvalidRequest: it is no list of messages; the message says which one and why.
    """
    raw = fields.take_raw(name)
    if raw is None:
        return ()
    try:
        # Nearly every conversation is of this shape, and read in one step.
        return tuple([Message(each.role, each.content) for each in _decode_plain_messages(raw)])
    except msgspec.DecodeError:
        pass  # another shape, or a mistake: what it is, is found out message by message
    try:
        listed = _decode_messages(raw)
    except msgspec.DecodeError:
        raise InvalidRequest(f'"{name}" must be a list of objects with "role" and "content"', parameter=name) from None
    return tuple(_message(entry, f"{name}[{place}]") for place, entry in enumerate(listed))


def _message(entry: dict[str, msgspec.Raw], where: str) -> Message:
    role_raw = entry.pop("role", None)
    try:
        role = _decode_text(role_raw) if role_raw is not None else ""
    except msgspec.DecodeError:
        role = ""
    if not role:
        raise InvalidRequest(f'{where} needs a "role", as "user"', parameter=f"{where}.role")
    content_raw = entry.pop("content", None)
    value: Any = None
    if content_raw is not None:
        try:
            value = _decode_content(content_raw)
        except msgspec.DecodeError:
            raise InvalidRequest(
                f'{where}: "content" must be text or a list of parts, each an object with a "type"',
                parameter=f"{where}.content",
            ) from None
    if role == "user" and value in (None, []):
        raise InvalidRequest(
            f'{where}: a message of the user needs "content", text or a list of parts', parameter=f"{where}.content"
        )
    content = content_raw.copy() if content_raw is not None and isinstance(value, list) else value
    return Message(role, content, {key: value.copy() for key, value in entry.items()})


def read_wants_usage(fields: Fields) -> bool:
    """Whether OpenAI's `stream_options` ask for usage.

    Raises:
        InvalidRequest: they are no object, or hold something else than true or false.
    """
    wanted = (fields.take("stream_options", dict[str, Any]) or {}).get("include_usage")
    if not isinstance(wanted, bool | None):
        name = "stream_options.include_usage"
        raise InvalidRequest(f'"{name}" must be true or false', parameter=name)
    return wanted is True


class Options(msgspec.Struct, frozen=True):
    """What a reader asks of headrace itself, whatever the protocol (headrace-protocols.md, request options)."""

    on_disconnect: Disconnect | None = None
    on_interruption: Interruption | None = None
    timeouts: Timeouts = Timeouts()
    heartbeat_seconds: float | None = None
    rationale: bool | None = None
    event_ids: bool = False
    pace: Literal["recorded"] | None = None
    parent: Parent | None = None


class _BodyOptions(msgspec.Struct):
    on_disconnect: str | float | None = None
    on_interruption: str | None = None
    timeouts: Timeouts | None = None
    heartbeat_seconds: float | None = None
    rationale: bool | None = None
    event_ids: bool | None = None
    pace: str | None = None
    parent: str | None = None
    relation: str | None = None


def read_options(fields: Fields | None, headers: Mapping[str, str]) -> Options:
    """The options in the body's `headrace` object, where there is a body, and in the headers; a header wins.

    Raises:
        InvalidRequest: one of them is not what it may be.
    """
    raw = None if fields is None else fields.take_raw("headrace")
    if raw is None and not _has_options(headers):
        return _NO_OPTIONS
    body = _BodyOptions()
    if raw is not None:
        try:
            body = msgspec.json.decode(raw, type=_BodyOptions)
        except msgspec.DecodeError as error:
            raise InvalidRequest(f'"headrace": {error}', parameter="headrace") from None
    disconnect: str | float | None = headers.get("headrace-on-disconnect", body.on_disconnect)
    interruption = headers.get("headrace-on-interruption", body.on_interruption)
    timeouts = body.timeouts or Timeouts()
    if (given := headers.get("headrace-timeouts")) is not None:
        timeouts = _timeouts(given).over(timeouts)
    _check_timeouts(timeouts)
    heartbeat = body.heartbeat_seconds
    if heartbeat is not None:
        _number("heartbeat_seconds", heartbeat)
    if (given := headers.get("headrace-heartbeat")) is not None:
        heartbeat = _number("Headrace-Heartbeat", given)
    rationale = flag(headers, "headrace-rationale", body.rationale)
    event_ids = flag(headers, "headrace-event-ids", body.event_ids)
    return Options(
        on_disconnect=_disconnect(disconnect),
        on_interruption=_interruption(interruption),
        timeouts=timeouts,
        heartbeat_seconds=heartbeat,
        rationale=rationale,
        event_ids=bool(event_ids),
        pace=_pace(headers.get("headrace-pace", body.pace)),
        parent=_parent(headers.get("headrace-parent", body.parent), headers.get("headrace-relation", body.relation)),
    )


_NO_OPTIONS = Options()


def _has_options(headers: Mapping[str, str]) -> bool:
    for name in headers:  # noqa: SIM110  # a loop, since it runs for every request and mostly in vain
        if name.startswith("headrace-"):
            return True
    return False


def _pace(value: str | None) -> Literal["recorded"] | None:
    if value is None:
        return None
    if value == "recorded":
        return "recorded"
    raise InvalidRequest(f'pace is {value[:50]!r}; it must be "recorded", or be left out', parameter="pace")


def _parent(stream_id: str | None, relation: str | None) -> Parent | None:
    match relation:
        case None | "follow" | "sibling" | "continue":
            pass
        case _:
            raise InvalidRequest(
                f'relation is {relation[:50]!r}; it must be "follow", "sibling" or "continue"', parameter="relation"
            )
    if not stream_id:
        if relation is not None:
            raise InvalidRequest(
                f'relation is "{relation}", but to which stream? Name it as "parent"', parameter="parent"
            )
        return None
    return Parent(stream_id, relation or "follow")


def _disconnect(value: str | float | None) -> Disconnect | None:
    match value:
        case None:
            return None
        case "cancel" | "continue":
            return value
        case _:
            return _number("on_disconnect", value, 'one of "cancel", "continue" or a number of seconds')


def read_policy(body: bytes) -> Disconnect:
    """What a reader decides about a stream that is there: the body's `on_disconnect`.

    Raises:
        InvalidRequest: it is missing, or not what it may be.
    """
    fields = Fields(body)
    policy = _disconnect(fields.take("on_disconnect", _POLICY))
    if policy is None:
        raise InvalidRequest(
            '"on_disconnect" is missing; send {"on_disconnect": "continue"}, "cancel" or a number of seconds',
            parameter="on_disconnect",
        )
    return policy


def _interruption(value: str | None) -> Interruption | None:
    match value:
        case None | "continue_same" | "continue_any" | "end":
            return value
        case _:
            raise InvalidRequest(
                f'on_interruption is {value[:100]!r}; it must be "continue_same", "continue_any" or "end"',
                parameter="on_interruption",
            )


def _number(name: str, value: str | float, words: str = "a number of seconds, 0 or more") -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InvalidRequest(f"{name} is {str(value)[:100]!r}; it must be {words}", parameter=name)
    return number


def _timeouts(value: str) -> Timeouts:
    given: dict[str, float] = {}
    for piece in value.split(","):
        name, equals, seconds = piece.strip().partition("=")
        if not equals or name not in Timeouts.__struct_fields__:
            known = ", ".join(Timeouts.__struct_fields__)
            raise InvalidRequest(
                f"Headrace-Timeouts holds {piece[:100]!r}; it must be as first_token=60,total=300 (known: {known})",
                parameter="Headrace-Timeouts",
            )
        given[name] = _number(f"Headrace-Timeouts: {name}", seconds)
    return Timeouts(**given)


def _check_timeouts(timeouts: Timeouts) -> None:
    for name in Timeouts.__struct_fields__:
        if (seconds := getattr(timeouts, name)) is not None:
            _number(f"timeouts.{name}", seconds)


def flag(headers: Mapping[str, str], name: str, otherwise: bool | None) -> bool | None:
    """The header, or field of a query, that is true or false; `otherwise` where it is missing.

    Raises:
        InvalidRequest: it is neither.
    """
    value = headers.get(name)
    if value is None:
        return otherwise
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"{name} is {value[:100]!r}; it must be true or false", parameter=name)
    return value.lower() in ("true", "1")


def generation_request(
    fields: Fields,
    options: Options,
    *,
    model: str,
    messages: tuple[Message, ...],
    stream: bool,
    language: str | None = None,
    conversation_id: str | None = None,
) -> GenerationRequest:
    """The request, with what is left in `fields` as it came. Both names of the token limit are taken (row T3)."""
    newer = fields.take("max_completion_tokens", int)
    older = fields.take("max_tokens", int)
    name, limit = ("max_tokens", older) if newer is None else ("max_completion_tokens", newer)
    if limit is not None and limit < 1:
        raise InvalidRequest(f'"{name}" must be at least 1', parameter=name)
    if limit is not None and limit > MOST_TOKENS:
        raise InvalidRequest(f'"{name}" must be at most {MOST_TOKENS}', parameter=name)
    return GenerationRequest(
        model=model,
        messages=messages,
        stream=stream,
        max_tokens=limit,
        fields=fields.rest(),
        language=language,
        conversation_id=conversation_id,
        parent=options.parent,
        timeouts=options.timeouts,
        on_disconnect=options.on_disconnect,
        on_interruption=options.on_interruption,
    )


def reader_options(options: Options, **more: Any) -> ReaderOptions:
    """What one reader wants of the encoding."""
    return ReaderOptions(
        event_ids=options.event_ids,
        pace=options.pace,
        heartbeat_seconds=options.heartbeat_seconds,
        rationale=True if options.rationale is None else options.rationale,
        **more,
    )
