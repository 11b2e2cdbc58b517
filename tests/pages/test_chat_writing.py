"""Markdown that is drawn while it is written is the Markdown that is drawn at once, and what is finished stays.

The text is drawn in the page, by the page's own module, in pieces that chance cuts; what has to come out is what marked
makes of the whole text, which knows nothing of blocks that were finished before.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.pages.visiting import House

FRAGMENTS = [
    "A paragraph of *some* **words**, `code` and a [link](https://example.com).\n\n",
    "Two lines  \nof one ~~paragraph~~\nand a third.\n\n",
    "# A title\n\n",
    "### Another, with `code` ###\n",
    "A title\n===\n\n",
    "A smaller one\n---\n",
    "---\n\n",
    "- one\n- two\n  - nested\n  - and more\n\n    with a paragraph\n- three\n\n",
    "1. first\n2. second\n   continued\n\n3. loose\n\n",
    "7) seventh\n8) eighth\n\n",
    "- [ ] to do\n- [x] done\n\n",
    "> quoted\n> more\n>\n> - a list in it\n> > deeper\n\n",
    "> lazy\ngoes on\n\n",
    "| a | b |\n| - | -: |\n| 1 | `2|` |\n| **3** | 4\n\n",
    '```python\ndef f(x):\n    return f"<{x}>"\n\n\n# end\n```\n\n',
    "~~~~\n~~~\nnot the end\n~~~~\n",
    "```\nno language\n```\n",
    "- in a list\n  ```js\n  let a = '`';\n  ```\n- after it\n\n",
    "    indented code\n\n    goes on\n\n",
    "Sums: 3 * 4 * 5 = 60, a_b_c, snake_case_word, 2 < 3 & 4 > 1.\n\n",
    "<div>\nraw <b>html</b>\n</div>\n\n",
    "H<sub>2</sub>O, x<sup>2</sup>, <kbd>Ctrl</kbd><br>and on.\n\n",
    "![a picture](https://example.com/x.png) and https://example.com/bare?a=1&b=2.\n\n",
    "Escapes: \\* \\# \\[x\\] \\`y\\` &amp; &copy; &#35;\n\n",
    "**bold that never closes, *and more\n\n",
    "An open `code that never closes\n\n",
    "日本語の段落、**強調**。\n\nمرحبا **بالعالم**، `code`.\n\n👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 𝒻\n\n",
    "A very long line " + "of many words " * 60 + "\n\n",
    "line one\r\nline two\r\n\r\n",
    "\n\n\n",
    "***\n",
    "* * *\n\n",
    "+ plus\n+ list\n\n\n\nAfter three empty lines.\n\n",
]
DEFINED = "A [link][there] and [there].\n\n", "[there]: https://example.com/there 'a title'\n\n"

# Draws texts piece by piece. Gives what is wrong: a block that was finished and is not where and what it was any more,
# or a text that is not the one that the whole makes.
DRAW = """async (texts) => {
  const folder = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
  const { Writing } = await import(folder + 'writing.js');
  const { blocksOf, elementsOf } = await import(folder + 'markdown.js');
  const host = document.createElement('div');
  document.body.append(host);
  const bare = (element) => {
    const copy = element.cloneNode(true);
    for (const each of copy.querySelectorAll('figcaption, button')) each.remove();
    return copy.textContent.replace(/\\s+/g, ' ').trim();
  };
  const wrong = [];
  let drawings = 0;
  for (const { pieces, redrawn } of texts) {
    const place = document.createElement('div');
    host.replaceChildren(place);
    const writing = new Writing(place);
    let text = '';
    let finished = [];
    const look = () => {
      drawings += 1;
      const now = [...place.children];
      for (const [at, { block, text }] of finished.entries())
        if (now[at] !== block || block.textContent !== text) wrong.push(['moved', at, JSON.stringify(pieces)]);
      finished = now.filter((each) => !each.matches('.tail')).map((block) => ({ block, text: block.textContent }));
    };
    for (const piece of pieces) {
      text += piece;
      while (!writing.draw(text, false)) look();
      look();
    }
    while (!writing.draw(text, true)) look();
    if (!redrawn) look(); // a text with addresses at its foot is drawn anew once, at its end
    const whole = document.createElement('div');
    whole.append(elementsOf(blocksOf(text.replaceAll('\\r', ''))));
    if (bare(place) !== bare(whole)) wrong.push(['other', bare(place), bare(whole), JSON.stringify(pieces)]);
    if (drawings % 50 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  host.remove();
  return { wrong, drawings };
}"""


def cut(text: str, chance: random.Random, most: int) -> list[str]:
    """The text in pieces of one to so many characters."""
    pieces = []
    while text:
        length = chance.randint(1, most)
        pieces.append(text[:length])
        text = text[length:]
    return pieces


def drawn(page: Page, texts: list[list[str]], *, redrawn: bool = False) -> int:
    told: Any = page.evaluate(DRAW, [{"pieces": pieces, "redrawn": redrawn} for pieces in texts])
    assert told["wrong"] == []
    return int(told["drawings"])


@pytest.mark.parametrize("texts", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_text_written_in_any_pieces_is_the_text_drawn_at_once_and_what_is_finished_stays(
    place: House, texts: int
) -> None:
    chance = random.Random(20)
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        for _ in range(texts // 20):
            some = ["".join(chance.choices(FRAGMENTS, k=chance.randint(2, 9))) for _ in range(20)]
            assert drawn(page, [cut(text, chance, chance.choice([1, 4, 30])) for text in some]) > 20


def test_text_that_is_longer_than_one_reading_is_the_text_drawn_at_once(place: House) -> None:
    chance = random.Random(21)
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        some = ["".join(chance.choices(FRAGMENTS, k=120)) for _ in range(8)]
        drawn(page, [[text] for text in some])  # all at once, as after a reload
        drawn(page, [cut(text, chance, 900) for text in some])


def test_one_block_at_a_time_is_the_text_drawn_at_once_wherever_it_is_cut(place: House) -> None:
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        texts = [f"Before.\n\n{each}After.\n" for each in FRAGMENTS if len(each) < 200]
        drawn(page, [[text[:at], text[at:]] for text in texts for at in range(1, len(text))])
        drawn(page, [list(text) for text in texts])


def test_addresses_at_the_foot_of_a_text_reach_the_links_before_them(place: House) -> None:
    chance = random.Random(22)
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        for _ in range(3):
            some = ["".join([DEFINED[0], *chance.choices(FRAGMENTS, k=6), DEFINED[1], "End."]) for _ in range(5)]
            drawn(page, [cut(text, chance, 20) for text in some], redrawn=True)
