"""Text as index words, and a question as the terms that carry its meaning. Pure: the standard library only.

An index word is what two spellings of the same word have in common: lower case, no diacritics, no Arabic vowel
signs, Western digits, English inflections folded. Scripts written without spaces (Chinese, Japanese, Korean) give
overlapping pairs of characters, and the single characters as well, so that a question of one character finds something.
Where words are kept and counted is in `index.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from headrace.knowledge.stop_words import STOP_PHRASES, STOP_WORDS

MOST_TERMS = 32
"""Terms of a question that are looked for; what comes later is left out, so that a pasted book stays a quick search."""

_SHORTEST_BEGINNING = 5  # letters; fewer begin too many different words
_LONGEST_WORD = 64  # longer runs are hashes and encoded data: nobody asks for their tail
_LONGEST_QUESTION = 4_000  # characters; a question says what it is about within them

# Kana, Han, Hangul: no spaces, or (Korean) endings grown onto the words, for which pairs work as well.
_DENSE = "々〇\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs of Indic scripts and Thai are part of the word, though Python's \w leaves them out; dandas are not.
_MARKS = "\u0900-\u0963\u0966-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_WORD = re.compile(rf"(?:[^\W_]|[{_MARKS}])+")
_RUN = re.compile(rf"[{_DENSE}]+|[^{_DENSE}]+")
_OWN_LETTERS = {"de": "äöüß", "fr": "àçèêœ", "es": "¿¡ñóí"}  # between languages that share many small words
_PUNCTUATION = re.compile(r"\A[\W_]+|[\W_]+\Z")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+\\Z")
_DENSE_RUN = re.compile(rf"[{_DENSE}]+\Z")

# Latin, Greek and Cyrillic accents; Arabic hamza, vowel signs and Koran marks; tatweel; zero-width and soft hyphen.
_DROPPED = re.compile(
    "[\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0640\u00ad\u200b-\u200f\u2060\ufeff]"
)
_FOLDED = str.maketrans(
    {
        # Arabic letters that hands write alike: alef wasla, alef maqsura, Farsi yeh, ta marbuta, Farsi kaf.
        **dict(zip("\u0671\u0649\u06cc\u0629\u06a9", "\u0627\u064a\u064a\u0647\u0643", strict=True)),
        **{chr(0x0660 + digit): str(digit) for digit in range(10)},
        **{chr(0x06F0 + digit): str(digit) for digit in range(10)},
        # Letters that do not decompose.
        **dict(zip("øłđðı", "olddi", strict=True)),
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
    }
)
_ARABIC = re.compile("[\u0621-\u064a]+\\Z")
# The article, with the conjunctions and prepositions that are written onto it: wa-l-, fa-l-, bi-l-, ka-l-, li-l-.
_ARTICLE = re.compile("(?:[\u0648\u0641]?[\u0628\u0643]?\u0627\u0644|[\u0648\u0641]?\u0644\u0644)(?=.{2})")
_VOWELS = frozenset("aeiouy")


@dataclass(frozen=True, slots=True)
class Term:
    """One thing a question asks for. Any of its forms in a text is the term in that text."""

    surface: str
    """As a person reads it; the characters of one Chinese phrase share theirs."""
    forms: tuple[str, ...]
    share: float = 1.0
    """What it counts: a character of Chinese is half a word."""

    @property
    def beginning(self) -> str | None:
        """What another form of the same word would begin with; `None` where so little of it would say nothing."""
        word = self.forms[0]
        return word[: max(_SHORTEST_BEGINNING, len(word) - 2)] if len(word) >= _SHORTEST_BEGINNING else None


def index_words(text: str) -> list[str]:
    """The index words of `text`, in order and with repetitions.

    A word is made of lower-case ASCII letters, digits and non-ASCII characters, so it has no meaning in a query.
    """
    found: list[str] = []
    for run in _runs(_plain(text)):
        if _DENSE_RUN.match(run):
            found.extend(run)
            found.extend(first + second for first, second in pairwise(run))
        else:
            found.append(_folded(run))
    return found


def question_terms(question: str) -> list[Term]:
    """What `question` asks for: its words without stop words, each once, at most `MOST_TERMS`, in order."""
    terms: dict[tuple[str, ...], Term] = {}
    written = [(word, list(_runs(_plain(word)))) for word in question[:_LONGEST_QUESTION].split()]
    spoken = _spoken(question, [run for _, runs in written for run in runs])
    stop_words = STOP_WORDS["en"].union(*(STOP_WORDS[language] for language in spoken))
    for word, runs in written:
        for run in runs:
            surface = _PUNCTUATION.sub("", word) if len(runs) == 1 else run
            for term in _dense_terms(run) if _DENSE_RUN.match(run) else _spaced_terms(run, surface, stop_words):
                terms.setdefault(term.forms, term)
        if len(terms) >= MOST_TERMS:
            break
    return list(terms.values())[:MOST_TERMS]


def question_language(question: str) -> str | None:
    """The language `question` seems to be in, as `zh` or `de`; `None` where nothing speaks for one we know."""
    question = question[:_LONGEST_QUESTION]
    runs = list(_runs(_plain(question)))
    han, arabic = (sum(len(run) for run in runs if script.match(run)) for script in (_HAN, _ARABIC))
    letters = sum(map(len, runs))
    if han * 4 > letters:  # one Chinese character says as much as a few letters
        return "zh"
    if arabic * 2 > letters:
        return "ar"
    spoken = _spoken(question, runs)
    if spoken:
        return spoken[0]
    return "en" if any(run in STOP_WORDS["en"] for run in runs) else None


def _spoken(question: str, runs: list[str]) -> list[str]:
    """The languages other than English that the words of a question speak for, the likeliest first; most often none.

    One stop word proves little ("car" is French for "for"): two of them, and no fewer than English has, do.
    """
    counts = {language: sum(len(run) > 1 and run in words for run in runs) for language, words in STOP_WORDS.items()}
    english = counts.pop("en")
    # Arabic has letters of its own: one of its words is proof.
    least = {language: 1 if language == "ar" else max(2, english) for language in counts}
    likely = [language for language, count in counts.items() if count >= least[language]]
    own = {language: sum(letter in question for letter in letters) for language, letters in _OWN_LETTERS.items()}
    return sorted(likely, key=lambda language: -counts[language] - own.get(language, 0))


def _plain(text: str) -> str:
    """Lower case, compatibility forms taken apart, what does not tell words apart taken away."""
    if text.isascii():
        return text.lower()
    # Twice: some signs come apart into capitals, and some small letters fold into what can be taken apart.
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Put together again: Hangul syllables and voiced kana were taken apart as well.
    return unicodedata.normalize("NFC", _DROPPED.sub("", apart)).translate(_FOLDED)


def _runs(plain: str) -> Iterator[str]:
    for word in _WORD.findall(plain):
        if word.isascii():
            yield word
        else:
            yield from _RUN.findall(word)


def _folded(word: str) -> str:
    if word.isascii():
        return fold_english(word)[:_LONGEST_WORD]
    if _ARABIC.match(word):
        return _ARTICLE.sub("", word, count=1)[:_LONGEST_WORD] if _ARTICLE.match(word) else word[:_LONGEST_WORD]
    return word[:_LONGEST_WORD]


def fold_english(word: str) -> str:
    """`word` without plural, -ing and -ed, and without what spelling adds or drops before them.

    No stemmer: three endings that questions and manuals put on the same word ("streams", "streaming", "streamed"). It
    also runs over other languages in ASCII, where it does no harm, since both sides of a search are folded alike.
    """
    if len(word) < 3 or not word.isalpha():
        return word
    if word.endswith(("ies", "ied")) and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and not _VOWELS.isdisjoint(stem) and stem[-1] != "e":
            # Three letters are a stem only as in "nam(ed)" or "add(ed)", not as in "emb(ed)".
            if len(stem) > 3 or stem[-2] in _VOWELS or stem[-1] == stem[-2]:
                word = stem
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 2 and word[-1] == word[-2] and word[-1] not in _VOWELS:
        word = word[:-1]
    return word


def _spaced_terms(run: str, surface: str, stop_words: frozenset[str]) -> Iterator[Term]:
    if run in stop_words or (len(run) == 1 and not run.isdigit()):
        return
    forms = [_folded(run)]
    # One letter for "and", "in", "to" written onto an Arabic word: the word may stand in the text without it.
    if _ARABIC.match(run) and len(run) > 4 and run[0] in "\u0648\u0628\u0644\u0641":
        forms.append(_folded(run[1:]))
    if forms[0] not in stop_words:
        yield Term(surface, tuple(dict.fromkeys(forms)))


def _dense_terms(run: str) -> Iterator[Term]:
    """A term for each character, found by any pair it is part of.

    Which pairs are words is not known without a dictionary. A character that a text covers by either of its pairs is
    covered; so a pair that spans two words ("装服" in 安装服务器) costs nothing.
    """
    for segment in STOP_PHRASES.split(run):
        pairs = [first + second for first, second in pairwise(segment)]
        for place, character in enumerate(segment):
            yield Term(segment, tuple(pairs[max(0, place - 1) : place + 1]) or (character,), 0.5)
