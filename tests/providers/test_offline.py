"""The offline provider: quotes with numbered sources, one unit at a time, and an honest word where there is nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.knowledge.searching import searching

from headrace.clock import SystemClock
from headrace.events import Ended, Event, Source, Sources, Started, Status, TextDelta, UsageKnown, next_state
from headrace.interfaces import Batch, Provider
from headrace.knowledge.documents import cut, storable
from headrace.knowledge.index import KnowledgeIndex
from headrace.providers.offline import Findings, OfflineProvider, words_in
from headrace.providers.offline_phrases import PHRASES
from headrace.requests import GenerationRequest, Message
from headrace.timing import Marks

CORPUS = Path(__file__).parents[1] / "knowledge" / "corpus"
OPENINGS = {phrases.opening for phrases in PHRASES.values()}
INTRODUCTIONS = {phrases.introduction for phrases in PHRASES.values()}


@pytest.fixture(scope="module")
def index() -> Iterator[KnowledgeIndex]:
    index = KnowledgeIndex.open()
    for path in sorted(CORPUS.iterdir()):
        index.add_document(path.name, path.read_text(encoding="utf-8"))
    yield index
    index.close()


@pytest.fixture
def provider(index: KnowledgeIndex) -> OfflineProvider:
    return OfflineProvider(searching(index), add_command="headrace ingest FILE")


def request(*texts: str, max_tokens: int | None = None, language: str | None = None) -> GenerationRequest:
    """A conversation of these user messages, with an assistant's message between each two."""
    messages = [Message("system", "Be brief.")]
    for text in texts:
        messages += [Message("user", text), Message("assistant", "…")]
    return GenerationRequest("offline", tuple(messages[:-1]), max_tokens=max_tokens, language=language)


def answered(
    provider: Provider, *texts: str, max_tokens: int | None = None, language: str | None = None
) -> list[Event]:
    """All events of one answer."""

    async def gather() -> list[Event]:
        asked = request(*texts, max_tokens=max_tokens, language=language)
        return [event for batch in await batches_of(provider, asked) for event in batch]

    return asyncio.run(gather())


async def batches_of(provider: Provider, asked: GenerationRequest, marks: Marks | None = None) -> list[Batch]:
    """The batches of one attempt, its ending as the last."""
    batches: list[Batch] = []
    ended = await provider.generate(asked, marks or Marks(0), batches.append)
    return [*batches, [ended]]


def deltas(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, TextDelta)]


def text(events: Sequence[Event]) -> str:
    return "".join(deltas(events))


def sources(events: Sequence[Event]) -> list[Source]:
    return [source for event in events if isinstance(event, Sources) for source in event.sources]


def quotation(delta: str) -> str:
    """What a delta quotes: without the space, the list mark and the number round it."""
    return re.sub(r"\s+\[\d+\]\Z", "", re.sub(r"\A\s*(?:- )?", "", delta))


def quotations(events: Sequence[Event]) -> list[str]:
    """What the deltas quote: all of them but the opening and the list of sources."""
    return [quotation(delta) for delta in deltas(events)[1 : -len(sources(events))]]


def ending(events: Sequence[Event]) -> str:
    assert isinstance(events[-1], Ended)
    return events[-1].ending


# --- what is said, and in which order


def test_an_answer_searches_names_its_source_quotes_counts_and_ends(provider: OfflineProvider) -> None:
    events = answered(provider, "Is there a way to recover?")
    assert [type(event) for event in events] == [Status, Sources, TextDelta, TextDelta, TextDelta, UsageKnown, Ended]
    assert isinstance(events[0], Status)
    assert events[0].phase == "searching"
    assert text(events) == (
        "From the documents:\n\n"
        "Whoever loses it loses the backup: there is no way to recover it. [1]\n\n"
        "- [1] larkpost.md › Larkpost › Encryption"
    )
    assert ending(events) == "stop"


def test_a_sentence_is_a_delta_of_its_own(provider: OfflineProvider) -> None:
    assert deltas(answered(provider, "Wann öffnet die Bäckerei am Sonntag?")) == [
        "Aus den Dokumenten:",
        "\n\nWir öffnen werktags um sechs Uhr und schließen um halb sieben. [1]",
        " Sonntags gibt es von acht bis elf Uhr Brötchen. [1]",
        "\n\n- [1] baeckerei.de.md › Bäckerei Mühlbach › Öffnungszeiten",
    ]


