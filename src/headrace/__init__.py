"""headrace: every token of a language model's answer, from any upstream to any number of readers.

Data runs one way: a provider makes events, a run writes them into a stream, a protocol turns them into bytes, a server
sends the bytes. The rooms and the floors they stand on are in ARCHITECTURE.md. Importing this package imports nothing
else: whoever asks for the version or for one room pays for that alone. The client and the functions of the library,
such as `headrace.generate`, are looked for when they are first asked for.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # as in `typing`, which need not be imported for it
if TYPE_CHECKING:
    from headrace.client import AsyncClient, Client, Resuming, StreamFailed
    from headrace.library import Answer, AsyncDeltas, Deltas, GenerationFailed, ToolCall, agenerate, generate
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'headrace' has no attribute {name!r}")
        from importlib import import_module

        room = "client" if name in ("AsyncClient", "Client", "Resuming", "StreamFailed") else "library"
        return getattr(import_module(f"headrace.{room}"), name)


__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncDeltas",
    "Client",
    "Deltas",
    "GenerationFailed",
    "Resuming",
    "StreamFailed",
    "ToolCall",
    "__version__",
    "agenerate",
    "generate",
]
