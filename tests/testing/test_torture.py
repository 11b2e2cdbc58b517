"""Row T5, L54: headrace under torture, and that the torture would notice if it failed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import openai
import pytest

from headrace.cli.local_server import local_server
from headrace.cli.torture import OWN_TIMEOUTS, UPSTREAM, text
from headrace.requests import Timeouts
from headrace.settings import UpstreamSettings
from headrace.testing.torture.cases import Case
from headrace.testing.torture.faults import FAULTS
from headrace.testing.torture.judging import NEVER
from headrace.testing.torture.performing import Findings, Gateway, NotTortured, Torture
from headrace.testing.waiting import until

pytestmark = pytest.mark.anyio

# Rows in which the upstream fails before anything was said, and is well when it is asked again.
AGAIN = [
    name
    for name, fault in FAULTS.items()
    if fault.whole == "must"
    and name.startswith(
        ("status_", "reset_", "close_", "empty_stream", "error_", "role_", "whole_cut", "whole_reset", "whole_error")
    )
]


@asynccontextmanager
async def headrace_for(
    torture: Torture, *, transport: Literal["headrace", "httpx2"] = "headrace"
) -> AsyncIterator[Gateway]:
    """A headrace whose upstream is the one of this torture."""
    upstream = UpstreamSettings(
        UPSTREAM, base_url=torture.upstream.base_url, timeouts=Timeouts(**OWN_TIMEOUTS), transport=transport
    )
    async with local_server(upstream) as url:
        yield Gateway(f"{url}/v1", f"{UPSTREAM}/torture")


@asynccontextmanager
async def passing_on(torture: Torture) -> AsyncIterator[Gateway]:
    """A gateway that passes bytes on as they are, both ways, and knows nothing of what they mean."""

    async def pump(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        try:
            while data := await incoming.read(65536):
                outgoing.write(data)
        except ConnectionError:
            pass  # that is passed on as well, below
        finally:
            outgoing.close()

    async def serve(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", torture.upstream.port)
        except OSError:
            outgoing.close()
            return
        await asyncio.gather(pump(incoming, there[1]), pump(there[0], outgoing))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "any", timeout_seconds=1.0)


async def torture_headrace(*, seed: int, count: int, concurrency: int = 24) -> Findings:
    async with Torture(seed=seed, count=count) as torture, headrace_for(torture) as gateway:
        return await torture.perform(gateway, concurrency=concurrency)


def check(findings: Findings, count: int) -> None:
    """Nothing that is never allowed, and all but one in a thousand of what can be completed is."""
    assert len(findings.results) == count
    wrong = [result for result in findings.results if result.verdict in NEVER]
    assert not wrong, wrong
    short = [result for result in findings.results if result.whole == "must" and result.verdict != "ok"]
    assert findings.completable > count / 2
    assert len(short) <= findings.completable / 1000, short
    refused = [result for result in findings.results if result.whole == "cannot"]
    assert {result.verdict for result in refused} == {"explicit error"}


async def test_t5_five_hundred_faults_lose_double_reorder_and_hide_nothing() -> None:
    findings = await torture_headrace(seed=20261121, count=500)
    check(findings, 500)
    assert findings.usage_right == findings.completed, "and every usage is the one that the upstream reported"
    by_fault = defaultdict(set)
    for result in findings.results:
        by_fault[result.fault].add(result.attempts)
    assert by_fault.keys() == FAULTS.keys()
    # Each fault was really met: what can be cured by asking again was asked again, what is well was asked once.
    assert len(AGAIN) >= 19
    for fault in AGAIN:
        wanted = {1} if FAULTS[fault].door == "resetting" else {2}
        assert by_fault[fault] == wanted, fault
    assert by_fault["connection_refused"] == {0}
    assert by_fault["status_400"] == by_fault["crlf"] == by_fault["one_byte_writes"] == {1}


async def test_t5_every_fault_is_met_as_well_through_the_other_transport() -> None:
    async with Torture(seed=6, count=len(FAULTS)) as torture, headrace_for(torture, transport="httpx2") as gateway:
        check(await torture.perform(gateway, concurrency=24), len(FAULTS))


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_t5_five_thousand_faults_lose_double_reorder_and_hide_nothing() -> None:
    findings = await torture_headrace(seed=1, count=5000, concurrency=32)
    print(text(findings))
    check(findings, 5000)


# -- that it would notice


async def test_l54_a_gateway_that_passes_everything_on_is_found_out() -> None:
    async with Torture(seed=3, count=len(FAULTS)) as torture, passing_on(torture) as gateway:
        findings = await torture.perform(gateway, concurrency=16)
    verdicts = {result.fault: result.verdict for result in findings.results}
    assert verdicts["well"] == verdicts["cr"] == verdicts["cut_characters"] == verdicts["calls_odd_index"] == "ok"
    assert verdicts["eof_in_the_middle"] == verdicts["done_in_the_middle"] == "silent truncation"
    assert verdicts["role_then_done"] == verdicts["empty_stream"] == verdicts["calls_cut"] == "silent truncation"
    assert verdicts["malformed_in_the_middle"] == verdicts["whole_cut_json"] == "corrupt"
    assert verdicts["stall_in_the_middle"] == verdicts["silence"] == verdicts["first_token_stall"] == "hang"
    assert verdicts["reset_in_the_middle"] == verdicts["status_500"] == "explicit error"
    assert findings.never_allowed > 10
    assert findings.completed < findings.completable
    table = text(findings)
    assert "!! eof_in_the_middle          1 silent truncation" in table
    assert " * 429" in table


async def test_the_same_seed_gives_the_same_verdicts() -> None:
    found = []
    for _ in range(2):
        some = ["eof_in_the_middle", "crlf", "halves"]
        async with Torture(seed=4, count=60, only=some) as torture, passing_on(torture) as gateway:
            findings = await torture.perform(gateway)
        found.append([(result.number, result.fault, result.verdict) for result in findings.results])
    assert found[0] == found[1]


async def test_a_gateway_that_leads_elsewhere_is_not_judged() -> None:
    async with Torture(seed=1, count=5) as torture, headrace_for(torture) as gateway:
        with pytest.raises(NotTortured, match="HTTP 404; the upstream was never asked") as caught:
            await torture.perform(Gateway(gateway.url, "nowhere"))
        assert not caught.value.unreachable
    async with Torture(seed=1, count=5) as torture:
        with pytest.raises(NotTortured) as caught:
            await torture.perform(Gateway("http://127.0.0.1:1/v1", "any"))
        assert caught.value.unreachable


async def test_a_gateway_that_leaves_closes_what_it_left() -> None:
    async with Torture(seed=1, count=2, only=["stall_in_the_middle"]) as torture, headrace_for(torture) as gateway:
        await torture.perform(gateway)
        await until(lambda: torture.upstream.active <= 1)


# -- another judge

JUDGED_BY_THE_SDK = [
    "well",
    "crlf",
    "one_byte_writes",
    "halves",
    "usage_on_finish",
    "calls_odd_index",
    "role_then_error",
    "whole_cut_chunk",
    "status_503_empty",
    "error_in_the_middle",
    "eof_in_the_middle",
    "done_in_the_middle",
    "half_event",
    "calls_cut",
    "whole_without_reason",
    "status_400",
]


async def test_the_official_sdk_sees_what_the_judge_saw() -> None:
    only = JUDGED_BY_THE_SDK
    async with Torture(seed=8, count=len(only), only=only) as torture, headrace_for(torture) as gateway:
        judged = {result.number: result.verdict for result in (await torture.perform(gateway)).results}
        assert {judged[case.number] for case in torture.cases} == {"ok", "explicit error"}
    # Once more, from the start: an upstream that was asked before would be well now.
    async with (
        Torture(seed=8, count=len(only), only=only) as torture,
        headrace_for(torture) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        for case in torture.cases:
            said, reason, error = await heard_by_the_sdk(client, gateway.model, case)
            whole = {channel: "".join(pieces) for channel, pieces in case.said.items()}
            if judged[case.number] == "ok":
                assert error is None, case.fault
                assert said == whole, case.fault
                assert reason == case.finish_reason, case.fault
            else:
                assert error is not None, case.fault
                assert reason is None, case.fault
                assert all(whole[channel].startswith(text) for channel, text in said.items()), case.fault


async def heard_by_the_sdk(
    client: openai.AsyncOpenAI, model: str, case: Case
) -> tuple[dict[str, str], str | None, openai.OpenAIError | None]:
    """What was said, the finish reason, and the error that was raised."""
    said: dict[str, str] = defaultdict(str)
    reason: str | None = None
    error: openai.OpenAIError | None = None
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": case.question}]
    try:
        if case.stream:
            stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
            async for chunk in stream:
                for choice in chunk.choices:
                    said["text"] += choice.delta.content or ""
                    for call in choice.delta.tool_calls or ():
                        assert call.function is not None
                        said[f"call {call.index}"] += call.function.arguments or ""
                    reason = choice.finish_reason or reason
        else:
            answer = await client.chat.completions.create(model=model, messages=messages)
            said["text"] = answer.choices[0].message.content or ""
            reason = answer.choices[0].finish_reason
    except openai.OpenAIError as raised:
        error = raised
    return {channel: text for channel, text in said.items() if text}, reason, error
