"""Which files of a working directory are trusted: by their place and their content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.settings.trust import not_trusting, read_record, trust_in, trusting, why_not, write_record

PLACE = "/home/me/project/headrace.toml"


def test_a_file_is_trusted_until_it_changes() -> None:
    record = trusting({}, PLACE, b"server.auth = false")
    assert trust_in(record, PLACE, b"server.auth = false") == "trusted"
    assert trust_in(record, PLACE, b"server.auth = false\n") == "changed"
    assert trust_in(trusting(record, PLACE, b"new"), PLACE, b"new") == "trusted"


def test_the_same_content_elsewhere_is_not_trusted() -> None:
    record = trusting({}, PLACE, b"x")
    assert trust_in(record, "/home/me/cloned/headrace.toml", b"x") == "unknown"


def test_what_is_trusted_no_more_is_a_stranger() -> None:
    record = not_trusting(trusting({}, PLACE, b"x"), PLACE)
    assert trust_in(record, PLACE, b"x") == "unknown"
    assert not_trusting(record, PLACE) == record


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=8)))
def test_a_record_is_read_back_as_it_was_written(files: dict[str, bytes]) -> None:
    record: dict[str, str] = {}
    for place, content in files.items():
        record = dict(trusting(record, place, content))
    assert read_record(write_record(record)) == record


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"trusted": ["x"]}', b'{"trusted": {}, "all": true}'])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_record(data)


def test_a_refusal_says_how_to_trust_and_whether_the_file_changed() -> None:
    assert "settings trust" in why_not("./.env", changed=False)
    assert "has changed since you trusted it" in why_not("./.env", changed=True)
