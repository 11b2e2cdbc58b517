"""The `WebSocket` of node, which is a browser's without a browser: lanes, cancelling and coming back, in JavaScript."""

from __future__ import annotations

import json
import shutil
import subprocess

from tests.server.conftest import Process

SCRIPT = """
const [url] = process.argv.slice(1);
const ask = (more) => ({ model: "offline", messages: [{ role: "user", content: "What is an offset?" }], ...more });

function talk(messages, enough) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ["headrace"]);
    const heard = [];
    socket.onopen = () => messages.forEach((message) => socket.send(JSON.stringify(message)));
    socket.onmessage = ({ data }) => {
      heard.push(JSON.parse(data));
      if (enough(heard)) socket.close(1000);
    };
    socket.onclose = ({ code }) => resolve({ heard, code, protocol: socket.protocol });
    socket.onerror = reject;
  });
}

const ended = (heard) => heard.filter((message) => message.choices?.[0].finish_reason);
const whole = await talk([ask()], (heard) => ended(heard).length === 1);
const lanes = await talk([ask({ request_id: "a" }), ask({ request_id: "b" })], (heard) => ended(heard).length === 2);
const begun = await talk([ask()], (heard) => heard.length === 3);
const { stream_id, seq } = begun.heard[2].headrace;
const rest = await talk([{ type: "resume", stream_id, after: seq }], (heard) => ended(heard).length === 1);
console.log(JSON.stringify({ whole, lanes, begun, rest }));
"""


def said(messages: list[dict[str, object]]) -> str:
    return "".join(message["choices"][0]["delta"].get("content", "") for message in messages)  # type: ignore[index]  # JSON


def test_l14_node_talks_in_lanes_and_comes_back(offline: Process) -> None:
    node = shutil.which("node")
    assert node is not None, "node is not installed, and JavaScript is tested in it: apt install nodejs"
    url = f"ws://127.0.0.1:{offline.port}/v1/chat/completions"
    # Since node 22 it is there without being asked for.
    done = subprocess.run(
        [node, "--experimental-websocket", "--no-warnings", "--input-type=module", "-e", SCRIPT, url],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    text = said(told["whole"]["heard"])
    assert "offset" in text
    assert (told["whole"]["code"], told["whole"]["protocol"]) == (1000, "headrace")
    for name in ("a", "b"):
        lane = [message for message in told["lanes"]["heard"] if message["request_id"] == name]
        assert said(lane) == text
    # What came in the moment of leaving is asked for again.
    assert said(told["begun"]["heard"][:3] + told["rest"]["heard"]) == text
