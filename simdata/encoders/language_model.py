"""Language models of the transformers library, which read the words of a window behind those said before it.

The model is given one text for each window: the words that begin in the ``context`` s before it, and those
that begin in it, with a space between two. A row is the mean of the hidden states of the window's own tokens,
so it tells of the window's words as the model understands them behind the others. Models that read from left
to right know of nothing later; others (BERT's kind) know of the whole text. Of a model with an encoder and a
decoder it is the encoder.

A text with more tokens than the model takes loses its oldest words, at last those of the window. A window
without a word has zeros, or is NaN with ``silence=nan``: clips without words are in no window then.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.encoders.base import TextEncoder
from simdata.encoders.huggingface import check_keys, quiet
from simdata.encoders.inference import Inference, ModelSettings

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
UNUSED = "pooler."  # of BERT's kind: behind the hidden states, and absent from many files
NO_LIMIT = 1_000_000  # tokens: tokenizers that do not know of one say more
HOW = "write weights=FOLDER behind the encoder's name, a folder that `hf download` or `save_pretrained` made"


class LanguageModelSettings(ModelSettings):
    """``layer`` None is the model's own output; ``batch_size`` counts windows."""

    context: Annotated[
        int, Field(ge=0, le=600, description="s of words before the window that are read too")
    ] = 20
    silence: Annotated[
        Literal["zero", "nan"], Field(description="what a window without words is: zeros, or no row")
    ] = "zero"
    lowercase: Annotated[bool, Field(description="for transcripts in capitals")] = False


class LanguageModel(TextEncoder):
    """Mean hidden state of the tokens of a window's words: (n, width of the model) float32."""

    encoder = "language_model"
    summary = "a text model of transformers, by weights=FOLDER, with the words before"
    Settings = LanguageModelSettings
    settings: LanguageModelSettings

    def __init__(self, settings: LanguageModelSettings | None = None) -> None:
        super().__init__(settings)
        if self.settings.weights is None:
            raise UserError(f"{self.encoder}: no weights; {HOW}")
        self._folder = self.settings.weights.expanduser()
        self._tokenizer = _load_tokenizer(self.encoder, self._folder)
        model = _load_model(self.encoder, self._folder)
        config, layer = model.config, self.settings.layer
        if layer is not None and layer > config.num_hidden_layers:
            raise UserError(
                f"{self.encoder}: layer={layer}: choose 1 to {config.num_hidden_layers}, the model's blocks"
            )
        self.features = config.hidden_size
        self.weights_sha256 = _digest(self._folder)
        self._limit = min(
            self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or NO_LIMIT
        )
        self._stated = {"architecture": type(model).__name__, "blocks": config.num_hidden_layers}
        self._inference = Inference(self.encoder, _MeanOfOwnTokens(model, layer), self.settings)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        silent = 0.0 if self.settings.silence == "zero" else np.nan
        rows = np.full((len(starts), self.features), silent, np.float32)
        read = {row: self._read(span, int(start)) for row, start in enumerate(starts)}
        spoken = [row for row, tokens in read.items() if tokens is not None]
        texts = [tokens for tokens in read.values() if tokens is not None]
        if texts:
            rows[spoken] = self._inference(
                len(texts), lambda part: self._padded(texts[part]), lambda out: out
            )
        return rows

    def _read(self, words: np.ndarray, start: int) -> np.ndarray | None:
        """(2, tokens) int64 of a window's text: tokens, and which are its own words'; None without words."""
        times = (start - self.settings.context, start, start + self.window)
        first, own, last = np.searchsorted(words["onset"], times)
        if own == last:
            return None
        texts = [
            str(text).lower() if self.settings.lowercase else str(text) for text in words["text"][first:last]
        ]
        before = int(own - first)
        while True:
            begins = np.cumsum([0, *(len(text) + 1 for text in texts)])  # letter at which each word begins
            found = self._tokenizer(" ".join(texts), return_offsets_mapping=True, verbose=False)
            tokens, letters = np.array(found["input_ids"]), np.array(found["offset_mapping"])
            if len(tokens) <= self._limit or len(texts) == 1:
                mine = (letters[:, 1] > begins[before]) & (letters[:, 1] > letters[:, 0])
                return np.stack([tokens, mine])[:, : self._limit] if mine.any() else None
            excess = len(tokens) - self._limit
            real = letters[letters[:, 1] > letters[:, 0]]
            gone = int(np.searchsorted(begins, real[min(excess, len(real) - 1), 0], side="left"))
            gone = min(max(gone, 1), len(texts) - 1)
            texts, before = texts[gone:], max(before - gone, 0)

    def _padded(self, texts: list[np.ndarray]) -> Tensor:
        """(n, 3, tokens) int64: tokens, which are there, and which are the window's own."""
        padded = np.zeros((len(texts), 3, max(text.shape[1] for text in texts)), np.int64)
        padded[:, 0] = self._tokenizer.pad_token_id or 0
        for place, text in zip(padded, texts, strict=True):
            length = text.shape[1]
            place[0, :length], place[1, :length], place[2, :length] = text[0], 1, text[1]
        return self._inference.to_device(padded)

    def parameters(self) -> dict[str, Any]:
        return {
            **self._stated,
            "weights": self._folder.name,
            "layer": self.settings.layer,
            "precision": self._inference.precision,
            "pooling": "mean over the tokens of the words that begin in the window",
            "context_s": self.settings.context,
            "tokens_at_most": self._limit,
            "too_long": "the oldest words are left out",
            "without_words": self.settings.silence,
            "lowercase": self.settings.lowercase,
        }


