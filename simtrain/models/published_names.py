"""Published checkpoints of the surface vision transformer and of SIM: their names in terms of ours.

Read, and checked against the code there, on GitHub:

* metrics-lab/sim (commit 8ce726e): ``models/sit.py``, ``models/wrapper.py``, class ``fMRIEncoder`` of
  ``models/clip.py``, and what ``tools/train_fmri_clip_ddp.py`` saves: ``fmri-encoder-best.pt``,
  ``fmri-wrapper-best.pt``, ``video-wrapper-best.pt``, ``audio-wrapper-best.pt``, each a state_dict under
  ``model_state_dict``. The encoder's file holds a SiT below ``encoder.``, whose own class token is not used,
  and beside it the ``cls_token`` that is.
* metrics-lab/surface-masked-autoencoders (e6128a0): ``models/sit.py``, ``models/vsmae.py``, ``tools/log.py``.
  Its ``encoder-best.pt`` is a bare SiT, its ``encoder-decoder-best.pt`` one below ``encoder.`` beside a
  decoder; a vsMAE has no class token.
* metrics-lab/surface-vision-transformers: ``models/sit.py``, a bare SiT with a position for the class token.
* lucidrains/vit-pytorch: ``vit_pytorch/vit.py``, whose Transformer all of them use, in whatever version was
  installed (they name none). Up to August 2023 (commits 4e6a42a and bdaf2d1 were looked at) its layers are
  wrapped in PreNorm, and it has no norm at its end; from 1.4.0 on (commit 3e5d1be) the norms are within the
  layers, and there is one at its end, so that, with that of ``mlp_head``, two norms follow each other.

In all of them layer norms have an epsilon of 1e-5, GELU is exact, and a patch's values are ordered
'b c n v -> b n (v c)', the frames of a vertex together: as here. The weights themselves, and hence which
version of vit-pytorch they were made with, could not be looked at; both are read. That code itself, run once
with random weights at SIM's full size and with its table of patches, gave the same embeddings to 3e-8 with
either version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from simdata.common.errors import UserError
from simdata.encoders.weights import load_state

FEWEST = 20 * 4  # patches; more of them, and those of several frames, are multiples
# Parts of the masked autoencoder beside its encoder; patch_to_emb and norm are the encoder's own, once more.
DECODER = ("mask_token", "decoder", "enc_to_dec.", "to_pixels.", "patch_to_emb.", "norm.")
LAYER = re.compile(r"transformer\.layers\.(\d+)\.")
TOKEN = "cls_token"

# Ours -> theirs, in a block: with the norms within the layers, and with the layers in PreNorm.
LAYERS = {
    "attention.norm": "0.norm",
    "attention.qkv": "0.to_qkv",
    "attention.out.0": "0.to_out.0",
    "mlp.0": "1.net.0",
    "mlp.1": "1.net.1",
    "mlp.4": "1.net.4",
}
WRAPPED_LAYERS = {
    "attention.norm": "0.norm",
    "attention.qkv": "0.fn.to_qkv",
    "attention.out.0": "0.fn.to_out.0",
    "mlp.0": "1.norm",
    "mlp.1": "1.fn.net.0",
    "mlp.4": "1.fn.net.3",
}

State = Mapping[str, Tensor]
Shape = tuple[int, ...]
Names = dict[str, tuple[str, Shape]]  # theirs -> ours, and the shape


@dataclass(frozen=True)
class PublishedEncoder:
    """An encoder's weights under our names, and the sizes that they show.

    Attributes
    ----------
    weights : float32, those of a `SiT` but for ``order``
    tokens : positions, of patches, and of frames where these have tokens of their own
    patch_size : values in a token
    inner : heads * dim_head, which the weights do not tell apart
    hidden : width of the MLP
    own_token : the file has a class token; without one it is 0, with which the published SIM begins
    unused : names in the file for which the encoder has no use, as in the published SIM
    """

    weights: dict[str, Tensor]
    tokens: int
    patch_size: int
    dim: int
    depth: int
    inner: int
    hidden: int
    final_norms: int
    own_token: bool
    unused: list[str]


def read_encoder(file: Path) -> PublishedEncoder:
    """Read a checkpoint of an encoder: SIM's, a masked autoencoder's, or a bare SiT.

    Raises
    ------
    UserError
        If keys are missing, unexpected or of another shape: names the first of them.
    """
    sit, place, token, unused = _parts(read_state(file), file)
    sizes = _Sizes.of(sit, place, file)
    names = _encoder_names(sizes, final_norms=2 if "transformer.norm.weight" in sit else 1)
    # vit-pytorch leaves the output out for a single head as wide as the tokens.
    outputs = {key for key in names if ".to_out." in key}
    plain = sizes.inner == sizes.dim and not outputs & sit.keys()
    found = {key: value for key, value in sit.items() if not key.startswith("mlp_head.1.")}
    _must_fit({key: names[key][1] for key in names if not (plain and key in outputs)}, found, file, place)
    weights = {ours: sit[theirs] for theirs, (ours, _) in names.items() if theirs in sit}
    if plain:
        for theirs in outputs:
            ours, shape = names[theirs]
            weights[ours] = torch.eye(sizes.dim) if len(shape) == 2 else torch.zeros(shape)
    _add_class_token(weights, token, sizes, file)
    return PublishedEncoder(
        {name: value.float().contiguous() for name, value in weights.items()},
        tokens=sizes.tokens,
        patch_size=sizes.patch_size,
        dim=sizes.dim,
        depth=sizes.depth,
        inner=sizes.inner,
        hidden=sizes.hidden,
        final_norms=2 if "norm.1.weight" in weights else 1,
        own_token=token is not None,
        unused=unused + [place + key for key in sit if key not in found],
    )


def read_projector(file: Path) -> dict[str, Tensor]:
    """Weights of a `Projector`, float32, from those of a published wrapper.

    Raises
    ------
    UserError
        As `read_encoder`.
    """
    state = read_state(file)
    dim, features = _shape(state, "projection.weight", 2, file, "")
    names = _affine("project", "projection", (dim, features))
    names |= _affine("refine.1", "fc", (dim, dim)) | _affine("norm", "layer_norm", (dim,))
    _must_fit({theirs: shape for theirs, (_, shape) in names.items()}, state, file, "")
    return {ours: state[theirs].float().contiguous() for theirs, (ours, _) in names.items()}


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without what DataParallel puts before the names.

    Raises
    ------
    UserError
        If there is no such file, or it holds no tensors by name.
    """
    if not file.is_file():
        raise UserError(f"{file}: there is no such file of weights")
    state = load_state(file)
    state = state.get("model_state_dict", state)
    if not isinstance(state, dict) or not any(torch.is_tensor(value) for value in state.values()):
        raise UserError(f"{file}: holds no tensors by name, nor under 'model_state_dict': not a checkpoint")
    if odd := next((key for key, value in state.items() if not torch.is_tensor(value)), None):
        raise UserError(_fault(file, "unexpected", str(odd), "it is no tensor"))
    while all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


