"""How the command ends: its exit codes, and which error comes to which.

What a person can put right is a message on stderr, never a traceback. `headrace --version` comes through here too, so
the vocabulary (30 ms, most of it msgspec) is imported only when there is an error or an ending to be judged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.events import Ended, Failure

DONE = 0
FAILED = 1
USAGE = 2
KEY = 3
NO_SERVER = 4
LIMIT = 5
INCOMPLETE = 6
CHECK = 7
INTERRUPTED = 130
PIPE = 141

EXIT_CODES: Mapping[int, str] = {
    DONE: "done",
    FAILED: "model or upstream error",
    USAGE: "usage or settings",
    KEY: "key missing or refused",
    NO_SERVER: "no server",
    LIMIT: "rate limit or budget",
    INCOMPLETE: "ended incomplete: length, filter, or a failure after the first token; what was said is printed",
    CHECK: "a check or objective failed",
    INTERRUPTED: "interrupted",
    PIPE: "whoever read stdout left",
}
"""Every exit code and what it means."""

# Codes of failures (`headrace.errors`) that have an exit code of their own; all others are `FAILED`.
_OF_FAILURES: Mapping[str, int] = {
    "upstream_key_missing": KEY,
    "upstream_authentication": KEY,
    "invalid_api_key": KEY,
    "upstream_rate_limited": LIMIT,
    "rate_limited": LIMIT,
}


class NoServer(Exception):
    """Nothing answers where a server was expected; the message says where."""


class NobodyReads(Exception):
    """Whoever read stdout left."""


@contextmanager
def told_apart() -> Iterator[None]:
    """A pipe that broke, as `NobodyReads`: click would end the process with 1 by itself.

    Raises:
        NobodyReads: in place of `BrokenPipeError`.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise NobodyReads from error


def code_of_error(error: HeadraceError) -> int:
    """The exit code of an error that came before anything was said."""
    from headrace.errors import RateLimited, RequestError, SettingsError, Unauthorized

    match error:
        case SettingsError():
            return USAGE
        case Unauthorized():
            return KEY
        case RateLimited():
            return LIMIT
        case RequestError():
            return FAILED if error.http_status >= 500 else USAGE
        case _:
            return code_of_failure(error.failure())


def code_of_failure(failure: Failure) -> int:
    """The exit code of a failure before the first token."""
    if failure.code in _OF_FAILURES:
        return _OF_FAILURES[failure.code]
    return USAGE if failure.code in ("model_not_found", "invalid_request") else FAILED


def code_of_ending(ended: Ended, *, said_something: bool) -> int:
    """The exit code of an answer that ended so."""
    from headrace.events import FINISHED

    if ended.ending in FINISHED:
        return INCOMPLETE if ended.ending in ("length", "content_filter") else DONE
    if said_something or ended.failure is None:
        return INCOMPLETE
    return code_of_failure(ended.failure)


def ending(command: Callable[[], object]) -> int:
    """Runs `command` and gives the exit code; whatever a person can put right is said on stderr."""
    try:
        code = command()
        with told_apart():
            sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NoServer as error:
        say(str(error))
        return NO_SERVER
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except NobodyReads:
        # Python would write what is left in its buffer once more at exit, and complain: it is given nowhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    except Exception as error:
        from headrace.errors import HeadraceError

        if not isinstance(error, HeadraceError):
            raise  # a mistake of our own: its traceback is what is needed
        say(error.message)
        return code_of_error(error)


def say(message: str) -> None:
    """One message for a person, on stderr; nothing where stderr is gone."""
    try:
        click.echo(message, err=True)
    except OSError:
        pass  # nobody is left to be told
