"""Every setting with its value and its origin."""

from __future__ import annotations

import tomllib

import msgspec

from headrace.settings import Document, Settings, resolve
from headrace.settings.listing import Setting, listed
from headrace.settings.variables import VARIABLES

TEXT = f"""
[server]
port = 9
[timeouts]
total = 7.0
[[upstreams]]
name = "my.lab"
base_url = "http://127.0.0.1:1/v1"
timeouts = {{ connect = 1.0 }}
[[models]]
name = "fast"
upstreams = ["my.lab/x"]
[assistants.pirate]
model = "fast"
[[keys]]
owner = "alice"
hash = "{"ab" * 32}"
"""


def rows(text: str = TEXT, environment: dict[str, str] | None = None) -> dict[str, Setting]:
    resolved = resolve({"server.host": "::1"}, environment or {}, [Document("./headrace.toml", tomllib.loads(text))])
    found = listed(resolved)
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def test_every_setting_that_has_a_variable_is_listed() -> None:
    assert {".".join(path) for path in VARIABLES.values()} <= rows("").keys()


def test_a_value_stands_beside_where_it_came_from() -> None:
    found = rows(environment={"HEADRACE_LOG_LEVEL": "error"})
    assert (found["server.port"].value, found["server.port"].origin) == (9, "./headrace.toml")
    assert (found["server.host"].value, found["server.host"].origin) == ("::1", "--host")
    assert (found["logging.level"].value, found["logging.level"].origin) == ("error", "environment")
    assert (found["server.auth"].value, found["server.auth"].origin) == (False, "default")


def test_entries_of_lists_are_listed_by_their_names() -> None:
    found = rows()
    assert found['upstreams."my.lab".base_url'].value == "http://127.0.0.1:1/v1"
    assert found["models.fast.upstreams"].value == ["my.lab/x"]
    assert found["assistants.pirate.model"].value == "fast"
    assert 'upstreams."my.lab".name' not in found


def test_a_timer_an_upstream_leaves_out_comes_from_where_all_timers_do() -> None:
    found = rows()
    assert (found['upstreams."my.lab".timeouts.total'].value, found["timeouts.total"].value) == (7.0, 7.0)
    assert found['upstreams."my.lab".timeouts.total'].origin == "./headrace.toml"
    assert found['upstreams."my.lab".timeouts.first_token'].origin == "default"


def test_the_hash_of_a_key_is_not_shown_whole() -> None:
    found = rows()
    assert found['keys."abababab…".owner'].value == "alice"
    assert "ab" * 32 not in repr(found)


def test_every_leaf_of_the_tree_is_listed_and_nothing_made_up() -> None:
    def leaves(value: object) -> int:
        if isinstance(value, msgspec.Struct):
            return sum(leaves(getattr(value, field)) for field in value.__struct_fields__)
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    empty = ("upstreams", "models", "keys")
    assert len(rows("")) == leaves(Settings()) - len(empty)
