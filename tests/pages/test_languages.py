"""What the page says by itself is said in every language, and nowhere else than in the languages' files (row O5)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

import headrace

FOLDER = Path(headrace.__file__).parent / "pages" / "chat"
Sayings: TypeAlias = dict[str, str | dict[str, str]]
LANGUAGES: dict[str, Sayings] = {
    path.stem: msgspec.json.decode(path.read_bytes(), type=Sayings) for path in (FOLDER / "languages").glob("*.json")
}
# The forms that a number asks for, as Intl.PluralRules and the CLDR name them.
FORMS = {"en": {"one", "other"}, "de": {"one", "other"}, "ar": {"zero", "one", "two", "few", "many", "other"}}
MODULES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js")}
# Names that are the same in every language.
NO_WORDS = {"headrace", "Ctrl K", "?"}


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_o5_every_language_says_the_same_things(code: str) -> None:
    english, said = LANGUAGES["en"], LANGUAGES[code]
    assert set(said) == set(english)
    for name, saying in said.items():
        known = english[name]
        assert isinstance(saying, dict) == isinstance(known, dict), name
        if isinstance(saying, str):
            assert isinstance(known, str)
            assert places(saying) == places(known), name
            assert saying.strip(), name
            continue
        assert isinstance(known, dict)
        assert set(saying) == FORMS[code], name
        for form in saying.values():  # a form for one or none may say the number as a word
            assert places(known["other"]) - places(form) <= {"count"}, name
            assert places(form) <= places(known["other"]), name


def test_o5_the_page_knows_the_languages_there_are() -> None:
    declared = re.search(r"export const LANGUAGES = \{(.+?)\}", MODULES["words.js"])
    assert declared is not None
    assert set(re.findall(r"(\w+):", declared[1])) == set(LANGUAGES)
    assert set(LANGUAGES) == set(FORMS)


def test_o5_what_is_said_is_known_and_what_is_known_is_said() -> None:
    source = "\n".join(MODULES.values())
    literal = set(re.findall(r'"([a-z]\w*(?:\.\w+)*)"', source))
    prefixes = set(re.findall(r"say\(`([\w.]+\.)\$\{", source)) | set(re.findall(r"say\(`(\w+\.)\$\{", source))
    for name in LANGUAGES["en"]:
        assert name in literal or any(name.startswith(prefix) for prefix in prefixes), f"{name} is never said"
    for name in re.findall(r'say\(\s*"([^"]+)"', source):
        assert name in LANGUAGES["en"], f"{name} is said, and in no file"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_o5_no_module_says_anything_in_words_of_its_own(module: str) -> None:
    for template in re.findall(r"html`(.*?)`;?\n", MODULES[module], re.DOTALL):
        bare = re.sub(r"\$\{[^{}]*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*\}", "", template)
        said = [each.strip() for each in re.findall(r">([^<>$`{}=]*[A-Za-z][^<>$`{}=]*)<", bare)]
        assert [each for each in said if each not in NO_WORDS] == []
    said = re.findall(r'(?:title|aria-label|placeholder|alt)="([^"$]+)"', MODULES[module])
    assert said == [], "an attribute that is read out"
    assert re.findall(r'setAttribute\("aria-label", ["`]', MODULES[module]) == []


def test_every_module_is_asked_for_at_once() -> None:
    page = (FOLDER.parent / "chat.html").read_text(encoding="utf-8")
    asked = re.findall(r'"modulepreload" href="\{\{files\}\}/chat/([^"]+)"', page)
    assert sorted(asked) == sorted(MODULES.keys() - {"theme.js"})  # which is no module: it runs before the first paint
