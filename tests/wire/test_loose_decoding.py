"""What upstreams send is read loosely where it must be, and whatever cannot be read at all is a `ValueError`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace.wire import ollama, openai_chat

Decode = Callable[[bytes], object]

DECODERS: dict[str, Decode] = {"openai_chat": openai_chat.decode, "ollama": ollama.decode}
every_decoder = pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)


@every_decoder
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"?",
        b"{",
        b"[]",
        b"7",
        b"{}{}",
        b"\xff",
        b'{"x":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"error":' + b'{"a":' * 100_000,
        b'{"\xff":' + b"[" * 100_000,
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_what_cannot_be_read_is_a_value_error_and_nothing_else(decode: Decode, payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        decode(payload)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"plain", "plain"),
        ("天😀".encode(), "天😀"),
        (b"a\xffb", "a\ufffdb"),
        (b"\xe5\xa4", "\ufffd"),
        (rb"\ud83d", "\ud83d"),
        (rb"\ud83d\ude00", "😀"),
    ],
)
def test_broken_text_is_read_as_far_as_it_goes(written: bytes, read: str) -> None:
    chunk = openai_chat.decode(b'{"choices":[{"delta":{"content":"' + written + b'"}}]}')
    assert chunk.choices is not None
    assert chunk.choices[0].delta == {"content": read}
    line = ollama.decode(b'{"message":{"content":"' + written + b'"}}')
    assert line.message is not None
    assert line.message.content == read


@pytest.mark.parametrize("beside", ["usage", "x_groq", "object", "type", "message", "code"])
@pytest.mark.parametrize("value", [b"7", b'"text"', b"[1]", b"null", b"{}", b"1.5"])
def test_a_chunk_is_read_whatever_stands_beside_its_text(beside: str, value: bytes) -> None:
    chunk = openai_chat.decode(b'{"choices":[{"delta":{"content":"a"}}],"%b":%b}' % (beside.encode(), value))
    assert chunk.choices is not None
    assert chunk.choices[0].delta == {"content": "a"}
    assert not chunk.said_error()
    assert chunk.said_usage() in (None, openai_chat.ChunkUsage())