def test_code_is_quoted_whole_after_the_sentence_that_announces_it(provider: OfflineProvider) -> None:
    assert deltas(answered(provider, "How do I install Larkpost?"))[1:4] == [
        "\n\nLarkpost needs 64-bit Linux and about 20 megabytes of disk. [1]",
        " Download the archive and unpack it: [1]",
        "\n\n```sh\ntar -xf larkpost-2.4.tar.gz\nsudo ./larkpost/install.sh\n```",
    ]


def test_the_items_a_colon_announces_are_quoted_with_it(provider: OfflineProvider) -> None:
    said = text(answered(provider, "咖啡机怎么除垢？"))
    items = ["把除垢剂倒进水箱。", "长按清洗键五秒钟。", "等待二十分钟，再用清水冲洗两遍。"]
    assert "每三个月除垢一次： [1]\n" + "".join(f"\n- {item} [1]" for item in items) in said


def test_a_table_is_quoted_whole_and_numbered_below(provider: OfflineProvider) -> None:
    said = text(answered(provider, "What does exit code 5 mean?"))
    assert "\n\n| code | meaning |\n| --- | --- |\n| 0 |" in said
    assert "| 9 | the passphrase is wrong |\n\n[1]" in said


QUESTIONS = [
    "How do I install Larkpost?",
    "What is Larkpost?",
    "How do I restore files?",
    "How much is a ticket?",
    "How do I grow tomatoes?",
    "咖啡机怎么用？",
    "图书馆怎么借书？",
    "ما هي أسعار الدراجة؟",
    "كيف نخبز الخبز في الفرن؟",
    "Öffnungszeiten",
]


def as_read(source: Source) -> str:
    """The passage of a source as it is read: on one line, without the signs of lists."""
    name, _, place = source.id.rpartition("#")
    passage = cut(name, (CORPUS / name).read_text(encoding="utf-8"))[int(place) - 1]
    assert source.passage == (CORPUS / name).read_text(encoding="utf-8")[passage.start : passage.end]
    return passage.text


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_sentence_is_quoted_from_the_source_whose_number_it_bears(
    provider: OfflineProvider, question: str
) -> None:
    events = answered(provider, question)
    passages = {source.number: as_read(source) for source in sources(events)}
    current = 0
    quoted = 0
    for event in events:
        if isinstance(event, Sources):
            (source,) = event.sources
            current = source.number
        elif isinstance(event, TextDelta) and event.text not in OPENINGS and not event.text.lstrip().startswith("- ["):
            assert quotation(event.text) in passages[current]
            numbers = re.findall(r"\[(\d+)\]\Z", event.text)
            assert numbers == [str(current)] or event.text.endswith("```")
            quoted += 1
    assert quoted


@pytest.mark.parametrize("question", QUESTIONS)
def test_d5_sources_are_numbered_in_the_order_used(provider: OfflineProvider, question: str) -> None:
    events = answered(provider, question)
    named = [source.number for source in sources(events)]
    assert named == list(range(1, len(named) + 1))
    cited = [int(number) for delta in deltas(events)[: -len(named)] for number in re.findall(r"\[(\d+)\]\Z", delta)]
    assert list(dict.fromkeys(cited)) == named


@pytest.mark.parametrize("question", QUESTIONS)
def test_d5_the_answer_names_its_sources_at_its_end(provider: OfflineProvider, question: str) -> None:
    events = answered(provider, question)
    lines = "".join(deltas(events)[-len(sources(events)) :]).strip().split("\n")
    assert lines == [f"- [{source.number}] {source.title}" for source in sources(events)]


def test_d5_a_source_is_named_before_it_is_quoted_and_not_before_it_is_turned_to(provider: OfflineProvider) -> None:
    events = answered(provider, "What is Larkpost?")
    assert len(sources(events)) > 1
    named = 0
    for event in events:
        if isinstance(event, Sources):
            named += len(event.sources)
        elif isinstance(event, TextDelta) and (number := re.search(r"[^-] ?\[(\d+)\]\Z", event.text)):
            assert int(number[1]) == named


