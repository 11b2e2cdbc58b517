"""What is there without any settings: keys in the environment, and an Ollama on this machine.

Keys are named, never shown, and their upstreams are not called until somebody asks them something. The only thing that
is called is Ollama on loopback, for 200 ms at most. A found upstream never replaces one of the settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from headrace.errors import UpstreamKeyMissing
from headrace.providers.catalogue import SERVICES, completed, service_named
from headrace.settings import Settings, UpstreamSettings
from headrace.settings.exposure import is_loopback

PROBE_SECONDS = 0.2
PROBE_LIMIT_BYTES = 4 * 1024 * 1024

Address: TypeAlias = tuple[str, int]

# Of the services whose key is not set, those that the start screen names all the same: what most people have.
_NAMED_WITHOUT_KEY = ("groq", "openai")


class Found(msgspec.Struct, frozen=True):
    """One line of the start screen."""

    name: str
    where: str
    state: str


class Discovery(msgspec.Struct, frozen=True):
    """What was found."""

    settings: Settings
    """The settings, with the upstreams that were found added behind their own."""
    rows: tuple[Found, ...]


async def discover(settings: Settings, environment: Mapping[str, str]) -> Discovery:
    """What there is besides `settings`. Takes 200 ms at most.

    Raises:
        SettingsError: an upstream of the settings lacks what nobody else can know.
    """
    upstreams = [completed(upstream) for upstream in settings.upstreams]
    taken = {upstream.name for upstream in upstreams}
    rows = [Found("offline", "built in", "ready")]
    rows += [_configured(upstream, environment) for upstream in upstreams if upstream.name != "offline"]

    ollama = None if "ollama" in taken else ollama_address(environment)
    models = None if ollama is None else await ollama_models(ollama)
    if ollama is not None and models is not None:
        base_url = f"http://{_authority(ollama)}"
        upstreams.append(completed(UpstreamSettings(name="ollama", base_url=base_url, timeouts=settings.timeouts)))
        count = f"{models} model{'' if models == 1 else 's'}" if models else "no models yet"
        rows.append(Found("ollama", _authority(ollama), f"found, {count}"))

    for service in SERVICES:
        if service.api_key_env is None or service.name in taken:
            continue
        if environment.get(service.api_key_env, "").strip():
            upstreams.append(completed(UpstreamSettings(name=service.name, timeouts=settings.timeouts)))
            rows.append(Found(service.name, f"{service.api_key_env} set", "not called until used"))
        elif service.name in _NAMED_WITHOUT_KEY:
            rows.append(
                Found(service.name, f"{service.api_key_env} not set", f"set it, or: headrace keys set {service.name}")
            )
    return Discovery(msgspec.structs.replace(settings, upstreams=tuple(upstreams)), tuple(rows))


def missing_key(model: str, settings: Settings, environment: Mapping[str, str]) -> UpstreamKeyMissing | None:
    """The error that asking for `model` comes to, where its upstream wants a key that is not set; else `None`.

    Only for `upstream/model` and for models whose upstreams all lack their keys: where one has it, that one answers.
    """
    named = next((each.upstreams for each in settings.models if each.name == model), (model,))
    missing: list[UpstreamKeyMissing] = []
    for target in named:
        name, slash, _ = target.partition("/")
        variable = _key_variable(name, settings) if slash else None
        if variable is None or environment.get(variable, "").strip():
            return None
        missing.append(UpstreamKeyMissing.naming(variable, upstream=name))
    return missing[0] if missing else None


def _key_variable(name: str, settings: Settings) -> str | None:
    for upstream in settings.upstreams:
        if upstream.name == name:
            return upstream.api_key_env
    service = service_named(name)
    return None if service is None else service.api_key_env


def _configured(upstream: UpstreamSettings, environment: Mapping[str, str]) -> Found:
    where = upstream.provider if upstream.base_url is None else urlsplit(upstream.base_url).netloc
    variable = upstream.api_key_env
    if variable is not None and not environment.get(variable, "").strip():
        return Found(upstream.name, where, f"{variable} not set")
    return Found(upstream.name, where, "not called until used")


def ollama_address(environment: Mapping[str, str]) -> Address | None:
    """Where Ollama would be on this machine: `OLLAMA_HOST` as Ollama itself reads it, else its usual port.

    `None`: it says another machine, which is not called unasked.
    """
    said = environment.get("OLLAMA_HOST", "").strip() or "127.0.0.1:11434"
    try:
        parts = urlsplit(said if "//" in said else f"//{said}")
        host, port = parts.hostname or "127.0.0.1", parts.port or 11434
    except ValueError:
        return None
    # What Ollama listens on, where it listens everywhere, is reached on loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return (host, port) if is_loopback(host) else None


class _Tags(msgspec.Struct):
    models: list[msgspec.Raw] | None = None


async def ollama_models(address: Address) -> int | None:
    """How many models the Ollama at `address` has; `None` where none answers in time."""
    body = await get_loopback(address, "/api/tags")
    try:
        return None if body is None else len(msgspec.json.decode(body, type=_Tags).models or ())
    except (ValueError, RecursionError):
        return None  # something answers there, but not Ollama


async def get_loopback(address: Address, path: str, *, seconds: float = PROBE_SECONDS) -> bytes | None:
    """The body of a 200 answer to `GET path`, or `None`. Only for loopback, where a proxy has no business.

    HTTP/1.0, so that the answer ends where the connection does.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {_authority(address)}\r\n\r\n".encode("ascii"))
                answer = await _read_all(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None  # nobody is there, or nobody who answers: what is not found is not an error
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)
    return body if len(status) > 1 and status[0].startswith(b"HTTP/1.") and status[1] == b"200" else None


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    """Until the connection ends, or says by its length that it is complete: some servers keep it open regardless."""
    data = b""
    while len(data) < PROBE_LIMIT_BYTES and (piece := await reader.read(65536)):
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n") if end else ():
            name, _, value = line.partition(b":")
            if name == b"content-length" and value.strip().isdigit() and len(body) >= int(value):
                return data
    return data


def _authority(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
