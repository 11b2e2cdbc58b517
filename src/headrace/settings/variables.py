"""What each setting is called in the environment and as a flag.

One rule: `HEADRACE_`, the section, the field. The section is left out for `server` (`HEADRACE_PORT`), and is `LOG` for
`logging` (`HEADRACE_LOG_LEVEL`, as the flag is `--log-level`). Of the assistants only `basic` has variables. Upstreams,
models and keys have none: they are written in a file. Lists are separated by commas. An empty variable counts as unset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from headrace.requests import Timeouts
from headrace.settings.tree import AssistantSettings, DocumentSettings, LoggingSettings, ServerSettings, StoreSettings

Path: TypeAlias = tuple[str, ...]
"""Where a setting is in the tree, such as `("server", "port")`."""

_SECTIONS: tuple[tuple[str, Path, type[msgspec.Struct]], ...] = (
    ("", ("server",), ServerSettings),
    ("STORE_", ("store",), StoreSettings),
    ("DOCUMENTS_", ("documents",), DocumentSettings),
    ("TIMEOUTS_", ("timeouts",), Timeouts),
    ("LOG_", ("logging",), LoggingSettings),
    ("ASSISTANTS_BASIC_", ("assistants", "basic"), AssistantSettings),
)

VARIABLES: Mapping[str, Path] = {
    f"HEADRACE_{prefix}{field.upper()}": (*path, field)
    for prefix, path, section in _SECTIONS
    for field in section.__struct_fields__
}
"""Every variable of a setting, and the setting."""

OTHER_NAMES: Mapping[str, Path] = {
    "STREAM_CHUNK_SIZE": ("assistants", "basic", "chunk_size"),
    "STREAM_TIMEOUT": ("timeouts", "total"),
    "ENABLE_RATIONALE_STREAMING": ("assistants", "basic", "rationale"),
    "ENABLE_METADATA": ("assistants", "basic", "metadata"),
}
"""The names of row D7, honoured where the variable of the same setting is not set."""

COMMAND_LINE_VARIABLES = frozenset({"HEADRACE_STREAMING", "HEADRACE_URL", "HEADRACE_API_KEY", "HEADRACE_API_KEY_FILE"})
"""Variables that the command line alone understands."""

# Kubernetes puts the address of a service called `headrace` into every container of its namespace under such names.
_ORCHESTRATOR = re.compile(r"HEADRACE_(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)\Z")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def is_orchestrators(name: str, value: str) -> bool:
    """Whether this variable was put there by Kubernetes for its own purposes, and means nothing here."""
    return _ORCHESTRATOR.match(name) is not None or (name == "HEADRACE_PORT" and value.startswith(("tcp://", "udp://")))


def flag_name(path: Path) -> str:
    """The flag of a setting: `--port`, `--log-level`."""
    variable = next(name for name, known in VARIABLES.items() if known == path)
    return "--" + variable.removeprefix("HEADRACE_").lower().replace("_", "-")


def truth(text: str) -> bool | None:
    """What `text` says, as `1 true yes on` or `0 false no off` in any case; `None`: neither."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None