# --- read as it is said


@dataclass
class FakeUnit:
    """A unit that writes down when its text is read."""

    words: str
    read: list[str]
    relevance: float = 1.0
    kind: str = "sentence"

    @property
    def text(self) -> str:
        self.read.append(self.words)
        return self.words


@dataclass
class FakePassage:
    units: Sequence[FakeUnit]
    id: str = "a.md#1"
    title: str = "a.md"
    text: str = "…"
    coverage: float = 1.0
    heading_relevance: float = 0.0


@dataclass
class FakeFindings:
    passages: Sequence[FakePassage] = ()
    looked_for: Sequence[str] = ("anchor",)
    language: str | None = "en"


@dataclass
class FakeSearch:
    """Finds what it was told to find, and writes down what it was asked."""

    findings: FakeFindings = field(default_factory=FakeFindings)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, question: str, limit: int, owner: str) -> Findings:
        self.asked.append(question)
        return self.findings


def test_a_sentence_is_yielded_before_the_next_is_read() -> None:
    read: list[str] = []
    passages = [
        FakePassage([FakeUnit(f"Sentence {number}{name}.", read) for number in range(3)], id=name) for name in "ab"
    ]
    provider = OfflineProvider(FakeSearch(FakeFindings(passages)))

    seen: list[list[str]] = []

    def write(batch: Batch) -> None:
        said = [event.text for event in batch if isinstance(event, TextDelta)]
        if said and said[0].endswith("]") and "Sentence" in said[0]:
            assert len(said) == 1
            assert quotation(said[0]) == read[-1]
            seen.append(list(dict.fromkeys(read)))

    asyncio.run(provider.generate(request("anchor?"), Marks(0), write))
    sentences = [f"Sentence {number}{name}." for name in "ab" for number in range(3)]
    assert seen == [sentences[: count + 1] for count in range(6)]


def test_an_answer_that_is_cancelled_reads_no_further() -> None:
    read: list[str] = []
    passage = FakePassage([FakeUnit(f"Sentence {number}.", read) for number in range(5)])
    provider = OfflineProvider(FakeSearch(FakeFindings([passage])))

    async def leave() -> None:
        def write(batch: Batch) -> None:
            if any(isinstance(event, TextDelta) and "Sentence 1" in event.text for event in batch):
                attempt.cancel()

        attempt = asyncio.create_task(provider.generate(request("anchor?"), Marks(0), write))
        with pytest.raises(asyncio.CancelledError):
            await attempt

    asyncio.run(leave())
    assert list(dict.fromkeys(read)) == ["Sentence 0.", "Sentence 1."]


def test_a_text_that_two_passages_hold_is_said_once_and_an_unused_source_not_named() -> None:
    same = [FakePassage([FakeUnit("The gate opens at noon.", [])], id=name, title=name) for name in "ab"]
    events = answered(OfflineProvider(FakeSearch(FakeFindings(same))), "anchor?")
    assert [source.id for source in sources(events)] == ["a"]
    assert text(events).count("noon") == 1


def test_the_marks_are_taken_on_the_way(provider: OfflineProvider) -> None:
    marks = Marks(SystemClock().monotonic_ns())

    asyncio.run(batches_of(provider, request("How do I install Larkpost?"), marks))
    taken = [marks.asked_ns, marks.connected_ns, marks.sent_ns, marks.first_byte_ns]
    assert None not in taken
    assert taken == sorted(time for time in taken if time is not None)


# --- which question is asked


def test_the_question_is_the_last_user_message() -> None:
    search = FakeSearch()
    answered(OfflineProvider(search), "first", "second?")
    assert search.asked == ["second?"]


def test_a_follow_up_without_words_of_its_own_is_searched_with_those_before_it(provider: OfflineProvider) -> None:
    before = answered(provider, "How do I install Larkpost?")
    after = answered(provider, "How do I install Larkpost?", "And how exactly?")
    assert quotations(after) == quotations(before)


def test_a_follow_up_to_a_greeting_is_met_with_the_introduction(provider: OfflineProvider) -> None:
    assert text(answered(provider, "hello", "and then?")) in INTRODUCTIONS


