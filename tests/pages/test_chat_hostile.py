"""What a model writes stays what somebody reads: nothing of it runs, and nothing of it asks another host (row O5).

That no host was asked and that the page's policy had nothing to forbid is looked at when every visit ends: a policy
that stops something complains in the console (tests/server/browsing.py).
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page, expect
from tests.pages.hostile import HOSTILE
from tests.pages.test_chat_page import ask, whole
from tests.pages.visiting import House
from tests.server.raw import converse, request

# What may be found below `root` after anything was drawn there: a list of its own, which knows nothing of the page's.
INSPECT = """(root) => {
  const TAGS = new Set(('A B BLOCKQUOTE BR BUTTON CODE DEL DIV EM FIGCAPTION FIGURE H1 H2 H3 H4 H5 H6 HR I KBD LI OL P'
    + ' PRE S SPAN STRONG SUB SUP TABLE TBODY TD TH THEAD TR UL').split(' '));
  const NAMES = /^(align|aria-label|class|data-language|dir|href|rel|role|start|tabindex|target|title|type)$/;
  const wrong = [];
  for (const each of root.querySelectorAll('*')) {
    if (!TAGS.has(each.tagName)) wrong.push(each.outerHTML);
    for (const { name, value } of each.attributes) {
      if (!NAMES.test(name)) wrong.push(`${name}=${value}`);
      if (name === 'href' && !/^(https?:\\/\\/|mailto:)/i.test(value)) wrong.push(`${name}=${value}`);
    }
    if (each.shadowRoot) wrong.push('a shadow root');
  }
  return wrong;
}"""
NAMES = "(all) => all.flatMap((each) => each.getAttributeNames())"
# Draws each text in two pieces, cut at every place, and in pieces of one character; then looks at what is there.
DRAW = f"""async (texts) => {{
  const folder = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
  const {{ Writing }} = await import(folder + 'writing.js');
  const inspect = {INSPECT};
  const host = document.createElement('div');
  document.body.append(host);
  const wrong = [];
  const drawn = (pieces) => {{
    const place = document.createElement('div');
    host.replaceChildren(place);
    const writing = new Writing(place);
    let text = '';
    for (const piece of pieces) while (!writing.draw((text += piece), false)) ;
    while (!writing.draw(text, true)) ;
    return place;
  }};
  let drawings = 0;
  for (const text of texts) {{
    const once = drawn([text]).innerHTML;
    const characters = [...text];
    const cut = (at) => [characters.slice(0, at).join(''), characters.slice(at).join('')];
    for (const pieces of [characters, ...characters.keys().map(cut)]) {{
      drawings += 1;
      const place = drawn(pieces);
      wrong.push(...inspect(place));
      if (place.innerHTML !== once) wrong.push(`not as at once: ${{JSON.stringify(pieces)}}`);
    }}
    await new Promise((resolve) => setTimeout(resolve));
  }}
  await new Promise((resolve) => setTimeout(resolve, 300));
  host.remove();
  return {{ drawings, wrong, broken: window.broken ?? null }};
}}"""


def inspected(page: Page) -> list[str]:
    """What stands in the answers and should not."""
    found: list[str] = page.locator(".prose").evaluate_all(f"(all) => all.flatMap({INSPECT})")
    return found


def unbroken(page: Page) -> None:
    """Whatever could run has had its time, and did not."""
    page.wait_for_timeout(150)
    assert page.evaluate("() => window.broken") is None
    page.keyboard.press("Tab")
    assert page.evaluate("() => window.broken") is None


def test_no_text_becomes_more_than_text_wherever_its_deltas_are_cut(place: House) -> None:
    assert len(HOSTILE) >= 60
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        told = page.evaluate(DRAW, HOSTILE)
    assert told["wrong"] == []
    assert told["broken"] is None
    assert told["drawings"] > sum(map(len, HOSTILE)), "every text, cut at every place"


def test_no_answer_becomes_more_than_text_on_its_way_through_the_server(place: House) -> None:
    hostile = "\n\n".join(HOSTILE)
    with place.visit() as page:
        place.said.pieces = [hostile[at : at + 3] for at in range(0, len(hostile), 3)]
        ask(page)
        whole(page)
        assert inspected(page) == []
        unbroken(page)
        page.reload()
        whole(page)
        assert inspected(page) == []
        unbroken(page)


def test_no_question_thought_or_title_becomes_more_than_text(place: House) -> None:
    with place.visit() as page:
        place.said.rationale, place.said.pieces = [*HOSTILE], ["Well."]
        ask(page, HOSTILE[0] + HOSTILE[len(HOSTILE) // 2] + "<img src=x onerror=window.broken=1>")
        whole(page)
        page.locator(".rationale summary").click()
        assert page.locator(".rationale p").text_content() == "".join(HOSTILE)
        assert page.locator(".rationale p *").count() == 0
        assert set(page.locator(".question *").evaluate_all(NAMES)) <= {"dir"}
        expect(page.locator(".entries li").first).to_contain_text("<script>")
        unbroken(page)
        page.keyboard.press("Control+k")
        page.keyboard.type("window")
        expect(page.get_by_role("option").first).to_be_visible()
        unbroken(page)


def test_no_error_of_an_upstream_becomes_more_than_text(place: House) -> None:
    with place.visit() as page:
        place.said.refusal, place.said.refusal_message = 404, "no <img src=x onerror=window.broken=1> here"
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("<img src=x onerror=window.broken=1>")
        page.get_by_role("button", name="Model").click()
        expect(page.locator("[data-model=fast] .why")).to_contain_text("<img")
        unbroken(page)


def test_no_passage_of_a_document_becomes_more_than_text(place: House) -> None:
    hostile = (
        "# Weirs <img src=x onerror=window.broken=1>\n\nA frobnicated weir is <svg onload=window.broken=1> "
        + HOSTILE[0]
    )
    body = hostile.encode()
    head = ["Content-Type: text/markdown", f"Content-Length: {len(body)}"]
    (added,) = converse(place.server.port, request("POST", "/v1/documents?name=weir%3Cb%3E.md", body, *head))
    assert added.status < 300, added
    document = msgspec.json.decode(added.body, type=dict[str, Any])["id"]
    with place.visit() as page:
        page.get_by_role("button", name="Model").click()
        page.locator("[data-model=offline]").click()
        page.keyboard.press("Escape")
        ask(page, "What is a frobnicated weir?")
        whole(page)
        page.locator(".sources summary").first.click()
        for each in page.locator(".sources li summary").all():
            each.click()
        assert (
            page.locator(".sources").evaluate("(root) => [...root.querySelectorAll('img, svg[onload], script')].length")
            == 0
        )
        expect(page.locator(".sources p").first).to_contain_text("window.broken")
        assert inspected(page) == []
        unbroken(page)
    converse(place.server.port, request("DELETE", f"/v1/documents/{document}"))


@pytest.mark.parametrize("bytes_said", [
    b"<img src=x onerror=window.broken=1>\xff\xfe",
    b"\xc0\xbcscript\xc0\xbewindow.broken=1\xc0\xbc/script\xc0\xbe",
    b"\xed\xa0\x80<script>window.broken=1</script>\xf0\x9f",
], ids=["no UTF-8", "overlong", "surrogate"])  # fmt: skip
def test_bytes_that_are_no_text_end_in_words_and_nothing_else(place: House, bytes_said: bytes) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.raw = ["Before."], bytes_said
        ask(page)
        whole(page)
        expect(page.locator(".prose")).to_contain_text("Before.")
        assert inspected(page) == []
        unbroken(page)
