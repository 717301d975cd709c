"""Text models of transformers, small and with random weights, against model and tokenizer used by hand."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from simdata import encoders
from simdata.common.errors import UserError
from simdata.common.words import words_of

STORY = "The cat sat on the mat, and then it slept. Nobody knew why the café was unbelievably quiet"
WORDS = STORY.split()
SAID = words_of([(0.7 * number, 0.7 * number + 0.5, word) for number, word in enumerate(WORDS)])
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
VOCABULARY = 320


def byte_level():
    """A tokenizer of GPT-2's kind."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    made.train_from_iterator([STORY], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made)


def word_pieces():
    """A tokenizer of BERT's kind, which puts a token of its own before and behind the text."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL)
    made.train_from_iterator([STORY], trainer)
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder, ends = tmp_path_factory.mktemp("models"), {"bos_token_id": 0, "eos_token_id": 0}
    sizes = {"vocab_size": VOCABULARY, "pad_token_id": 0}
    torch.manual_seed(0)
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    t5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 2}
    made = {
        "gpt2": (GPT2LMHeadModel(GPT2Config(**gpt2, **sizes, **ends)), byte_level()),
        "bert": (BertForMaskedLM(BertConfig(**bert, **sizes)), word_pieces()),
        "t5": (T5ForConditionalGeneration(T5Config(**t5, **sizes)), word_pieces()),
    }
    for name, (model, tokenizer) in made.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def by_hand(folder, start, context, layer=None, window=3):
    """The mean hidden state of the window's tokens, by the library's own calls for one text."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    said = [w for w in SAID.tolist() if start - context <= w[0] < start + window]
    before = " ".join(w[2] for w in said if w[0] < start)
    text = " ".join(w[2] for w in said)
    found = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    (letters,) = found.pop("offset_mapping").numpy()
    own = (letters[:, 1] > len(before)) & (letters[:, 1] > letters[:, 0])
    own &= np.array([text[a:b].strip() != "" for a, b in letters])
    with torch.no_grad():
        output = model(found["input_ids"], output_hidden_states=True)
    hidden = output.last_hidden_state if layer is None else output.hidden_states[layer]
    return hidden[0, own].mean(dim=0).numpy()


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
@pytest.mark.parametrize(("context", "layer"), [(20, None), (4, 1), (0, None)])
def test_a_row_is_the_mean_of_the_windows_own_tokens_behind_the_words_before(folders, name, context, layer):
    chosen = f",layer={layer}" if layer else ""
    encoder = encoders.create(
        f"language_model,weights={folders / name},context={context},batch_size=3{chosen}"
    )
    starts = np.arange(10)
    rows = encoder.encode(SAID, starts)
    expected = [by_hand(folders / name, start, context, layer) for start in starts]
    np.testing.assert_allclose(rows, expected, atol=2e-6)
    assert encoder.array == "text_language_model"
    assert len(encoder.weights_sha256) == 64


def test_what_was_said_before_matters_and_what_comes_later_does_not(folders):
    encoder = encoders.create(f"language_model,weights={folders / 'gpt2'},context=5")
    start = np.array([6])
    row = encoder.encode(SAID, start)
    later, before = SAID.copy(), SAID.copy()
    later["text"][later["onset"] >= 9] = "other"
    before["text"][(before["onset"] > 2) & (before["onset"] < 3)] = "other"
    np.testing.assert_array_equal(encoder.encode(later, start), row)
    assert np.abs(encoder.encode(before, start) - row).max() > 1e-3
    before = SAID.copy()
    before["text"][before["onset"] < 1] = "other"
    np.testing.assert_array_equal(encoder.encode(before, start), row)


def test_windows_without_words_are_zero_or_nan(folders):
    silent, weights = words_of([(9.0, 9.5, "late")]), f"language_model,weights={folders / 'bert'}"
    rows = encoders.create(weights).encode(silent, np.array([0, 8]))
    assert not rows[0].any()
    assert rows[1].any()
    rows = encoders.create(f"{weights},silence=nan").encode(silent, np.array([0, 8]))
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()


@pytest.mark.parametrize("limit", [4, 8, 12])
def test_a_text_too_long_for_the_model_loses_its_oldest_words(folders, tmp_path, limit):
    """Whole words, and those of the window at last: as if fewer had been said."""
    model, tokenizer = GPT2LMHeadModel.from_pretrained(folders / "gpt2"), byte_level()
    tokenizer.model_max_length = limit
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    short = encoders.create(f"language_model,weights={tmp_path},context=20")
    whole = encoders.create(f"language_model,weights={folders / 'gpt2'},context=20")
    start = np.array([6])
    said = SAID[SAID["onset"] < 9]
    lengths = [len(tokenizer(" ".join(said["text"][first:]))["input_ids"]) for first in range(len(said))]
    first = next(place for place, length in enumerate(lengths) if length <= limit)
    assert first > 0
    np.testing.assert_allclose(short.encode(SAID, start), whole.encode(said[first:], start), atol=2e-6)


def test_lowercase(folders):
    weights, start = f"language_model,weights={folders / 'gpt2'}", np.array([3])
    loud, quiet = SAID.copy(), SAID.copy()
    loud["text"] = [word.upper() for word in SAID["text"]]
    quiet["text"] = [word.lower() for word in SAID["text"]]
    lowered = encoders.create(f"{weights},lowercase=true").encode(loud, start)
    np.testing.assert_array_equal(lowered, encoders.create(weights).encode(quiet, start))


def test_what_is_no_model_is_one_message(folders, tmp_path):
    with pytest.raises(UserError, match="language_model: no weights; write weights=FOLDER"):
        encoders.create("language_model")
    with pytest.raises(UserError, match=r"has no config\.json"):
        encoders.create(f"language_model,weights={tmp_path}")
    with pytest.raises(UserError, match=r"layer=3: choose 1 to 2, the model's blocks"):
        encoders.create(f"language_model,weights={folders / 'gpt2'},layer=3")
    GPT2Config(n_embd=16).save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"has no \*\.safetensors or pytorch_model\*\.bin"):
        encoders.create(f"language_model,weights={tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="its model cannot be read"):
        encoders.create(f"language_model,weights={tmp_path}")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="its tokenizer cannot be read"):
        encoders.create(f"language_model,weights={tmp_path}")


def test_a_model_of_which_a_part_is_missing_is_refused(folders, tmp_path):
    model = GPT2LMHeadModel.from_pretrained(folders / "gpt2")
    state = {
        key: value
        for key, value in model.state_dict().items()
        if "h.1.mlp" not in key and key != "lm_head.weight"
    }
    model.save_pretrained(tmp_path, state_dict=state)
    byte_level().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"does not fit GPT2Model \(missing: h\.1\.mlp"):
        encoders.create(f"language_model,weights={tmp_path}")
