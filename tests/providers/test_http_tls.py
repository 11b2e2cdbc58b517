"""TLS to an upstream: certificates are verified, and a refusal says what to do. The certificates are made here."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from headrace.errors import UpstreamUnreachable
from headrace.providers.transport import Transport
from headrace.testing.upstream import Exchange, ScriptedUpstream
from headrace.testing.waiting import until
from headrace.timing import Marks

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="the certificates are made with openssl"),
]

Opened = Callable[..., AbstractAsyncContextManager[Transport]]

EXTENSIONS = (
    "basicConstraints=critical,CA:TRUE",
    "keyUsage=critical,digitalSignature,keyCertSign",
    "extendedKeyUsage=serverAuth",
)


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate for this name that signed itself, in one file."""
    path = folder / f"{name}.pem"
    alternative = f"IP:{name}" if name[0].isdigit() else f"DNS:{name}"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-keyout", str(path), "-out", str(path) + ".crt"]
    for extension in (*EXTENSIONS, f"subjectAltName={alternative}"):
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    with path.open("a") as file:
        file.write(Path(str(path) + ".crt").read_text())
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Certificates for loopback and for somebody else."""
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name) for name in ("127.0.0.1", "elsewhere.example")}


def served_with(path: Path) -> ssl.SSLContext:
    """The server's side with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def answer(exchange: Exchange) -> None:
    await exchange.whole(b"{}")


async def heard(transport: Transport) -> bytes:
    pieces: list[bytes] = []
    response = await transport.send("GET", "/models", b"", Marks(0))

    def hear(arrived: object) -> bool:
        assert isinstance(arrived, list | tuple)
        pieces.extend(arrived)
        return False

    await response.listen(hear)
    await response.close()
    return b"".join(pieces)


async def test_a_certificate_that_is_trusted_is_taken(
    certificates: dict[str, Path], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["127.0.0.1"]))
    async with ScriptedUpstream(answer, tls=served_with(certificates["127.0.0.1"])) as upstream:
        async with opened(upstream.base_url) as transport:
            assert await heard(transport) == b"{}"
            assert await heard(transport) == b"{}"
        assert upstream.accepted == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_says_what_to_do(
    certificates: dict[str, Path], opened: Opened, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with ScriptedUpstream(answer, tls=served_with(certificates["127.0.0.1"])) as upstream:
        async with opened(upstream.base_url) as transport:
            with pytest.raises(UpstreamUnreachable) as refused:
                await heard(transport)
        assert not upstream.exchanges
    message = refused.value.message
    assert "larch" in message
    assert "certificate" in message
    assert "Bearer" not in message
    if kind == "headrace":
        assert f"larch at 127.0.0.1:{upstream.port}" in message
        assert "self-signed" in message or "self signed" in message
        assert "SSL_CERT_FILE" in message
        assert "Is it running" not in message


async def test_a_certificate_of_somebody_else_is_refused(
    certificates: dict[str, Path], opened: Opened, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["elsewhere.example"]))
    async with ScriptedUpstream(answer, tls=served_with(certificates["elsewhere.example"])) as upstream:
        async with opened(upstream.base_url) as transport:
            with pytest.raises(UpstreamUnreachable, match="larch") as refused:
                await heard(transport)
        assert not upstream.exchanges
    if kind == "headrace":
        assert "127.0.0.1" in refused.value.message
        assert "certificate" in refused.value.message


async def test_a_certificate_is_held_against_the_name_in_the_settings(
    certificates: dict[str, Path], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["127.0.0.1"]))
    async with ScriptedUpstream(answer, tls=served_with(certificates["127.0.0.1"])) as upstream:
        async with opened(f"https://localhost:{upstream.port}/v1") as transport:
            with pytest.raises(UpstreamUnreachable):
                await heard(transport)
        assert not upstream.exchanges


async def test_an_upstream_that_speaks_no_tls_is_unreachable(opened: Opened, kind: str) -> None:
    async def not_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(not_tls, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(f"https://127.0.0.1:{port}/v1") as transport:
            with pytest.raises(UpstreamUnreachable, match="larch") as refused:
                await heard(transport)
    if kind == "headrace":
        assert "http://" in refused.value.message


async def test_cancelling_closes_a_connection_with_tls(
    certificates: dict[str, Path], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["127.0.0.1"]))

    async def silent(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"a")
        await exchange.left()

    tls = served_with(certificates["127.0.0.1"])
    async with ScriptedUpstream(silent, tls=tls) as upstream, opened(upstream.base_url) as transport:
        task = asyncio.ensure_future(heard(transport))
        await until(lambda: upstream.exchanges)
        task.cancel()
        async with asyncio.timeout(0.1):
            with pytest.raises(asyncio.CancelledError):
                await task
            await upstream.emptied()
