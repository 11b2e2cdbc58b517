"""The few sentences the offline provider says in its own words, in six languages. Data, and what picks among it. Pure.

Everything else it says is quoted. May import the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN_WORDS = 5  # of what was looked for; more would be the question read back
_SHOWN_LENGTH = 40  # characters of one of them


@dataclass(frozen=True, slots=True)
class Phrases:
    """What the offline provider says itself, in one language."""

    opening: str
    """Said before the first quotation."""
    nothing: str
    """Said where the documents hold nothing; `{words}` is what was looked for."""
    adding: str
    """How documents are added; `{command}` is the command."""
    model: str
    """How to ask a language model instead."""
    introduction: str
    """Said to a greeting: what this is, and what to ask."""
    quotation: tuple[str, str, str]
    """The marks before, after and between quoted words."""
    greetings: frozenset[str]
    """What is answered with the introduction, in the form `greeting` gives."""

    def nothing_for(self, looked_for: Sequence[str], command: str | None) -> list[str]:
        """The sentences that say that the documents hold no answer, what was looked for, and what can be done."""
        before, after, between = self.quotation
        words = between.join(before + word[:_SHOWN_LENGTH] + after for word in looked_for[:_SHOWN_WORDS])
        adding = [self.adding.format(command=command)] if command is not None else []
        return [self.nothing.format(words=words), *adding, self.model]


def _lines(text: str) -> frozenset[str]:
    return frozenset(line.strip() for line in text.strip().split("|"))


PHRASES: dict[str, Phrases] = {
    "en": Phrases(
        opening="From the documents:",
        nothing="The documents hold nothing that answers this; I looked for {words}.",
        adding="To add documents: `{command}`.",
        model="To ask a language model, which I am not, set a key such as GROQ_API_KEY or start Ollama.",
        introduction=(
            "I am headrace's offline answerer: I quote indexed documents with their sources, I am not a language "
            'model, and you can ask me what the documents are about, such as "How do I start the server?"'
        ),
        quotation=("“", "”", ", "),
        greetings=_lines(
            "hi | hello | hey | hi there | hello there | hey there | hello world | good morning | good afternoon"
            " | good evening | how are you | who are you | what are you | what can you do | what do you do | help"
            " | help me | test | testing | ping | thanks | thank you | are you an ai | are you a language model"
            " | what is your name | whats your name | whats up | say hi | say hello | introduce yourself"
        ),
    ),
    "zh": Phrases(
        opening="以下摘自文档：",
        nothing="文档中没有能回答此问题的内容；我查找了{words}。",
        adding="添加文档：`{command}`。",
        model="我不是语言模型；要使用语言模型，请设置密钥（例如 GROQ_API_KEY）或启动 Ollama。",
        introduction=(
            "我是 headrace 的离线应答程序：我只引用已索引的文档并注明出处，不是语言模型；"
            "您可以问文档中写到的内容，例如“How do I start the server?”"
        ),
        quotation=("“", "”", "、"),
        greetings=_lines(
            "你好 | 您好 | 嗨 | 哈喽 | 早上好 | 下午好 | 晚上好 | 你是谁 | 您是谁 | 你是什么 | 你能做什么 | 你会做什么"
            " | 帮助 | 谢谢 | 你叫什么 | 你叫什么名字 | 你是语言模型吗 | 测试 | 在吗 | 介绍一下你自己"
        ),
    ),
    "ar": Phrases(
        opening="من المستندات:",
        nothing="لا تحتوي المستندات على ما يجيب عن هذا؛ بحثت عن {words}.",
        adding="لإضافة مستندات: `{command}`.",
        model="لست نموذجا لغويا؛ لسؤال نموذج لغوي عيّن مفتاحا مثل GROQ_API_KEY أو شغّل Ollama.",
        introduction=(
            "أنا مجيب headrace دون اتصال: أقتبس من المستندات المفهرسة مع ذكر مصادرها ولست نموذجا لغويا، ويمكنك "
            "أن تسألني عما فيها، مثل «How do I start the server?»"
        ),
        quotation=("«", "»", "، "),
        greetings=_lines(
            "مرحبا | اهلا | أهلا | أهلا وسهلا | السلام عليكم | سلام | صباح الخير | مساء الخير | كيف حالك | من أنت"
            " | من انت | ما أنت | ماذا تفعل | ماذا يمكنك أن تفعل | شكرا | مساعدة | هل أنت نموذج لغوي | ما اسمك"
        ),
    ),
    "de": Phrases(
        opening="Aus den Dokumenten:",
        nothing="In den Dokumenten steht nichts, was das beantwortet; gesucht wurde {words}.",
        adding="Dokumente hinzufügen: `{command}`.",
        model="Ich bin kein Sprachmodell; um eines zu fragen, setzen Sie einen Schlüssel wie GROQ_API_KEY oder starten "
        "Sie Ollama.",
        introduction=(
            "Ich bin die Offline-Auskunft von headrace: Ich zitiere indizierte Dokumente mit ihren Quellen, bin kein "
            "Sprachmodell und antworte auf Fragen nach dem, was in den Dokumenten steht, etwa „How do I start the "
            "server?“"
        ),
        quotation=("„", "“", ", "),
        greetings=_lines(
            "hallo | guten tag | guten morgen | guten abend | moin | servus | grüß gott | wie geht es dir | wie gehts"
            " | wer bist du | wer sind sie | was bist du | was kannst du | hilfe | danke | wie heißt du"
            " | bist du ein sprachmodell"
        ),
    ),
    "fr": Phrases(
        opening="Extrait des documents :",
        nothing="Les documents ne contiennent rien qui réponde à cela ; j'ai cherché {words}.",
        adding="Pour ajouter des documents : `{command}`.",
        model="Je ne suis pas un modèle de langage ; pour en interroger un, définissez une clé comme GROQ_API_KEY ou "
        "démarrez Ollama.",
        introduction=(
            "Je suis le répondeur hors ligne de headrace : je cite des documents indexés avec leurs sources, je ne "
            "suis pas un modèle de langage, et vous pouvez m'interroger sur leur contenu, par exemple « How do I "
            "start the server? »"
        ),
        quotation=("« ", " »", ", "),
        greetings=_lines(
            "bonjour | salut | bonsoir | coucou | ça va | comment ça va | comment vas tu | comment allez vous"
            " | qui es tu | qui êtes vous | tu es qui | que peux tu faire | aide | merci | comment tu tappelles"
            " | es tu un modèle de langage"
        ),
    ),
    "es": Phrases(
        opening="De los documentos:",
        nothing="Los documentos no contienen nada que responda a esto; busqué {words}.",
        adding="Para añadir documentos: `{command}`.",
        model="No soy un modelo de lenguaje; para preguntar a uno, defina una clave como GROQ_API_KEY o inicie Ollama.",
        introduction=(
            "Soy el contestador sin conexión de headrace: cito documentos indexados con sus fuentes, no soy un modelo "
            "de lenguaje y puede preguntarme por lo que contienen, por ejemplo «How do I start the server?»"
        ),
        quotation=("«", "»", ", "),
        greetings=_lines(
            "hola | buenos días | buenas tardes | buenas noches | buenas | qué tal | hola qué tal | cómo estás"
            " | quién eres | quién es usted | qué eres | qué puedes hacer | ayuda | gracias | cómo te llamas"
            " | eres un modelo de lenguaje"
        ),
    ),
}

_NOT_LETTERS = re.compile(r"[\W_]+")


def greeting(text: str) -> str | None:
    """The language in which `text` is a greeting, thanks, or a question about who answers; `None` where it is not."""
    plain = _NOT_LETTERS.sub(" ", text[:200].replace("'", "").replace("’", "").casefold()).strip()
    plain = plain.removesuffix(" headrace").removeprefix("headrace ")
    return next((language for language, phrases in PHRASES.items() if plain in phrases.greetings), None)


def phrases_for(*languages: str | None) -> Phrases:
    """The phrases of the first of `languages` we have, as `zh` or `zh-CN`; English where we have none."""
    for language in languages:
        phrases = PHRASES.get(re.split("[-_]", language or "")[0].lower())
        if phrases is not None:
            return phrases
    return PHRASES["en"]
