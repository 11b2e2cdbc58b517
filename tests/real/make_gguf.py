"""Makes a GGUF file that llama.cpp can load: two layers of random weights.

Run in the environment that has `gguf`: `python make_gguf.py FILE`. The same weights each time.
"""

import string
import sys
from collections import Counter

import gguf
import numpy
from training_text import training_text

WIDTH, HIDDEN, LAYERS, HEADS, CONTEXT, WORDS = 64, 128, 2, 4, 32768, 400
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
SPACE = "▁"  # how SentencePiece writes one


def vocabulary() -> list[str]:
    """The special tokens, each character of ASCII, and the commonest words with the space before them."""
    common = Counter(word for word in training_text().split() if word.isalpha() and len(word) > 1)
    characters = [SPACE, "\n", *string.digits, *string.ascii_letters, *string.punctuation]
    return ["<unk>", "<s>", "</s>", *characters, *(SPACE + word for word, _ in common.most_common(WORDS))]


def main(path: str) -> None:
    """Writes the file."""
    words, chance = vocabulary(), numpy.random.default_rng(7)

    def weights(*shape: int) -> numpy.ndarray:
        return chance.normal(0, 0.3, shape).astype(numpy.float32)

    file = gguf.GGUFWriter(path, "llama")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(LAYERS)
    file.add_feed_forward_length(HIDDEN)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(words))
    file.add_tokenizer_model("llama")
    file.add_token_list(words)
    file.add_token_scores([0.0] * 3 + [float(len(word)) for word in words[3:]])
    special = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    file.add_token_types([*special, *([gguf.TokenType.NORMAL] * (len(words) - 3))])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_unk_token_id(0)
    file.add_chat_template(TEMPLATE)
    file.add_tensor("token_embd.weight", weights(len(words), WIDTH))
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            file.add_tensor(f"{block}{name}.weight", weights(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            file.add_tensor(f"{block}{name}.weight", weights(HIDDEN, WIDTH))
        file.add_tensor(f"{block}ffn_down.weight", weights(WIDTH, HIDDEN))
        for name in ("attn_norm", "ffn_norm"):
            file.add_tensor(f"{block}{name}.weight", numpy.ones(WIDTH, numpy.float32))
    file.add_tensor("output_norm.weight", numpy.ones(WIDTH, numpy.float32))
    output = weights(len(words), WIDTH)
    output[:3] = 0  # as good as never said, so that a limit or a stop word ends it, and a test knows which
    file.add_tensor("output.weight", output)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


main(sys.argv[1])
