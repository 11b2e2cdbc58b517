"""How a request is read and how events become bytes: one file for each language a reader speaks, and their table.

Floor 3, and pure: may import floors 0 to 2, opens nothing and waits for nothing. Knows no provider, run or stream.
"""

from collections.abc import Mapping
from types import MappingProxyType

from headrace.interfaces import ReaderProtocol
from headrace.protocols.durable_json import DurableJSON
from headrace.protocols.ollama import OllamaChat, OllamaGenerate
from headrace.protocols.openai_chat import OpenAIChat
from headrace.protocols.openai_completions import OpenAICompletions
from headrace.protocols.plain_text import PlainText
from headrace.protocols.text import Text
from headrace.protocols.token_frames import ChatTokenFrames, TokenFrames
from headrace.protocols.typed_events import TypedEvents

PROTOCOLS: Mapping[str, ReaderProtocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            OpenAIChat(),
            OpenAICompletions(),
            OllamaChat(),
            OllamaGenerate(),
            TypedEvents(),
            DurableJSON(),
            Text(),
            PlainText(),
            TokenFrames(),
            ChatTokenFrames(),
        )
    }
)
"""Every protocol, by the name it has in `?protocol=`."""

__all__ = ["PROTOCOLS"]
