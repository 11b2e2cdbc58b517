"""The clients that the source documents show, each in a process of its own: `curl -N`, Python `requests`, and `fetch`.

Each says every event that it reads as a line of JSON, the moment it has it: the data of a server-sent event, a line of
NDJSON, or a piece of text. Written as those documents write them, without anything of headrace.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator

from tests.server.conftest import DEADLINE_SECONDS

NODE = shutil.which("node") or "node is not installed. Debian: apt-get install nodejs"

# The reading loop of a page: undici's fetch in node is the same code.
_FETCH = """
const [url, body, kind] = process.argv.slice(1);
const response = await fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body});
if (!response.ok) throw new Error(`HTTP ${response.status}`);
const reader = response.body.getReader();
const decoder = new TextDecoder();
const tell = (data) => process.stdout.write(JSON.stringify(data) + "\\n");
let buffer = "";
while (true) {
  const {done, value} = await reader.read();
  if (done) break;
  buffer += decoder.decode(value, {stream: true});
  if (kind === "text") { tell(buffer); buffer = ""; continue; }
  const parts = buffer.split(kind === "sse" ? "\\n\\n" : "\\n");
  buffer = parts.pop();
  for (const part of parts) {
    if (kind === "ndjson") { tell(part); continue; }
    const lines = part.split("\\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
    if (lines.length) tell(lines.join("\\n"));
  }
}
"""

_REQUESTS = """
import codecs, json, sys
import requests

url, body, kind = sys.argv[1:]
tell = lambda data: print(json.dumps(data), flush=True)
with requests.post(url, json=json.loads(body), stream=True, timeout=20) as response:
    response.raise_for_status()
    if kind == "text":
        decoder = codecs.getincrementaldecoder("utf-8")()
        for piece in response.iter_content(chunk_size=None):
            tell(decoder.decode(piece))
    data = []
    for line in response.iter_lines() if kind != "text" else ():
        if kind == "ndjson":
            tell(line.decode())
        elif line.startswith(b"data: "):
            data.append(line[6:].decode())
        elif not line and data:
            tell("\\n".join(data))
            data = []
"""

CLIENTS = ("curl", "requests", "fetch")


async def events(client: str, url: str, body: object, kind: str) -> AsyncIterator[str]:
    """What the client reads, event by event; at the end it has gone with exit code 0.

    Args:
        client: one of `CLIENTS`.
        url: where the request goes.
        body: its JSON.
        kind: `sse`, `ndjson` or `text`.
    """
    asked = json.dumps(body)
    command = {
        "curl": ["curl", "-sSfN", url, "-H", "Content-Type: application/json", "-d", asked],
        "requests": [sys.executable, "-c", _REQUESTS, url, asked, kind],
        "fetch": [NODE, "--input-type=module", "-e", _FETCH, url, asked, kind],
    }[client]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            if client == "curl":
                async for data in _of_curl(process.stdout, kind):
                    yield data
            else:
                async for line in process.stdout:
                    yield str(json.loads(line))
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _of_curl(output: asyncio.StreamReader, kind: str) -> AsyncIterator[str]:
    data: list[str] = []
    while kind == "text" and (piece := await output.read(4096)):
        yield piece.decode()
    async for line in output:
        text = line.decode().removesuffix("\n")
        if kind == "ndjson":
            yield text
        elif text.startswith("data: "):
            data.append(text[6:])
        elif not text and data:
            yield "\n".join(data)
            data = []
