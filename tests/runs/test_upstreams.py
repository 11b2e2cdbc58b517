"""Which upstreams a model name leads to."""

from collections.abc import Sequence

import pytest
import tokenizers
from tokenizers.models import WordLevel

from headrace.errors import UnknownModel, UpstreamKeyMissing
from headrace.events import Ended
from headrace.interfaces import Write
from headrace.requests import GenerationRequest, Timeouts
from headrace.runs import Candidate, Models, Tokenizer, Upstream
from headrace.timing import Marks


class Silent:
    """A provider that is never asked here."""

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        raise NotImplementedError

    async def models(self) -> Sequence[str]:
        return []

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        pass


def upstream(name: str) -> Upstream:
    return Upstream.limited(name, Silent(), Timeouts(), None)


GROQ, LOCAL = upstream("groq"), upstream("local")
UPSTREAMS = {"groq": GROQ, "local": LOCAL}
FAST = [Candidate(GROQ, "llama-3.1-8b-instant"), Candidate(LOCAL, "gemma3:12b")]
MODELS = Models(UPSTREAMS, {"fast": FAST, "offline": [Candidate(LOCAL, "offline")]})
OPEN = Models(UPSTREAMS, {"fast": FAST, "*": [Candidate(GROQ, "*"), Candidate(LOCAL, "gemma3:12b")]})


@pytest.mark.parametrize(
    ("models", "name", "candidates"),
    [
        (MODELS, "fast", FAST),
        (MODELS, "groq/llama-3.3-70b", [Candidate(GROQ, "llama-3.3-70b")]),
        # Names of models hold slashes and colons of their own.
        (MODELS, "groq/meta-llama/Llama-2-7b-chat-hf", [Candidate(GROQ, "meta-llama/Llama-2-7b-chat-hf")]),
        (MODELS, "local/gemma3:12b", [Candidate(LOCAL, "gemma3:12b")]),
        (OPEN, "fast", FAST),
        (OPEN, "groq/llama-3.3-70b", [Candidate(GROQ, "llama-3.3-70b")]),
        # `*` hands a name on as it came where the candidate has none of its own.
        (OPEN, "gpt-5", [Candidate(GROQ, "gpt-5"), Candidate(LOCAL, "gemma3:12b")]),
        (OPEN, "meta/llama", [Candidate(GROQ, "meta/llama"), Candidate(LOCAL, "gemma3:12b")]),
    ],
)
def test_a_name_leads_to_its_candidates_in_the_order_of_failover(
    models: Models, name: str, candidates: list[Candidate]
) -> None:
    assert list(models.candidates(name)) == candidates


def test_a_name_of_the_settings_comes_before_an_upstream_of_that_name() -> None:
    models = Models(UPSTREAMS, {"groq/fast": FAST})
    assert list(models.candidates("groq/fast")) == FAST


@pytest.mark.parametrize("name", ["", "groq", "groq/", "/fast", "azure/gpt-5", "Fast"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel) as error:
        MODELS.candidates(name)
    assert error.value.parameter == "model"
    assert "Known: fast, offline; any model of groq/…, local/…" in error.value.message


def test_a_service_whose_key_is_not_set_is_not_unknown_but_lacks_its_key() -> None:
    models = Models(UPSTREAMS, {"fast": FAST}, {"openai": "OPENAI_API_KEY"})
    with pytest.raises(UpstreamKeyMissing) as error:
        models.candidates("openai/gpt-5")
    assert error.value.message == "openai needs OPENAI_API_KEY, which is not set. Set it, or: headrace keys set openai"
    failure = error.value.failure()
    assert (failure.code, failure.http_status, failure.upstream) == ("upstream_key_missing", 503, "openai")
    for name in ("openai", "openai/", "azure/gpt-5"):
        with pytest.raises(UnknownModel):
            models.candidates(name)


def test_what_catches_all_names_catches_those_of_services_without_a_key_too() -> None:
    models = Models(UPSTREAMS, {"*": [Candidate(GROQ, "*")]}, {"openai": "OPENAI_API_KEY"})
    assert models.candidates("openai/gpt-5") == [Candidate(GROQ, "openai/gpt-5")]


def test_a_model_of_any_name_is_counted_as_what_catches_it_says() -> None:
    counts = Tokenizer(tokenizers.Tokenizer(WordLevel({})))
    models = Models(UPSTREAMS, {"*": [Candidate(GROQ, "*", counts), Candidate(LOCAL, "m", counts)]})
    assert models.candidates("any") == [Candidate(GROQ, "any", counts), Candidate(LOCAL, "m", counts)]


@pytest.mark.parametrize(("name", "meant"), [("fsat", "fast"), ("off-line", "offline"), ("Fast", "fast")])
def test_what_may_have_been_meant_is_suggested(name: str, meant: str) -> None:
    with pytest.raises(UnknownModel, match=f'Did you mean "{meant}"'):
        MODELS.candidates(name)


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(UnknownModel) as error:
        MODELS.candidates("gpt-5")
    assert "Did you mean" not in error.value.message


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(UnknownModel) as error:
        MODELS.candidates("x" * 10_000)
    assert len(error.value.message) < 400


def test_the_first_model_is_the_default_and_the_catch_all_has_no_name() -> None:
    assert (MODELS.names(), MODELS.default) == (["fast", "offline"], "fast")
    assert OPEN.names() == ["fast"]


def test_an_upstream_remembers_how_it_was_when_it_was_last_asked() -> None:
    asked = upstream("groq")
    assert (asked.state, asked.detail) == ("unused", None)
    asked.was_unwell("groq answered 500")
    assert (asked.state, asked.detail) == ("unwell", "groq answered 500")
    asked.was_well()
    assert (asked.state, asked.detail) == ("well", None)
