"""Everything that can go wrong, as one tree that branches by whose fault it is.

    HeadraceError
    ├── RequestError                the reader's request
    │   ├── InvalidRequest          400  a field is missing or wrong
    │   ├── MalformedBody           400  not JSON, or nested too deep
    │   ├── MalformedHTTP           400  not HTTP
    │   ├── Unauthorized            401  no key, or an unknown one
    │   ├── Forbidden               403  a host or origin that is not allowed
    │   ├── UnknownModel            404
    │   ├── UnknownStream           404  also for another owner's stream
    │   ├── UnknownDocument         404  also for another owner's document
    │   ├── UnknownConversation     404  also for another owner's conversation
    │   ├── UnknownRoute            404
    │   ├── MethodNotAllowed        405
    │   ├── RequestTimeout          408  the request did not arrive in time
    │   ├── Busy                    409  a WebSocket that has as many answers as it may
    │   ├── StreamExists            409  a chosen id that is taken
    │   ├── StreamConflict          409  a stream that is not as the request has it
    │   ├── TooManyDocuments        409  an owner has as many as it may
    │   ├── BelowHorizon            410  events that are no longer kept one by one
    │   ├── StreamGone              410  a stream that was there, and is not any more
    │   ├── BodyTooLarge            413
    │   ├── UnsupportedContentType  415
    │   ├── UnusableDocument        422  a file that cannot be indexed
    │   ├── IdempotencyKeyReused    422  the key of another request
    │   ├── RateLimited             429  a key has used what it may
    │   ├── HeadersTooLarge         431
    │   └── Overloaded              503  our own limits, or shutting down
    ├── UpstreamError               where the tokens come from
    │   ├── UpstreamUnreachable     502  no connection
    │   ├── UpstreamRefused         its own status: it answered with an error
    │   ├── UpstreamReset           502  the connection broke
    │   ├── UpstreamTruncated       502  it stopped without a finish reason
    │   ├── UpstreamMalformed       502  it sent what its protocol does not know
    │   ├── UpstreamTimeout         504  one of the four timers ran out; its name is in the code
    │   ├── UpstreamTooSlow         504  it began more slowly than its settings ask for, and another was free
    │   └── UpstreamKeyMissing      503  its key is not set
    ├── StoreError                  503  the stream could not be kept
    ├── InternalError               500  our own rule was broken
    └── SettingsError               settings that cannot be used; never reaches a reader
        └── StoreInUse                  another process has the file

Being cancelled is an ending, not an error. How each protocol spells an error is in its own file.
Vocabulary: imports only its neighbours on this floor.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self, TypeAlias

from headrace.events import Failure

Timer: TypeAlias = Literal["connect", "first_token", "between_tokens", "total"]


class HeadraceError(Exception):
    """An error with a stable code, an HTTP status, and a message that says what to do about it."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: bool = False
    """Whether trying again can help."""

    # What a program needs to know whose stream failed; `headrace.client` says it, nobody else has to.
    stream_id: str | None = None
    """The stream that was asked for or read, where it is known."""
    after_first_token: bool = False
    """Whether something had been said: to ask again would say it again."""
    partial: str = ""
    """The text that had been said."""

    def __init__(self, message: str, *, parameter: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.parameter = parameter
        """The field of the request that is meant, where there is one."""
        self.retry_after_seconds = retry_after_seconds

    def failure(self) -> Failure:
        """The same as data, for the log of a stream."""
        return Failure(
            code=self.code,
            message=self.message,
            http_status=self.http_status,
            retryable=self.retryable,
            retry_after_seconds=self.retry_after_seconds,
        )


class RequestError(HeadraceError):
    """The reader's request cannot be served as it is."""

    code = "invalid_request"
    http_status = 400


class InvalidRequest(RequestError):
    """A field is missing, of the wrong type, or out of range."""


class MalformedBody(RequestError):
    """The body is not the JSON it should be."""

    code = "invalid_json"


class MalformedHTTP(RequestError):
    """The bytes are not an HTTP request."""

    code = "invalid_http"


class Unauthorized(RequestError):
    """No key was given, or one that is not known."""

    code = "invalid_api_key"
    http_status = 401


class Forbidden(RequestError):
    """The host or the origin is not allowed here."""

    code = "forbidden"
    http_status = 403


class UnknownModel(RequestError):
    """No model of that name."""

    code = "model_not_found"
    http_status = 404


class UnknownStream(RequestError):
    """No stream of that id that belongs to this owner."""

    code = "stream_not_found"
    http_status = 404


class UnknownDocument(RequestError):
    """No document of that id that belongs to this owner."""

    code = "document_not_found"
    http_status = 404


class UnknownConversation(RequestError):
    """No conversation of that id that belongs to this owner."""

    code = "conversation_not_found"
    http_status = 404


class UnknownRoute(RequestError):
    """Nothing is served at that path."""

    code = "route_not_found"
    http_status = 404


class MethodNotAllowed(RequestError):
    """The path is served, with another method."""

    code = "method_not_allowed"
    http_status = 405


class RequestTimeout(RequestError):
    """The request did not arrive in time."""

    code = "request_timeout"
    http_status = 408


class Busy(RequestError):
    """A lane of a WebSocket has an answer in progress, or there are as many lanes as there may be."""

    code = "busy"
    http_status = 409
    retryable = True


class StreamExists(RequestError):
    """The id that the reader chose for its stream is already taken by one of its own."""

    code = "stream_exists"
    http_status = 409


class StreamConflict(RequestError):
    """The stream is not as the request takes it to be: of another type, closed, or further on."""

    code = "stream_conflict"
    http_status = 409


class TooManyDocuments(RequestError):
    """The owner has as many documents as it may have."""

    code = "too_many_documents"
    http_status = 409


class BelowHorizon(RequestError):
    """The events asked for are no longer kept one by one; those from the horizon on are."""

    code = "below_horizon"
    http_status = 410


class StreamGone(RequestError):
    """The stream was there, and cannot be read any more."""

    code = "stream_gone"
    http_status = 410


class BodyTooLarge(RequestError):
    """The body is larger than allowed."""

    code = "body_too_large"
    http_status = 413


class UnsupportedContentType(RequestError):
    """The body is declared as something that is not read here."""

    code = "unsupported_content_type"
    http_status = 415


class UnusableDocument(RequestError):
    """The file is empty, or no Markdown and no plain text in UTF-8."""

    code = "document_unusable"
    http_status = 422


class IdempotencyKeyReused(RequestError):
    """The same key came before with another body, or at another route."""

    code = "idempotency_key_reused"
    http_status = 422


class RateLimited(RequestError):
    """A key has used what it may: requests a minute, streams or readers at once."""

    code = "rate_limited"
    http_status = 429
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        parameter: str | None = None,
        retry_after_seconds: float | None = None,
        limit: int | None = None,
        reset_unix_seconds: int = 0,
    ) -> None:
        super().__init__(message, parameter=parameter, retry_after_seconds=retry_after_seconds)
        self.limit = limit
        """How much it may use, where that is known."""
        self.reset_unix_seconds = reset_unix_seconds
        """When more of it may be used."""


