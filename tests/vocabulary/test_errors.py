"""The tree of errors: the drawing in its docstring is the tree, and every failure has a code of its own."""

import re
from collections.abc import Iterator

import pytest

from headrace import errors
from headrace.errors import (
    HeadraceError,
    InvalidRequest,
    Overloaded,
    SettingsError,
    Timer,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamTruncated,
)

DRAWN_LINE = re.compile(r" {4}(?P<branch>[ │├└─]*)(?P<name>\w+)(?: +(?P<status>\d{3})\b)?(?: +(?P<words>\S.*))?")
TIMERS: tuple[Timer, ...] = ("connect", "first_token", "between_tokens", "total")


def drawn() -> list[tuple[str, str | None, int | None, str]]:
    """The drawing: name, the name above it, status where one is written, the words behind."""
    assert errors.__doc__ is not None
    rows: list[tuple[str, str | None, int | None, str]] = []
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        if (found := DRAWN_LINE.fullmatch(line)) is None:
            continue
        depth = len(found["branch"]) // 4
        path[depth:] = [found["name"]]
        rows.append(
            (
                found["name"],
                path[depth - 1] if depth else None,
                int(found["status"]) if found["status"] else None,
                found["words"] or "",
            )
        )
    return rows


def classes(root: type[HeadraceError] = HeadraceError) -> Iterator[type[HeadraceError]]:
    """The classes of the file, and not what else may have been derived from them in this process."""
    yield root
    for below in root.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from classes(below)


def example(kind: type[HeadraceError]) -> HeadraceError:
    if kind is UpstreamTimeout:
        return UpstreamTimeout("total", 600, upstream="groq")
    if issubclass(kind, UpstreamError):
        return kind("words", upstream="groq")
    return kind("words")


LEAVES = [kind for kind in classes() if not kind.__subclasses__()]


def test_the_drawing_shows_every_class_under_its_base() -> None:
    assert {(name, above) for name, above, _, _ in drawn()} == {
        (kind.__name__, None if kind is HeadraceError else kind.__bases__[0].__name__) for kind in classes()
    }


def test_the_statuses_in_the_drawing_are_those_of_the_classes() -> None:
    statuses = {name: status for name, _, status, _ in drawn() if status is not None}
    assert statuses == {name: getattr(errors, name).http_status for name in statuses}
    # Drawn without one: the branches, the upstream's own, and what never reaches a reader.
    undrawn = {name for name, _, _, _ in drawn()} - statuses.keys()
    assert undrawn == {
        "HeadraceError",
        "RequestError",
        "UpstreamError",
        "UpstreamRefused",
        "SettingsError",
        "StoreInUse",
    }


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_every_class_says_in_one_sentence_what_it_is(kind: type[HeadraceError]) -> None:
    assert (kind.__dict__["__doc__"] or "").strip().endswith(".")


def test_every_error_has_a_code_of_its_own() -> None:
    codes: dict[str, str] = {}
    for kind in LEAVES:
        for code in codes_of(kind):
            assert re.fullmatch(r"[a-z_]+", code)
            assert codes.setdefault(code, kind.__name__) == kind.__name__


def codes_of(kind: type[HeadraceError]) -> set[str]:
    if kind is UpstreamTimeout:
        return {UpstreamTimeout(timer, 1, upstream="groq").failure().code for timer in TIMERS}
    if kind is UpstreamRefused:
        statuses = (None, *range(400, 600))
        return {UpstreamRefused("words", upstream="groq", status=status).failure().code for status in statuses}
    return {example(kind).failure().code}


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_as_data_says_what_the_error_says(kind: type[HeadraceError]) -> None:
    error = example(kind)
    failure = error.failure()
    assert (failure.message, str(error)) == (error.message, error.message)
    assert (failure.http_status, failure.upstream) == (kind.http_status, getattr(error, "upstream", None))
    assert 400 <= failure.http_status < 600


def test_each_timer_names_itself_in_code_and_message() -> None:
    failures = {timer: UpstreamTimeout(timer, 2.5, upstream="groq").failure() for timer in TIMERS}
    assert {timer: failure.code for timer, failure in failures.items()} == {
        "connect": "connect_timeout",
        "first_token": "first_token_timeout",
        "between_tokens": "between_tokens_timeout",
        "total": "total_timeout",
    }
    for timer, failure in failures.items():
        assert failure.message.startswith("groq ")
        words = "for" if timer == "between_tokens" else "within"
        assert failure.message.endswith(f" {words} 2.5 s (timeouts.{timer})")
        # The whole time that was given is used up; another attempt would have none.
        assert failure.retryable is (timer != "total")


@pytest.mark.parametrize(
    ("status", "code", "http_status", "retryable"),
    [
        (None, "upstream_error", 502, True),
        (400, "upstream_rejected", 400, False),
        (401, "upstream_authentication", 502, False),  # about our key: the reader's own is none of its business
        (402, "upstream_error", 502, False),
        (403, "upstream_authentication", 502, False),
        (404, "upstream_not_found", 404, False),
        (408, "upstream_timeout", 408, True),
        (413, "upstream_rejected", 413, False),
        (422, "upstream_rejected", 422, False),
        (429, "upstream_rate_limited", 429, True),
        (500, "upstream_error", 500, True),
        (503, "upstream_error", 503, True),
        (529, "upstream_error", 529, True),
        (599, "upstream_error", 502, False),
    ],
)
def test_an_upstreams_refusal_becomes_our_code_and_keeps_its_own(
    status: int | None, code: str, http_status: int, retryable: bool
) -> None:
    error = UpstreamRefused("no", upstream="groq", status=status, upstream_code="theirs", retry_after_seconds=2)
    failure = error.failure()
    assert (failure.code, failure.http_status, failure.retryable) == (code, http_status, retryable)
    assert (failure.upstream, failure.upstream_status, failure.upstream_code) == ("groq", status, "theirs")
    assert failure.retry_after_seconds == 2


def test_an_error_carries_its_field_and_when_to_come_back() -> None:
    assert InvalidRequest("words", parameter="model").parameter == "model"
    assert Overloaded("words", retry_after_seconds=5).failure().retry_after_seconds == 5
    assert UpstreamTruncated("words", upstream="groq").failure().retry_after_seconds is None


def test_trying_again_can_help_with_what_may_pass_by_itself() -> None:
    assert {kind.__name__ for kind in LEAVES if example(kind).failure().retryable} == {
        "Busy",
        "Overloaded",
        "RateLimited",
        "StoreError",
        "UpstreamMalformed",
        "UpstreamRefused",
        "UpstreamReset",
        "UpstreamTooSlow",
        "UpstreamTruncated",
        "UpstreamUnreachable",
    }


def test_settings_errors_have_a_code_for_the_command_line() -> None:
    assert SettingsError("words").failure().code == "invalid_settings"
