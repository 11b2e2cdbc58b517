"""What the pages are described as."""

from __future__ import annotations

from headrace.server.describing import HTML, Answer, Description, Parameter

DOCS = Description(
    group="Pages",
    summary="These routes as a page for people",
    told="It loads nothing from any other host.",
    answers=(Answer(HTML),),
    keyless=True,
)
CHAT_PAGE = Description(
    group="Pages",
    summary="The chat page",
    told="Ask, stop, reload, come back: an answer goes on where it is. It loads nothing from any other host.",
    answers=(Answer(HTML),),
    keyless=True,
)
PAGE_FILE = Description(
    group="Pages",
    summary="A file that a page is made of",
    told="Its address holds the hash of what it holds, so it may be kept for ever.",
    answers=(
        Answer("text/javascript"),
        Answer("text/css"),
        Answer("image/svg+xml"),
    ),
    parameters=(
        Parameter("digest", "path", str, "The hash of all files of the pages.", "0"),
        Parameter("file", "path", str, "The name of the file.", "docs.js"),
    ),
    errors=(404,),
    keyless=True,
)
