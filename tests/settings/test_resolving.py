"""Flags, variables and files as one tree, the higher one first."""

from __future__ import annotations

import tomllib

import pytest

from headrace.errors import SettingsError
from headrace.requests import Timeouts
from headrace.settings import Document, Resolved, Settings, resolve
from headrace.settings.variables import VARIABLES, flag_name


def document(text: str, *, origin: str = "./headrace.toml", trusted: bool = True) -> Document:
    return Document(origin, tomllib.loads(text), trusted)


def refusal(text: str = "", environment: dict[str, str] | None = None, *, trusted: bool = True) -> str:
    with pytest.raises(SettingsError) as refused:
        resolve({}, environment or {}, [document(text, trusted=trusted)])
    return refused.value.message


def test_nothing_said_gives_what_a_stranger_wants_on_the_first_run() -> None:
    settings = resolve({}, {}, []).settings
    assert settings == Settings()
    assert (settings.server.host, settings.server.port, settings.store.kind) == ("127.0.0.1", 8000, "sqlite")
    assert settings.timeouts == Timeouts(connect=5.0, first_token=120.0, between_tokens=30.0, total=600.0)
    assert "basic" in settings.assistants


SOURCES: list[tuple[str, str]] = [
    ("--port", "flag"),
    ("environment", "variable"),
    ("./.env", "env"),
    ("./headrace.toml", "directory"),
    ("~/.config/headrace/config.toml", "user"),
    ("default", ""),
]


@pytest.mark.parametrize("highest", range(len(SOURCES)))
def test_the_higher_source_wins_and_is_named_as_the_origin(highest: int) -> None:
    present = [source for _, source in SOURCES[highest:]]
    ports = {"flag": 1, "variable": 2, "env": 3, "directory": 4, "user": 5, "": 8000}
    documents = []
    # The files are handed over in the wrong order on purpose: a .env is above every TOML file wherever it stands.
    if "directory" in present:
        documents.append(document("server.port = 4"))
    if "user" in present:
        documents.append(document("server.port = 5", origin="~/.config/headrace/config.toml"))
    if "env" in present:
        documents.append(Document("./.env", {"HEADRACE_PORT": "3"}, trusted=False, form="env"))
    resolved = resolve(
        {"server.port": 1 if "flag" in present else None},
        {"HEADRACE_PORT": "2"} if "variable" in present else {},
        documents,
    )
    assert resolved.settings.server.port == ports[present[0]]
    assert resolved.origin("server.port") == SOURCES[highest][0]


def test_files_meet_entry_by_entry_and_field_by_field() -> None:
    resolved = resolve(
        {},
        {},
        [
            document('[[upstreams]]\nname = "lab"\nmax_concurrent = 2\n[[models]]\nname = "a"\nupstreams = ["lab/x"]'),
            document(
                '[[upstreams]]\nname = "lab"\nbase_url = "http://lab:8001/v1"\nmax_concurrent = 9\n'
                '[[upstreams]]\nname = "other"\nbase_url = "http://other/v1"\n'
                '[[models]]\nname = "b"\nupstreams = ["other/y", "lab/x"]',
                origin="user",
            ),
        ],
    )
    lab, other = resolved.settings.upstreams
    assert (lab.name, lab.base_url, lab.max_concurrent) == ("lab", "http://lab:8001/v1", 2)
    assert other.name == "other"
    assert [(model.name, model.upstreams) for model in resolved.settings.models] == [
        ("a", ("lab/x",)),
        ("b", ("other/y", "lab/x")),
    ]
    assert resolved.origin("upstreams.lab.base_url") == "user"
    assert resolved.origin("upstreams.lab.max_concurrent") == "./headrace.toml"


def test_timers_are_filled_from_the_upstream_then_the_section_then_the_default() -> None:
    settings = resolve(
        {},
        {},
        [document('timeouts.total = 900\n[[upstreams]]\nname = "lab"\ntimeouts = { connect = 2, between_tokens = 0 }')],
    ).settings
    assert settings.upstreams[0].timeouts == Timeouts(connect=2.0, first_token=120.0, between_tokens=0.0, total=900.0)


D7 = [
    ("STREAM_CHUNK_SIZE", "12", 12),
    ("STREAM_TIMEOUT", "90", 90.0),
    ("ENABLE_RATIONALE_STREAMING", "false", False),
    ("ENABLE_METADATA", "0", False),
]


