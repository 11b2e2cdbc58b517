"""A model entry named `*` catches every name that nothing else has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.server.conftest import Place, serving
from tests.server.reader import asking, chat

from headrace.settings import ModelSettings, Settings, StoreSettings, UpstreamSettings
from headrace.testing.upstream import Exchange, ScriptedUpstream, answer

pytestmark = pytest.mark.anyio


async def speak(exchange: Exchange) -> None:
    await answer(exchange, ["One"])


@pytest.fixture
async def caught() -> AsyncIterator[tuple[Place, ScriptedUpstream]]:
    """A server with one name of its own, all others caught, and the upstream behind both."""
    async with ScriptedUpstream(speak) as upstream:
        settings = Settings(
            store=StoreSettings(kind="memory"),
            upstreams=(UpstreamSettings("lab", base_url=upstream.base_url),),
            models=(ModelSettings("fast", ("lab/small",)), ModelSettings("*", ("lab/*",))),
        )
        async with serving(settings) as place:
            yield place, upstream


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("fast", "small"),
        ("gpt-4o", "gpt-4o"),
        ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-chat-hf"),
        ("lab/large", "large"),
    ],
)
async def test_i1_a_name_that_nothing_else_has_goes_to_the_upstream_of_the_star(
    caught: tuple[Place, ScriptedUpstream], asked: str, sent: str
) -> None:
    place, upstream = caught
    async with asking(place.port, "POST", "/v1/chat/completions", chat(model=asked)) as reader:
        assert reader.status == 200
        assert f'"model":"{asked}"'.encode() in await reader.body()
    assert [exchange.json()["model"] for exchange in upstream.exchanges] == [sent]


async def test_the_star_itself_is_no_model_that_is_listed(caught: tuple[Place, ScriptedUpstream]) -> None:
    place, _ = caught
    async with asking(place.port, "GET", "/v1/models") as reader:
        assert [model["id"] for model in (await reader.json())["data"]] == ["fast", "offline"]
