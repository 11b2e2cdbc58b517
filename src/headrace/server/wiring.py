"""The one place where everything is wired together: settings in, a house out.

Providers are opened for the upstreams of the settings, the offline provider is given its documents, and the store,
the runs and the observers are put around them. Closing the house closes all of it, in reverse.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from headrace.clock import Clock, SystemClock
from headrace.errors import SettingsError
from headrace.interfaces import Observer, Provider, StreamStore
from headrace.keys.database import KeyDatabase
from headrace.keys.keyring import Keyring
from headrace.keys.sessions import Sessions
from headrace.knowledge.index import KnowledgeIndex
from headrace.knowledge.manual import index_manual
from headrace.knowledge.shelves import Shelves
from headrace.observers.request_log import RequestLog
from headrace.providers import PROVIDERS
from headrace.providers.catalogue import SERVICES, completed, service_of
from headrace.providers.offline import OfflineProvider
from headrace.runs import Candidate, Models, Runs, Tokenizer, Upstream
from headrace.server.house import House
from headrace.server.preparing import Preparation
from headrace.server.readers import Readers
from headrace.settings import Settings, StoreSettings, UpstreamSettings
from headrace.streams.byte_log_file import ByteLogFile
from headrace.streams.byte_logs import ByteLogs
from headrace.streams.conversations import Conversations
from headrace.streams.journaled import JournaledStore
from headrace.streams.memory import MemoryStore

OFFLINE = "offline"
"""The name of the built-in upstream, and of its only model."""


@asynccontextmanager
async def open_house(
    settings: Settings, environment: Mapping[str, str], *, keeps_streams: bool = False, keys: Path | None = None
) -> AsyncIterator[House]:
    """The house that these settings describe.

    Args:
        settings: completed with whatever was found (`headrace.server.discovery`).
        environment: where the keys of upstreams are, by the names the settings give.
        keeps_streams: whether streams are kept where the settings say, as a server does; else in memory alone.
        keys: the file of the keys that readers come with, beside those of the settings; `None`: there is none.

    Raises:
        SettingsError: an upstream, a model or the store cannot be what they say.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        conversations = Conversations(_conversations_path(settings.store) if keeps_streams else None)
        stack.push_async_callback(conversations.close)
        if keeps_streams:
            store = open_store(settings.store, clock, conversations)
        else:
            store = _in_memory(settings.store, clock, conversations)
        stack.push_async_callback(store.close)
        shelves = _shelves(settings, clock, stack, keeps_streams=keeps_streams)
        offline = OfflineProvider(shelves.search, add_command="headrace ingest FILE")
        upstreams = {OFFLINE: Upstream(OFFLINE, offline, settings.timeouts)}
        for each in map(completed, settings.upstreams):
            if each.name == OFFLINE:
                continue  # it is there already, and has nothing that could be set
            provider = _provider(each, environment, clock)
            stack.push_async_callback(provider.close)
            upstreams[each.name] = Upstream.limited(
                each.name, provider, each.timeouts.over(settings.timeouts), each.max_concurrent, each.prefill
            )
            upstreams[each.name].least_per_second = each.min_characters_per_second
            upstreams[each.name].may_go_on = service_of(each).may_go_on
        log = RequestLog(asyncio.get_running_loop())
        stack.callback(log.flush)
        observers: tuple[Observer, ...] = (log,)
        keyring = None
        if settings.server.auth:
            database = None if keys is None else KeyDatabase(keys)
            keyring = Keyring(settings.keys, database, clock)
            stack.callback(keyring.close)
            observers = (log, keyring)
        runs = Runs(
            store,
            Models(upstreams, _named(settings, upstreams), _missing_keys(upstreams, environment)),
            clock,
            observers=observers,
            most=settings.server.max_streams,
        )
        preparation = Preparation(store, runs.models, settings.assistants)
        runs.open()
        if isinstance(store, JournaledStore):
            runs.take_up(store.unfinished, preparation.middleware)
        stack.push_async_callback(runs.close)
        byte_logs = ByteLogs(
            clock,
            log_limit_bytes=settings.store.byte_log_limit_bytes,
            limit_bytes=settings.store.byte_logs_limit_bytes,
            most=settings.store.max_byte_logs,
            file=_byte_log_file(settings.store) if keeps_streams and settings.store.kind == "sqlite" else None,
        )
        stack.push_async_callback(byte_logs.close)
        readers = Readers(most=settings.server.max_readers, most_per_stream=settings.server.max_readers_per_stream)
        sessions = None if keyring is None else Sessions(clock)
        yield House(
            settings,
            clock,
            store,
            conversations,
            runs,
            preparation,
            log,
            byte_logs,
            readers,
            shelves,
            keyring,
            sessions,
        )


def open_store(settings: StoreSettings, clock: Clock, conversations: Conversations | None = None) -> StreamStore:
    """The store that these settings describe, which tells `conversations`. Needs a running event loop; close it.

    Raises:
        SettingsError: its file cannot be used, or another process uses it.
    """
    if settings.kind == "memory":
        return _in_memory(settings, clock, conversations)
    return JournaledStore(
        clock,
        store_path(settings),
        settings.retention_hours * 3600,
        durability=settings.durability,
        retained_bytes=settings.retention_megabytes << 20,
        conversations=conversations,
    )


def store_path(settings: StoreSettings) -> Path:
    """The file of the `sqlite` store."""
    if settings.path is not None:
        return Path(settings.path).expanduser()
    from platformdirs import user_data_path

    return user_data_path("headrace") / "headrace.db"


def _conversations_path(settings: StoreSettings) -> Path | None:
    """The file of titles and words, beside that of the `sqlite` store; `None`: they are kept in memory, as streams."""
    if settings.kind == "memory":
        return None
    path = store_path(settings).resolve()  # as the store does: one file under two names is one
    return path.with_name(path.name + ".conversations")


def _byte_log_file(settings: StoreSettings) -> ByteLogFile:
    """Beside the store's own file, whose lock holds for both."""
    path = store_path(settings)
    return ByteLogFile(path.with_name(f"{path.stem}-byte-logs{path.suffix or '.db'}"), settings.durability)


def _in_memory(settings: StoreSettings, clock: Clock, conversations: Conversations | None) -> MemoryStore:
    return MemoryStore(
        clock,
        settings.retention_hours * 3600,
        stream_limit_bytes=settings.stream_limit_megabytes << 20,
        conversations=conversations,
    )


def _shelves(settings: Settings, clock: Clock, stack: AsyncExitStack, *, keeps_streams: bool) -> Shelves:
    """The manual for everybody, and beside it, where streams are kept, a folder with the documents of each owner."""
    index = KnowledgeIndex.open()
    stack.callback(index.close)
    index_manual(index)
    folder = None
    if keeps_streams and settings.store.kind == "sqlite":
        path = store_path(settings.store)
        folder = path.with_name(f"{path.stem}-documents")
    shelves = Shelves(index, folder, clock, most=settings.documents.max_per_owner)
    stack.push_async_callback(shelves.close)
    return shelves


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
            candidates.append(
                Candidate(
                    upstreams[upstream],
                    name,
                    tokenizer,
                    model.on_interruption,
                    model.continue_prompt,
                    model.hedge,
                    model.context_tokens,
                )
            )
        if not candidates:
            raise SettingsError(
                f'model {model.name!r} has no upstreams: give it some, as ["groq/llama-3.1-8b-instant"]'
            )
        named[model.name] = candidates
    named.setdefault(OFFLINE, [Candidate(upstreams[OFFLINE], OFFLINE)])
    return named
