"""Finding the file of an encoder's weights: a path that the user gives, or a cache that others filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError
from simdata.common.fetched import check_content, is_there

NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class HubModel:
    """A model of the Hugging Face hub, such as ``MCG-NJU/videomae-base``."""

    repository: str

    def find(self, encoder: str, given: Path | None) -> Path:
        """The file of weights: ``given`` (a file, or a folder with one), else the one in the hub's cache.

        Raises
        ------
        UserError
            If there is none: says which file, from where, and where to put it.
        """
        if given is not None:
            return find_given(encoder, given, self.advice)
        from huggingface_hub import constants, try_to_load_from_cache

        for name in NAMES:
            found = try_to_load_from_cache(self.repository, name)
            if isinstance(found, str):
                return Path(found)
        raise UserError(
            f"{encoder}: no weights. It needs {NAMES[0]} of {self.repository}, which is not in the cache "
            f"({constants.HF_HUB_CACHE}). {self.advice}"
        )

    @property
    def advice(self) -> str:
        return (
            f"On a machine with internet: hf download {self.repository} --local-dir FOLDER; then copy FOLDER "
            "here and write weights=FOLDER behind the encoder's name"
        )


@dataclass(frozen=True)
class TorchFile:
    """A file that torchaudio publishes, kept in torch hub's cache."""

    url: str

    def find(self, encoder: str, given: Path | None) -> Path:
        """As `HubModel.find`."""
        if given is not None:
            return find_given(encoder, given, self.advice)
        from torch import hub

        cached = Path(hub.get_dir()) / "checkpoints" / self.file
        if cached.is_file():
            return cached
        raise UserError(
            f"{encoder}: no weights. It needs {self.file}, which is not at {cached}. {self.advice}"
        )

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def advice(self) -> str:
        return f"Download {self.url}, and put it there or write weights=FILE behind the encoder's name"


def find_given(encoder: str, given: Path, advice: str) -> Path:
    """The file that a user's path means: itself, or the one of weights in a folder."""
    given = given.expanduser()
    for file in (given, *(given / name for name in NAMES)):
        if is_there(file) and not file.is_dir():
            check_content(file)
            return file
    looked = f"no {' or '.join(NAMES)} in it" if given.is_dir() else "no such file or folder"
    raise UserError(f"{encoder}: weights={given}: {looked}. {advice}")


def load_state(path: Path) -> dict[str, Any]:
    """The tensors of a file of weights on the CPU, by name, and what else it may hold.

    Pickles are read as tensors and plain values only, never executed.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # comes with transformers

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for what is no checkpoint
        raise UserError(f"{path}: cannot be read as weights ({_reason(error)})") from None
    if not isinstance(state, dict):
        raise UserError(
            f"{path}: cannot be read as weights (it holds a {type(state).__name__}, no tensors by name)"
        )
    # Training frameworks keep the weights under such a key, beside their own state.
    for key in ("state_dict", "model", "module"):
        if isinstance(state.get(key), dict):
            return state[key]
    return state


def _reason(error: Exception) -> str:
    from pickle import UnpicklingError

    if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
        return (
            "it also holds Python objects, which may run code when read; if you trust it: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW)"
        )
    return f"{type(error).__name__}: {error}".splitlines()[0]