def d7_value(resolved: Resolved, name: str) -> object:
    basic = resolved.settings.assistants["basic"]
    return {
        "STREAM_CHUNK_SIZE": basic.chunk_size,
        "STREAM_TIMEOUT": resolved.settings.timeouts.total,
        "ENABLE_RATIONALE_STREAMING": basic.rationale,
        "ENABLE_METADATA": basic.metadata,
    }[name]


@pytest.mark.parametrize(("name", "text", "value"), D7)
def test_d7_the_names_of_the_source_system_are_understood(name: str, text: str, value: object) -> None:
    assert d7_value(resolve({}, {}, []), name) != value
    assert d7_value(resolve({}, {name: text}, []), name) == value
    assert d7_value(resolve({}, {}, [Document(".env", {name: text}, False, "env")]), name) == value


def test_d7_our_own_variable_outranks_the_other_name_of_the_same_setting() -> None:
    assert resolve({}, {"STREAM_TIMEOUT": "90", "HEADRACE_TIMEOUTS_TOTAL": "80"}, []).settings.timeouts.total == 80.0


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("HEADRACE_HOST", "::1", "server.host", "::1"),
        ("HEADRACE_AUTH", "Yes", "server.auth", True),
        ("HEADRACE_AUTH", "off", "server.auth", False),
        ("HEADRACE_DRAIN_SECONDS", "2.5", "server.drain_seconds", 2.5),
        ("HEADRACE_ALLOWED_ORIGINS", "https://a.example, https://b.example", "server.allowed_origins",
         ("https://a.example", "https://b.example")),
        ("HEADRACE_STORE_RETENTION_HOURS", "1", "store.retention_hours", 1.0),
        ("HEADRACE_LOG_LEVEL", "debug", "logging.level", "debug"),
        ("HEADRACE_ASSISTANTS_BASIC_MODEL", "groq/llama", "assistants.basic.model", "groq/llama"),
    ],
)  # fmt: skip
def test_a_variable_is_called_after_its_section_and_field(variable: str, text: str, path: str, value: object) -> None:
    resolved = resolve({}, {variable: text}, [])
    found: object = resolved.settings
    for step in path.split("."):
        found = found[step] if isinstance(found, dict) else getattr(found, step)
    assert found == value
    assert resolved.origin(path) == "environment"


def test_an_empty_variable_counts_as_unset() -> None:
    assert resolve({}, {"HEADRACE_PORT": ""}, [document("server.port = 9000")]).settings.server.port == 9000


def test_what_kubernetes_puts_into_the_environment_is_not_taken_for_settings() -> None:
    environment = {
        "HEADRACE_PORT": "tcp://10.0.0.7:80",
        "HEADRACE_PORT_80_TCP_ADDR": "10.0.0.7",
        "HEADRACE_SERVICE_HOST": "10.0.0.7",
        "HEADRACE_SERVICE_PORT_HTTP": "80",
    }
    assert resolve({}, environment, []).settings == Settings()


def test_the_flag_and_the_variable_share_a_name() -> None:
    assert flag_name(VARIABLES["HEADRACE_PORT"]) == "--port"
    assert flag_name(VARIABLES["HEADRACE_LOG_LEVEL"]) == "--log-level"