@dataclass(frozen=True)
class _Sizes:
    """What the shapes of a bare SiT say; ``rows`` are positions, of patches and maybe of the class token."""

    patch_size: int
    dim: int
    depth: int
    inner: int
    hidden: int
    rows: int
    layers: Mapping[str, str]

    @classmethod
    def of(cls, sit: State, place: str, file: Path) -> _Sizes:
        layers = WRAPPED_LAYERS if any(".fn." in key for key in sit) else LAYERS
        dim, patch_size = _shape(sit, "to_patch_embedding.1.weight", 2, file, place)
        _, rows, _ = _shape(sit, "pos_embedding", 3, file, place)
        qkv, _ = _shape(sit, f"transformer.layers.0.{layers['attention.qkv']}.weight", 2, file, place)
        hidden, _ = _shape(sit, f"transformer.layers.0.{layers['mlp.1']}.weight", 2, file, place)
        if rows % FEWEST > 1:
            raise UserError(
                f"{file}: {place}pos_embedding has {rows} rows, but patches of an icosphere, and those of "
                f"several frames, are multiples of {FEWEST} (and 1 more row for the class token)"
            )
        depth = 1 + max(int(match[1]) for key in sit if (match := LAYER.match(key)))
        return cls(patch_size, dim, depth, qkv // 3, hidden, rows, layers)

    @property
    def tokens(self) -> int:
        return self.rows - self.rows % FEWEST


def _parts(state: State, file: Path) -> tuple[State, str, Tensor | None, list[str]]:
    """A bare SiT without its class token, where it lies, the class token that counts, and names of no use."""
    sit = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    beside = {key: value for key, value in state.items() if not key.startswith("encoder.")}
    if not sit:
        sit = dict(state)
        return sit, "", sit.pop(TOKEN, None), []
    own = sit.pop(TOKEN, None)
    if "mask_token" in beside:
        unused = [key for key in beside if key.startswith(DECODER)]
        token = own
    else:
        _shape(beside, TOKEN, 3, file, "")
        token, unused = beside.pop(TOKEN), [] if own is None else [f"encoder.{TOKEN}"]
    _must_fit({}, {key: value for key, value in beside.items() if key not in unused}, file, "")
    return sit, "encoder.", token, unused


def _encoder_names(sizes: _Sizes, final_norms: int) -> Names:
    shapes = {
        "attention.qkv": (3 * sizes.inner, sizes.dim),
        "attention.out.0": (sizes.dim, sizes.inner),
        "mlp.1": (sizes.hidden, sizes.dim),
        "mlp.4": (sizes.dim, sizes.hidden),
    }
    names = _affine("embed", "to_patch_embedding.1", (sizes.dim, sizes.patch_size))
    names["pos_embedding"] = ("positions", (1, sizes.rows, sizes.dim))
    for block in range(sizes.depth):
        for ours, layer in sizes.layers.items():
            theirs = f"transformer.layers.{block}.{layer}"
            names |= _affine(f"blocks.{block}.{ours}", theirs, shapes.get(ours, (sizes.dim,)))
            if ours == "attention.qkv":
                del names[f"{theirs}.bias"]
    if final_norms == 1:
        return names | _affine("norm", "mlp_head.0", (sizes.dim,))
    names |= _affine("norm.0", "transformer.norm", (sizes.dim,))
    return names | _affine("norm.1", "mlp_head.0", (sizes.dim,))


def _affine(ours: str, theirs: str, weight: Shape) -> Names:
    """A weight, and a bias of as many values as the weight has rows."""
    return {
        f"{theirs}.weight": (f"{ours}.weight", weight),
        f"{theirs}.bias": (f"{ours}.bias", weight[:1]),
    }


def _add_class_token(weights: dict[str, Tensor], token: Tensor | None, sizes: _Sizes, file: Path) -> None:
    """Add ``class_token``; a position of its own, the first, is taken off ``positions`` and put into it."""
    shape = (1, 1, sizes.dim)
    if token is not None:
        _must_fit({TOKEN: shape}, {TOKEN: token}, file, "")
    weights["class_token"] = torch.zeros(shape) if token is None else token
    if sizes.rows > sizes.tokens:
        if token is None:
            raise UserError(_fault(file, "missing", TOKEN, "pos_embedding has a position for it"))
        weights["class_token"] = token + weights["positions"][:, :1]
        weights["positions"] = weights["positions"][:, 1:]


def _shape(state: State, key: str, axes: int, file: Path, place: str) -> Shape:
    if key not in state:
        raise UserError(_fault(file, "missing", place + key, "it cannot be done without"))
    shape = tuple(state[key].shape)
    if len(shape) != axes:
        raise UserError(_fault(file, "of another shape", place + key, f"{shape}, not of {axes} axes"))
    return shape


def _must_fit(needed: Mapping[str, Shape], state: State, file: Path, place: str) -> None:
    """Raise a UserError that names the first key that is missing, of another shape, or unexpected."""
    for key, shape in needed.items():
        if key not in state:
            raise UserError(_fault(file, "missing", place + key, "its neighbours ask for it"))
        if (has := tuple(state[key].shape)) != shape:
            raise UserError(_fault(file, "of another shape", place + key, f"{has}, not {shape}"))
    if extra := next((key for key in state if key not in needed), None):
        raise UserError(
            _fault(file, "unexpected", place + extra, "the published architecture has no such part")
        )


def _fault(file: Path, kind: str, key: str, why: str) -> str:
    return f"{file} does not fit ({kind}: {key}; {why}). Give a checkpoint of the published SIM or vsMAE code"
