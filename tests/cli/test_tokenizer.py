"""A model whose settings name a tokenizer, with the extra installed and without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import tokenizers
from tests.cli.conftest import Command, Upstream, delta, finish
from tokenizers import models, pre_tokenizers

Upstreams: TypeAlias = Callable[..., Upstream]


def with_tokenizer(command: Command, upstreams: Upstreams) -> str:
    """A file of settings whose model `fast` has a tokenizer of words, and an upstream that reports no usage."""
    made = tokenizers.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(command.folder / "words.json"))
    model = '[[models]]\nname = "fast"\nupstreams = ["lab/tiny"]\ntokenizer = "words.json"\n'
    return command.settings(upstreams(delta("Yes, bread."), finish(usage=False)).toml + model)


def test_without_the_extra_it_is_named_before_anything_is_asked(command: Command, upstreams: Upstreams) -> None:
    named = with_tokenizer(command, upstreams)
    hidden = command.folder / "hidden"
    hidden.mkdir()
    (hidden / "tokenizers.py").write_text("raise ModuleNotFoundError\n")
    for arguments in (["serve", "--port", "0"], ["ask", "-m", "fast", "Is there bread?"]):
        told = command.run(*arguments, "--config", named, PYTHONPATH=str(hidden))
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr == "the tokenizer of model \"fast\" needs an extra: pip install 'headrace[tokens]'\n"


def test_a_file_that_is_not_there_is_named(command: Command) -> None:
    named = command.settings('[[models]]\nname = "fast"\nupstreams = ["offline/offline"]\ntokenizer = "no.json"\n')
    told = command.run("serve", "--port", "0", "--config", named)
    assert told.returncode == 2
    assert told.stderr == 'the tokenizer of model "fast", no.json, cannot be read: No such file or directory\n'


def test_the_tokenizers_library_is_imported_only_where_a_model_names_a_file(command: Command) -> None:
    hidden = command.folder / "hidden"
    hidden.mkdir()
    (hidden / "tokenizers.py").write_text("raise SystemExit('imported')\n")
    told = command.run("ask", "What is an offset?", PYTHONPATH=str(hidden))
    assert told.returncode == 0, told.stderr
