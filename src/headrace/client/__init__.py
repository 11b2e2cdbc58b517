"""Programs that read a headrace server: the Python client.

Floor 3. May import floors 0 to 2, httpx2 and msgspec, and nothing dearer. Knows nothing of the server but its
protocols' bytes.

- `blocking.py`, `asynchronous.py`  `Client` and `AsyncClient`: connections, and what is done with them
- `connection_state.py`             what is to be done next: asked, resumed, waited, given up
- `reading.py`                      one stream as its reader has it
- `pieces.py`, `hearing.py`         bytes as numbered pieces, frames as events
- `documents.py`                    files for a server's model `offline` to answer from
- `questions.py`, `refusals.py`     what is put to a server, and what it or the network says to that
"""

from headrace.client.asynchronous import AsyncClient, AsyncStream
from headrace.client.blocking import Client, Stream
from headrace.client.connection_state import Resuming
from headrace.client.measuring import Stats
from headrace.client.pieces import Piece
from headrace.client.reading import Final, StreamFailed

__all__ = ["AsyncClient", "AsyncStream", "Client", "Final", "Piece", "Resuming", "Stats", "Stream", "StreamFailed"]
