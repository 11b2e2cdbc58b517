"""The one place where everything is wired together: settings in, a house out.

Providers are opened for the upstreams of the settings, the offline provider is given its documents, and the store,
the runs and the observers are put around them. Closing the house closes all of it, in reverse.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from headrace.clock import Clock, SystemClock
from headrace.errors import SettingsError
from headrace.interfaces import Provider
from headrace.knowledge.index import KnowledgeIndex
from headrace.knowledge.manual import index_manual
from headrace.observers.request_log import RequestLog
from headrace.providers import PROVIDERS
from headrace.providers.catalogue import SERVICES, completed
from headrace.providers.offline import OfflineProvider
from headrace.runs import Candidate, Models, Runs, Tokenizer, Upstream
from headrace.server.house import House
from headrace.settings import Settings, UpstreamSettings
from headrace.streams.memory import MemoryStore

OFFLINE = "offline"
"""The name of the built-in upstream, and of its only model."""


@asynccontextmanager
async def open_house(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[House]:
    """The house that these settings describe.

    Args:
        settings: completed with whatever was found (`headrace.server.discovery`).
        environment: where the keys are, by the names the settings give.

    Raises:
        SettingsError: an upstream or a model cannot be what they say.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        upstreams = {OFFLINE: Upstream(OFFLINE, _offline(stack), settings.timeouts)}
        for each in map(completed, settings.upstreams):
            if each.name == OFFLINE:
                continue  # it is there already, and has nothing that could be set
            provider = _provider(each, environment, clock)
            stack.push_async_callback(provider.close)
            upstreams[each.name] = Upstream.limited(
                each.name, provider, each.timeouts.over(settings.timeouts), each.max_concurrent
            )
        log = RequestLog(asyncio.get_running_loop())
        stack.callback(log.flush)
        store = MemoryStore(clock, settings.store.retention_hours * 3600)
        runs = Runs(
            store,
            Models(upstreams, _named(settings, upstreams), _missing_keys(upstreams, environment)),
            clock,
            observers=(log,),
            most=settings.server.max_streams,
        )
        runs.open()
        stack.push_async_callback(runs.close)
        yield House(settings, clock, store, runs, log)


def _offline(stack: AsyncExitStack) -> OfflineProvider:
    index = KnowledgeIndex.open()
    stack.callback(index.close)
    index_manual(index)
    return OfflineProvider(index.search)


def _provider(settings: UpstreamSettings, environment: Mapping[str, str], clock: Clock) -> Provider:
    opener = PROVIDERS.get(settings.provider)
    if opener is None:
        known = ", ".join((*PROVIDERS, OFFLINE))
        raise SettingsError(f"upstream {settings.name!r}: no provider {settings.provider!r}. There are: {known}")
    key = None if settings.api_key_env is None else environment.get(settings.api_key_env, "").strip()
    return opener(settings, key or None, clock)


def _missing_keys(upstreams: Mapping[str, Upstream], environment: Mapping[str, str]) -> dict[str, str]:
    """The services that are no upstreams since their key is not set, each with the variable of the key."""
    return {
        service.name: service.api_key_env
        for service in SERVICES
        if service.key_required and service.api_key_env is not None and service.name not in upstreams
        if not environment.get(service.api_key_env, "").strip()
    }


def _named(settings: Settings, upstreams: Mapping[str, Upstream]) -> dict[str, list[Candidate]]:
    """The models of the settings in their order, then `offline`, which is the default where there are none."""
    named: dict[str, list[Candidate]] = {}
    tokenizers: dict[str, Tokenizer] = {}
    for model in settings.models:
        if model.tokenizer is not None and model.tokenizer not in tokenizers:
            tokenizers[model.tokenizer] = Tokenizer.open(model.tokenizer, model.name)
        tokenizer = None if model.tokenizer is None else tokenizers[model.tokenizer]
        candidates = []
        for target in model.upstreams:
            upstream, _, name = target.partition("/")
            if upstream not in upstreams:
                known = ", ".join(upstreams)
                raise SettingsError(f"model {model.name!r}: no upstream {upstream!r}. There are: {known}")
            candidates.append(Candidate(upstreams[upstream], name, tokenizer))
        if not candidates:
            raise SettingsError(
                f'model {model.name!r} has no upstreams: give it some, as ["groq/llama-3.1-8b-instant"]'
            )
        named[model.name] = candidates
    named.setdefault(OFFLINE, [Candidate(upstreams[OFFLINE], OFFLINE)])
    return named
