"""The rows of known services, and what an upstream takes from them."""

from __future__ import annotations

import re

import pytest

from headrace.errors import SettingsError
from headrace.providers.catalogue import SERVICES, UNKNOWN, Service, completed, service_of
from headrace.settings import UpstreamSettings


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_row_can_be_an_upstream(service: Service) -> None:
    upstream = completed(UpstreamSettings(name=service.name, base_url=service.base_url or "http://127.0.0.1:8001/v1"))
    assert upstream.max_tokens_field == service.max_tokens_field
    assert upstream.timeouts == UpstreamSettings(name="x").timeouts


def test_names_and_addresses_are_unique() -> None:
    assert len({service.name for service in SERVICES}) == len(SERVICES)
    addresses = [service.base_url for service in SERVICES if service.base_url]
    assert len(set(addresses)) == len(addresses)


def test_a_service_that_wants_a_key_is_asked_over_tls_and_says_where_its_key_is() -> None:
    for service in SERVICES:
        if service.key_required:
            assert re.match(r"https://[^/]+(/[\w/]+)?\Z", service.base_url or "")
            assert re.match(r"[A-Z]+_API_KEY\Z", service.api_key_env or "")


def test_no_assumed_address_is_our_own() -> None:
    assert not [service.name for service in SERVICES if ":8000" in (service.base_url or "")]


@pytest.mark.parametrize(
    ("name", "field"),
    [("groq", "max_completion_tokens"), ("openai", "max_completion_tokens"), ("mistral", "max_tokens")],
)
def test_t3_each_upstream_is_sent_the_limit_it_understands(name: str, field: str) -> None:
    assert completed(UpstreamSettings(name=name)).max_tokens_field == field
    chosen = completed(UpstreamSettings(name=name, max_tokens_field="max_tokens"))
    assert chosen.max_tokens_field == "max_tokens"


def test_the_name_of_a_service_brings_its_address_and_key_variable() -> None:
    groq = completed(UpstreamSettings(name="groq"))
    assert (groq.base_url, groq.api_key_env) == ("https://api.groq.com/openai/v1", "GROQ_API_KEY")


def test_a_key_does_not_follow_a_name_to_another_address() -> None:
    own = completed(UpstreamSettings(name="openai", base_url="http://127.0.0.1:9000/v1"))
    assert own.api_key_env is None
    assert service_of(own) is UNKNOWN
    said = completed(UpstreamSettings(name="openai", base_url="http://127.0.0.1:9000/v1", api_key_env="OPENAI_API_KEY"))
    assert said.api_key_env == "OPENAI_API_KEY"


def test_another_name_with_the_same_address_has_the_services_habits() -> None:
    work = completed(UpstreamSettings(name="work", base_url="https://api.mistral.ai/v1/", api_key_env="WORK_KEY"))
    assert service_of(work).name == "mistral"
    assert (work.base_url, work.api_key_env) == ("https://api.mistral.ai/v1", "WORK_KEY")


def test_an_upstream_without_any_address_is_refused_with_what_to_write() -> None:
    for name in ("mine", "vllm"):
        with pytest.raises(SettingsError, match=f'the upstream "{name}" lacks base_url'):
            completed(UpstreamSettings(name=name))


def test_the_offline_provider_needs_no_address() -> None:
    assert completed(UpstreamSettings(name="offline")).provider == "offline"
    assert completed(UpstreamSettings(name="manual", provider="offline")).base_url is None


@pytest.mark.parametrize(
    ("upstream", "provider"),
    [
        (UpstreamSettings(name="ollama"), "ollama"),
        (UpstreamSettings(name="ollama", base_url="http://10.0.0.7:11434"), "ollama"),
        (UpstreamSettings(name="ollama", base_url="http://10.0.0.7:11434/v1/"), "openai"),
        (UpstreamSettings(name="work", base_url="http://127.0.0.1:11434"), "ollama"),
        (UpstreamSettings(name="work", provider="ollama", base_url="http://10.0.0.7:11434/v1"), "ollama"),
        (UpstreamSettings(name="work", base_url="http://10.0.0.7:9000"), "openai"),
    ],
)
def test_o1_an_ollama_is_asked_through_its_own_api_unless_its_address_is_that_of_the_other(
    upstream: UpstreamSettings, provider: str
) -> None:
    assert completed(upstream).provider == provider