# --- honesty


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("hi", "en"),
        ("Hello!", "en"),
        ("  WHO are you?? ", "en"),
        ("What's your name?", "en"),
        ("你好！", "zh"),
        ("你是谁？", "zh"),
        ("مرحبا", "ar"),
        ("من أنت؟", "ar"),
        ("Guten Tag", "de"),
        ("Bonjour !", "fr"),
        ("¡Hola!", "es"),
        ("", "en"),
        ("?", "en"),
    ],
)
def test_a_greeting_is_answered_with_one_sentence_that_says_what_this_is(
    provider: OfflineProvider, said: str, language: str
) -> None:
    events = answered(provider, said)
    assert deltas(events) == [PHRASES[language].introduction]
    assert sources(events) == []
    assert ending(events) == "stop"


def test_a_conversation_without_a_user_message_is_met_with_the_introduction(provider: OfflineProvider) -> None:
    async def gather() -> list[Batch]:
        asked = GenerationRequest("offline", (Message("system", "Be brief."),))
        return await batches_of(provider, asked)

    events = [event for batch in asyncio.run(gather()) for event in batch]
    assert deltas(events) == [PHRASES["en"].introduction]


def test_no_phrase_passes_for_a_language_model() -> None:
    denials = [
        "not a language model",
        "不是语言模型",
        "لست نموذجا لغويا",
        "kein Sprachmodell",
        "pas un modèle de langage",
    ]
    denials += ["no soy un modelo de lenguaje"]
    for phrases, denial in zip(PHRASES.values(), denials, strict=True):
        assert denial.replace(" ", "") in phrases.introduction.replace(" ", "")


def test_where_nothing_answers_it_says_so_what_it_looked_for_and_what_to_do(provider: OfflineProvider) -> None:
    events = answered(provider, "Who painted the Mona Lisa?")
    assert deltas(events) == [
        "The documents hold nothing that answers this; I looked for “painted”, “Mona”, “Lisa”.",
        " To add documents: `headrace ingest FILE`.",
        " To ask a language model, which I am not, set a key such as GROQ_API_KEY or start Ollama.",
    ]
    assert sources(events) == []
    assert ending(events) == "stop"


def test_no_command_is_told_where_there_is_none(index: KnowledgeIndex) -> None:
    assert len(deltas(answered(OfflineProvider(searching(index)), "Who painted the Mona Lisa?"))) == 2


@pytest.mark.parametrize(
    ("question", "language", "beginning"),
    [
        ("谁发明了飞机？", None, "文档中没有"),
        ("ما هي عاصمة فرنسا؟", None, "لا تحتوي المستندات"),
        ("Wer hat das Telefon erfunden?", None, "In den Dokumenten steht nichts"),
        ("Quelle est la capitale de la France ?", None, "Les documents ne contiennent rien"),
        ("¿Cuál es la capital de Perú?", None, "Los documentos no contienen nada"),
        ("Who painted the Mona Lisa?", "zh-CN", "文档中没有"),
        ("谁发明了飞机？", "de", "In den Dokumenten steht nichts"),
        ("谁发明了飞机？", "tlh", "文档中没有"),
        ("Vem målade Mona Lisa?", "sv", "The documents hold nothing"),
    ],
)
def test_its_own_words_are_in_the_language_asked_for_or_else_that_of_the_question(
    provider: OfflineProvider, question: str, language: str | None, beginning: str
) -> None:
    assert text(answered(provider, question, language=language)).startswith(beginning)


def test_of_a_long_question_only_a_few_words_are_read_back(provider: OfflineProvider) -> None:
    said = text(answered(provider, " ".join(f"zyx{number}wvu" * 9 for number in range(30))))
    assert said.count("“") == 5
    assert len(said) < 500


# --- usage and length


def test_usage_is_counted_in_words_and_says_so(provider: OfflineProvider) -> None:
    events = answered(provider, "How do I install Larkpost?")
    (usage,) = (event.usage for event in events if isinstance(event, UsageKnown))
    assert usage.prompt_tokens == words_in("Be brief. How do I install Larkpost?")
    assert usage.completion_tokens == words_in(text(events))
    assert usage.source == "counted"
    assert usage.by == "headrace"


