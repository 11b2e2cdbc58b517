"""Reading a question: the short bodies of headrace's own routes, which hold a text and little else.

Pure. What a body may hold beside it is read by `headrace.protocols.reading`, as on every route.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.errors import InvalidRequest
from headrace.protocols.reading import Fields, generation_request, read_messages, read_options, reader_options
from headrace.requests import GenerationRequest, Message, ReaderOptions


def read_question(
    body: bytes, headers: Mapping[str, str], names: tuple[str, ...], *, conversation: str | None = None
) -> tuple[GenerationRequest, ReaderOptions]:
    """The request in `body`, streamed unless it says `"stream": false`. An empty model means: the default.

    Args:
        body: a JSON object.
        headers: of the request, lower-case names to values.
        names: what the question may be called; the first is the name that errors say.
        conversation: the field of a whole conversation, which may stand in place of a question or go before it.

    Raises:
        InvalidRequest: there is no question in it.
    """
    fields = Fields(body)
    asked = read_options(fields, headers)
    question = fields.take_first(names, str)
    messages = () if conversation is None else read_messages(fields, conversation)
    if question is not None and question.strip():
        messages = (*messages, Message("user", question))
    if not messages:
        raise InvalidRequest(f'"{names[0]}" is missing or empty; send {{"{names[0]}": "…"}}', parameter=names[0])
    stream = fields.take("stream", bool)
    request = generation_request(
        fields,
        asked,
        model=fields.take("model", str) or "",
        messages=messages,
        stream=stream is not False,
        language=fields.take("language", str),
        conversation_id=fields.take("conversation_id", str),
    )
    return request, reader_options(asked)