class HeadersTooLarge(RequestError):
    """The request line and headers are larger than allowed."""

    code = "headers_too_large"
    http_status = 431


class Overloaded(RequestError):
    """There is no room for another run or reader now, or the server is shutting down."""

    code = "overloaded"
    http_status = 503
    retryable = True


class UpstreamError(HeadraceError):
    """Where the tokens come from did not do its part."""

    code = "upstream_error"
    http_status = 502
    retryable = True

    def __init__(self, message: str, *, upstream: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.upstream = upstream

    def failure(self) -> Failure:
        """The same as data, for the log of a stream."""
        return Failure(
            code=self.code,
            message=self.message,
            http_status=self.http_status,
            retryable=self.retryable,
            retry_after_seconds=self.retry_after_seconds,
            upstream=self.upstream,
        )


class UpstreamUnreachable(UpstreamError):
    """No connection: refused, no such host, or a certificate that does not hold."""

    code = "upstream_unreachable"


class UpstreamReset(UpstreamError):
    """The connection broke before the response ended."""

    code = "upstream_reset"


class UpstreamTruncated(UpstreamError):
    """The response ended without a finish reason: what was said may be half of it."""

    code = "upstream_truncated"


class UpstreamMalformed(UpstreamError):
    """The response is not what its protocol knows."""

    code = "upstream_malformed"


class UpstreamKeyMissing(UpstreamError):
    """The upstream wants a key that is not set."""

    code = "upstream_key_missing"
    http_status = 503
    retryable = False

    @classmethod
    def naming(cls, variable: str, *, upstream: str) -> Self:
        """The error of an upstream whose key is not in the variable that it names."""
        words = f"{upstream} needs {variable}, which is not set. Set it, or: headrace keys set {upstream}"
        return cls(words, upstream=upstream)


# What an upstream's status means for our own reader. Its 401 and 403 are about our key, not about the reader's.
_CODES: dict[int, str] = {
    400: "upstream_rejected",
    401: "upstream_authentication",
    403: "upstream_authentication",
    404: "upstream_not_found",
    408: "upstream_timeout",
    413: "upstream_rejected",
    422: "upstream_rejected",
    429: "upstream_rate_limited",
}
_PASSED_ON = frozenset({400, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529})
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class UpstreamRefused(UpstreamError):
    """The upstream answered with an error: with an HTTP status, or with an error event under 200."""

    def __init__(
        self,
        message: str,
        *,
        upstream: str,
        status: int | None = None,
        upstream_code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, upstream=upstream, retry_after_seconds=retry_after_seconds)
        self.retryable = status is None or status in _RETRYABLE
        self.status = status
        """The status as the upstream gave it; `None` for an error event that gave none."""
        self.upstream_code = upstream_code

    def failure(self) -> Failure:
        """The same as data; our code and status follow from the upstream's status, which stays beside them."""
        status = self.status
        return Failure(
            code=self.code if status is None else _CODES.get(status, self.code),
            message=self.message,
            http_status=status if status in _PASSED_ON else self.http_status,
            retryable=self.retryable,
            retry_after_seconds=self.retry_after_seconds,
            upstream=self.upstream,
            upstream_status=status,
            upstream_code=self.upstream_code,
        )


_TIMER_CODES: dict[Timer, str] = {
    "connect": "connect_timeout",
    "first_token": "first_token_timeout",
    "between_tokens": "between_tokens_timeout",
    "total": "total_timeout",
}
_TIMER_WORDS: dict[Timer, str] = {
    "connect": "did not accept a connection within",
    "first_token": "sent no token within",
    "between_tokens": "fell silent in the middle of its answer for",
    "total": "did not finish within",
}


class UpstreamTimeout(UpstreamError):
    """One of the four timers ran out."""

    http_status = 504

    def __init__(self, timer: Timer, seconds: float, *, upstream: str) -> None:
        words = f"{upstream} {_TIMER_WORDS[timer]} {seconds:g} s (timeouts.{timer})"
        super().__init__(words, upstream=upstream)
        self.timer: Timer = timer
        self.retryable = timer != "total"

    def failure(self) -> Failure:
        """The same as data; the code names the timer."""
        return Failure(
            code=_TIMER_CODES[self.timer],
            message=self.message,
            http_status=self.http_status,
            retryable=self.retryable,
            upstream=self.upstream,
        )


class UpstreamTooSlow(UpstreamError):
    """It began more slowly than its settings ask for, and another upstream was free."""

    code = "upstream_too_slow"
    http_status = 504


class StoreError(HeadraceError):
    """A stream could not be kept."""

    code = "store_failed"
    http_status = 503
    retryable = True


class InternalError(HeadraceError):
    """A rule of our own was broken; the log holds the cause."""


class SettingsError(HeadraceError):
    """Settings that cannot be used. The message names the key and what to do."""

    code = "invalid_settings"


class StoreInUse(SettingsError):
    """Another process keeps its streams in the same file."""

    def __init__(self, message: str, *, holder: str = "unknown") -> None:
        super().__init__(message)
        self.holder = holder
        """Its process ID, as far as it is known."""