class _MeanOfOwnTokens(nn.Module):
    """(n, 3, tokens) int64 as `LanguageModel._padded` -> (n, width) float32."""

    def __init__(self, model: PreTrainedModel, layer: int | None) -> None:
        super().__init__()
        self._model, self._layer = model, layer

    def forward(self, packed: Tensor) -> Tensor:
        tokens, there, own = packed.unbind(dim=1)
        output = self._model(tokens, attention_mask=there, output_hidden_states=self._layer is not None)
        hidden = output.last_hidden_state if self._layer is None else output.hidden_states[self._layer]
        share = own / own.sum(dim=1, keepdim=True)
        return torch.einsum("nt,ntw->nw", share.float(), hidden.float())


def _load_tokenizer(encoder: str, folder: Path) -> Any:
    """A tokenizer that knows of each token from which letters it is."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{encoder}: weights={folder}: has no config.json; {HOW}")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many kinds
        raise _unreadable(encoder, folder, "tokenizer", error) from None
    if not tokenizer.is_fast:
        raise UserError(f"{encoder}: weights={folder}: needs the model's tokenizer.json beside its weights")
    return tokenizer


def _load_model(encoder: str, folder: Path) -> PreTrainedModel:
    """The whole model, without a head, in float32 on the CPU; nothing in it is made up."""
    if not _weights(folder):
        raise UserError(f"{encoder}: weights={folder}: has no {' or '.join(WEIGHTS)}; {HOW}")
    try:
        with quiet():
            model, info = AutoModel.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:
        raise _unreadable(encoder, folder, "model", error) from None
    check_keys(
        f"{encoder}: {folder} does not fit {type(model).__name__}",
        missing=[key for key in info["missing_keys"] if not key.startswith(UNUSED)],
        unexpected=(),
        shapes=[str(mismatch[0]) for mismatch in info["mismatched_keys"]],
        advice="Weights and config.json must come from one model",
    )
    return model.get_encoder() if model.config.is_encoder_decoder else model


def _unreadable(encoder: str, folder: Path, what: str, error: Exception) -> UserError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return UserError(f"{encoder}: weights={folder}: its {what} cannot be read ({reason})")


def _weights(folder: Path) -> list[Path]:
    return next((found for kind in WEIGHTS if (found := sorted(folder.glob(kind)))), [])


def _digest(folder: Path) -> str:
    """SHA-256 of the file of weights; of several, that of their digests in order, a line each."""
    digests = [sha256(file) for file in _weights(folder)]
    return (
        digests[0]
        if len(digests) == 1
        else hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()
    )
