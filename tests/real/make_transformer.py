"""Makes a folder with a language model that `transformers serve` can load: two layers of random weights.

Run in the environment that has transformers: `python make_transformer.py FOLDER`. The same weights each time.
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from training_text import training_text
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<unk>", "<s>", "</s>")
# Written as transformers wants it; every template of a real model puts roles and texts one after another like this.
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def tokenizer() -> PreTrainedTokenizerFast:
    """Pieces of the training text. No letter but its own is in it, so that no token is half a character."""
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=[*SPECIAL], initial_alphabet=[], show_progress=False)
    pieces.train_from_iterator([training_text()], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    made.chat_template = TEMPLATE
    return made


def main(folder: str) -> None:
    """Writes weights, tokenizer and settings."""
    words = tokenizer()
    torch.manual_seed(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32768,
            bos_token_id=1,
            eos_token_id=2,
            # Wide, so that one token is clearly likelier than the others: the same on every processor.
            initializer_range=0.3,
            tie_word_embeddings=False,
        )
    )
    # It never comes to an end by itself: a limit or a stop word ends it, and a test knows which.
    model.generation_config = GenerationConfig(
        bos_token_id=1, eos_token_id=2, suppress_tokens=[0, 1, 2], do_sample=True
    )
    model.save_pretrained(folder)
    words.save_pretrained(folder)


main(sys.argv[1])
