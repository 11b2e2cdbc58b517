"""`Headrace-Warning`: what of a request the upstream that is asked first has no word for, and is not told.

Known before anything is sent, and decided once a request. Which upstream answers in the end only the run finds out; the
names are those of the first candidate.
"""

from __future__ import annotations

from urllib.parse import quote

from headrace.errors import UnknownModel
from headrace.requests import GenerationRequest
from headrace.server.house import House

MOST_NAMES = 20
"""More are counted, not named: the names are a reader's, and a header has its bounds."""
MOST_NAME_CHARACTERS = 60


def warning(house: House, request: GenerationRequest) -> bytes | None:
    """The value of the header; `None`: all of the request is carried."""
    try:
        upstream = house.runs.models.candidates(request.model)[0].upstream
    except UnknownModel:
        return None  # a stream that is joined may be older than the settings
    names = upstream.provider.left_out(request)
    if not names:
        return None
    # Names that are no plain words are spelled as in a URL: a header is ASCII, and these are separated by commas.
    told = [quote(name[:MOST_NAME_CHARACTERS], safe="!#$&'*+-./^`|~@[]{}:") for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        told.append(f"and {len(names) - MOST_NAMES} more")
    return f"not carried to {quote(upstream.name)}: {', '.join(told)}".encode("ascii")
