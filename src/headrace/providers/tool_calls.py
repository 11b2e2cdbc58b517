"""The tool calls of one choice, put together from pieces that upstreams number well, badly or not at all (L37).

Pure. A piece belongs to a call by its id, else by its index, else by its position:

    id          index       name    the piece …
    ─────────   ─────────   ─────   ─────────────────────────────────────────────────────────────
    known       any         any     goes on with the call of that id
    new         known       no      goes on with the call of that index: some make up an id for each piece
    new         any         any     begins a call
    none        known       any     goes on with the call of that index
    none        new         any     begins a call
    none        none        yes     begins a call, unless the call it would go on with has no name yet
    none        none        no      goes on: alone with the last call, in a list with the call of its place

What is said of a call waits until its name is known. May import floors 0 to 2.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.events import ToolCallDelta
from headrace.wire import json_text


class _Call:
    __slots__ = ("arguments", "id", "index", "name", "told")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []
        self.told = False


class ToolCalls:
    """Collects the calls of one choice."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}

    def hear(self, pieces: list[Any]) -> list[ToolCallDelta]:
        """What the pieces of one chunk add."""
        deltas = []
        for position, piece in enumerate(pieces):
            if isinstance(piece, dict) and (delta := self._hear(piece, position, len(pieces))) is not None:
                deltas.append(delta)
        return deltas

    def finish(self, *, well: bool) -> list[ToolCallDelta]:
        """What waited for a name until the end; and `{}` for calls without arguments where the choice ended `well`."""
        deltas = []
        for call in self._calls:
            if call.told and well and not call.arguments:
                call.arguments.append("{}")
                deltas.append(self._delta(call, "{}"))
            elif call.arguments and not call.told:
                deltas.append(self._delta(call, "".join(call.arguments)))
        return deltas

    def unfinished(self) -> str | None:
        """The name of a call whose arguments are not JSON; `None` where there is no such call."""
        for call in self._calls:
            if not call.told:
                continue
            try:
                msgspec.json.decode("".join(call.arguments))
            except (ValueError, RecursionError):
                return call.name or ""
        return None

    def _hear(self, piece: dict[str, Any], position: int, count: int) -> ToolCallDelta | None:
        function = piece.get("function")
        if not isinstance(function, dict):
            function = {}
        name = _text(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # Ollama's /v1 before 0.5 and some shims
            arguments = json_text.encode(arguments).decode()
        arguments = _text(arguments) or ""
        identifier, index = _text(piece.get("id")), piece.get("index")
        if not (identifier or name or arguments):
            return None
        call = self._call(identifier, index if type(index) is int else None, name, position, count)
        call.id = call.id or identifier
        call.name = call.name or name
        if arguments:
            call.arguments.append(arguments)
        if not call.told:
            return self._delta(call, "".join(call.arguments)) if call.name else None
        return self._delta(call, arguments) if arguments else None

    def _call(self, identifier: str | None, index: int | None, name: str | None, position: int, count: int) -> _Call:
        """The call of a piece, by the table above."""
        call: _Call | None = None
        if identifier is not None and identifier in self._by_id:
            return self._by_id[identifier]
        if index is not None:
            if identifier is None or name is None:
                call = self._by_index.get(index)
        elif identifier is None and self._calls:
            call = self._calls[-1]
            if name is not None:
                call = call if call.name is None else None
            elif count > 1:
                call = self._calls[position] if position < len(self._calls) else None
        if call is None:
            call = _Call(len(self._calls))
            self._calls.append(call)
        if identifier is not None:
            self._by_id[identifier] = call
        if index is not None:
            self._by_index[index] = call
        return call

    def _delta(self, call: _Call, arguments: str) -> ToolCallDelta:
        if call.told:
            return ToolCallDelta(call.index, arguments=arguments, choice=self._choice)
        call.told = True
        identifier = call.id or f"call_{self._choice}_{call.index}"
        return ToolCallDelta(call.index, identifier, call.name, arguments, self._choice)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