UNUSABLE: list[tuple[str, str]] = [
    ("[servr]\nport = 1", 'no setting "servr" (./headrace.toml). Did you mean "server"?'),
    ("server.prot = 1", 'no setting "server.prot" (./headrace.toml). Did you mean "server.port"?'),
    ("server.port = 'x'", 'server.port in ./headrace.toml is "x": wants a whole number from 0 to 65535'),
    ("server.port = 70000", "server.port in ./headrace.toml is 70000: wants a whole number from 0 to 65535"),
    ("server.auth = 1", "server.auth in ./headrace.toml is 1: wants true or false"),
    ("server.drain_seconds = -1", "server.drain_seconds in ./headrace.toml is -1: wants a number from 0 on"),
    ("timeouts.total = inf", "timeouts.total in ./headrace.toml is inf: wants a number from 0 on"),
    ("timeouts.total = nan", "timeouts.total in ./headrace.toml is nan: wants a number from 0 on"),
    ("server = 1", "server in ./headrace.toml is a table: write [server]"),
    ("upstreams = 1", "upstreams in ./headrace.toml is a list of tables: write [[upstreams]]"),
    ("[upstreams]\nname = 'a'", "upstreams in ./headrace.toml is a list of tables: write [[upstreams]]"),
    ("[[upstreams]]", "upstreams[1] in ./headrace.toml lacks name: it wants a name without spaces and slashes"),
    (
        "[[models]]\nname = 'm'\nupstreams = ['x']",
        'models.m.upstreams in ./headrace.toml is a list: wants a list of texts such as "upstream/model"',
    ),
    (
        "[[upstreams]]\nname = 'g'\n[[upstreams]]\nname = 'g'",
        "upstreams in ./headrace.toml holds two entries with the same name; leave one out",
    ),
    ("store.kind = 'redis'", 'store.kind in ./headrace.toml is "redis": wants "sqlite" or "memory"'),
    (
        "[[upstreams]]\nname = 'g'\nbase_url = 'lab:8001'",
        'upstreams.g.base_url in ./headrace.toml is "lab:8001": wants an address as https://host/v1',
    ),
    (
        "[assistants.basic]\nmodle = 'x'",
        'no setting "assistants.basic.modle" (./headrace.toml). Did you mean "assistants.basic.model"?',
    ),
    ("[assistants]\nbasic = 1", "assistants.basic in ./headrace.toml is a table: write [assistants.basic]"),
]


@pytest.mark.parametrize(("text", "message"), UNUSABLE, ids=[text for text, _ in UNUSABLE])
def test_l52_a_setting_that_cannot_be_used_stops_the_start_and_is_named(text: str, message: str) -> None:
    assert refusal(text) == message


def test_l52_an_unknown_variable_stops_the_start_and_is_named() -> None:
    assert refusal(environment={"HEADRACE_PROT": "1"}) == (
        'no setting "HEADRACE_PROT" (the environment). Did you mean "HEADRACE_PORT"?'
    )


def test_a_variable_of_the_wrong_kind_is_named_by_its_own_name() -> None:
    assert refusal(environment={"HEADRACE_PORT": "many"}) == (
        'HEADRACE_PORT in the environment is "many": wants a whole number from 0 to 65535'
    )


def test_variables_of_the_command_line_are_known_though_they_are_no_settings() -> None:
    assert resolve({}, {"HEADRACE_STREAMING": "true", "HEADRACE_URL": "http://x"}, []).settings == Settings()


SECRETS = [
    "[[keys]]\nowner = 'me'\nhash = 'sk-very-secret'",
    "[[upstreams]]\nname = 'g'\napi_key_env = 'sk-very-secret'",
    "[[upstreams]]\nname = 'g'\napi_key = 'sk-very-secret'",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_key_written_in_the_wrong_place_is_not_repeated_in_the_message(text: str) -> None:
    assert "sk-very-secret" not in refusal(text)


STEERING = [
    "[[upstreams]]\nname = 'groq'\nbase_url = 'https://evil.example/v1'",
    "[[upstreams]]\nname = 'openai'\napi_key_env = 'AWS_SECRET_ACCESS_KEY'",
    f"[[keys]]\nowner = 'mallory'\nhash = '{'a' * 64}'",
    "server.auth = false",
    "server.allowed_origins = ['https://evil.example']",
    "server.allowed_hosts = ['evil.example']",
]


@pytest.mark.parametrize("text", STEERING)
def test_a_file_found_in_the_working_directory_may_not_steer_a_key(text: str) -> None:
    message = refusal(text, trusted=False)
    assert message.startswith("./headrace.toml sets ")
    assert message.endswith("--config ./headrace.toml")
    resolve({}, {}, [document(text, trusted=True)])


def test_a_dotenv_found_in_the_working_directory_may_not_open_the_server_to_others() -> None:
    with pytest.raises(SettingsError, match=r"server\.allowed_origins"):
        resolve({}, {}, [Document("./.env", {"HEADRACE_ALLOWED_ORIGINS": "https://evil.example"}, False, "env")])


def test_a_file_found_in_the_working_directory_may_choose_models_and_ports() -> None:
    text = "server.port = 9\n[[upstreams]]\nname = 'groq'\n[[models]]\nname = 'fast'\nupstreams = ['groq/llama']"
    settings = resolve({}, {}, [document(text, trusted=False)]).settings
    assert (settings.server.port, settings.upstreams[0].name, settings.models[0].name) == (9, "groq", "fast")