@pytest.mark.parametrize(
    ("counted", "words"),
    [("one two-three", 3), ("安装 server", 3), ("كم سعر الدراجة؟", 3), ("한국어", 3), ("x_y 3.11 !", 4), ("", 0)],
)
def test_a_word_or_a_character_of_a_script_without_spaces_counts_one(counted: str, words: int) -> None:
    assert words_in(counted) == words


@given(st.integers(1, 120), st.sampled_from([*QUESTIONS, "Who painted the Mona Lisa?", "hi"]))
def test_an_answer_stops_after_the_unit_that_reaches_max_tokens(limit: int, question: str) -> None:
    provider = OfflineProvider(searching(_shared()))
    whole, limited = deltas(answered(provider, question)), answered(provider, question, max_tokens=limit)
    said = deltas(limited)
    assert said == whole[: len(said)]
    if ending(limited) == "length":
        assert words_in("".join(said)) >= limit > words_in("".join(said[:-1]))
    else:
        assert said == whole
        assert words_in("".join(said)) < limit


# --- anything at all


_indexes: list[KnowledgeIndex] = []


def _shared() -> KnowledgeIndex:
    """An index that outlives Hypothesis' examples; in memory, so there is nothing to leave behind."""
    if not _indexes:
        index = KnowledgeIndex.open()
        for path in sorted(CORPUS.iterdir()):
            index.add_document(path.name, path.read_text(encoding="utf-8"))
        _indexes.append(index)
    return _indexes[0]


@pytest.fixture(scope="module", autouse=True)
def _close_shared() -> Iterator[None]:
    yield
    while _indexes:
        _indexes.pop().close()


def follows_the_table(events: Sequence[Event]) -> bool:
    state = next_state("new", Started("id", "offline", 0))
    for event in events:
        state = next_state(state, event)
    return state == "ended"


HOSTILE = [
    '" OR 1=1',
    "NEAR(",
    "*",
    "title:backup AND disk NOT x",
    "\0",
    "\ud800",
    "backup \udfff disk",
    "a" * 100_000,
    "backup disk " * 8_000,
    "备" * 100_000,
    "`](javascript:alert(1))`",
    "<script>alert(1)</script>",
    "{words} {command} %s {0}",
]


@pytest.mark.parametrize("question", HOSTILE, ids=lambda question: ascii(question[:20]))
def test_no_question_upsets_it(provider: OfflineProvider, question: str) -> None:
    events = answered(provider, question)
    assert follows_the_table(events)
    assert ending(events) == "stop"
    assert deltas(events)
    text(events).encode()


piece = st.sampled_from(
    [
        "# Anchor\n",
        "\n\n",
        "The anchor is here. ",
        "Type `x. Y`. ",
        "```\nanchor\n```\n",
        "- anchor\n",
        "锚在这里。",
        "المرساة ",
    ]
) | st.text(st.characters(), max_size=8)


@given(
    st.lists(piece, max_size=20).map("".join), st.sampled_from(["anchor", "锚在这里", "المرساة", "type x y", "here"])
)
def test_whatever_the_documents_hold_every_quotation_is_part_of_its_source(document: str, question: str) -> None:
    index = KnowledgeIndex.open()
    try:
        index.add_document("a.md", document)
        events = answered(OfflineProvider(searching(index)), question)
    finally:
        index.close()
    assert follows_the_table(events)
    assert all(source.passage in storable(document) for source in sources(events)), "letter for letter"
    read = {f"a.md#{place}": passage.text for place, passage in enumerate(cut("a.md", document), 1)}
    passages = [read[source.id] for source in sources(events)]
    if passages:
        for quoted in quotations(events):
            assert any(quoted in passage for passage in passages)
    else:
        assert not OPENINGS.intersection(deltas(events))


@pytest.mark.parametrize("name", ["models", "close"])
def test_it_offers_one_model_and_keeps_nothing_open(provider: OfflineProvider, name: str) -> None:
    if name == "models":
        assert list(asyncio.run(provider.models())) == ["offline"]
    else:
        asyncio.run(provider.close())
        assert deltas(answered(provider, "hi"))
