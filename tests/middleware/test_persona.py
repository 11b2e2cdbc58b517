"""An assistant's instructions and language, as a system message before everything else (D1, T10)."""

import pytest

from headrace.middleware.persona import Persona
from headrace.requests import GenerationRequest, Message

pytestmark = pytest.mark.anyio

HISTORY = (Message("system", "Own words."), Message("user", "Bread?"))


@pytest.mark.parametrize(
    ("instructions", "language", "said"),
    [
        ("Be short.", None, "Be short."),
        (None, "de", "Answer in the language with the code 'de'."),
        ("Be short.", "zh-Hant", "Be short.\n\nAnswer in the language with the code 'zh-Hant'."),
    ],
)
async def test_t10_instructions_and_language_come_first(
    instructions: str | None, language: str | None, said: str
) -> None:
    request = GenerationRequest("fast", HISTORY, language=language, stream=True)
    prepared = await Persona(instructions).prepare(request, "ann", lambda notice: None)
    assert prepared.messages == (Message("system", said), *HISTORY)
    assert (prepared.model, prepared.language, prepared.stream) == ("fast", language, True)


@pytest.mark.parametrize("instructions", [None, ""])
async def test_without_either_the_request_is_left_as_it_is(instructions: str | None) -> None:
    request = GenerationRequest("fast", HISTORY)
    assert await Persona(instructions).prepare(request, "ann", lambda notice: None) is request
