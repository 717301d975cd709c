"""Files of published weights, small and random, as the published code leaves them."""

import torch
from published_architecture import WRAPPED, affine, save, transformer

from simtrain.surface.patches import patch_vertices

DIM, INNER, COMMON, DEPTH, FRAMES, HEADS = 16, 128, 12, 2, 3, 2
FEATURES = {"fmri": DIM, "video": 10, "audio": 7}


def random_sit(names=WRAPPED, ico=1, frames=FRAMES, rows=0, dim=DIM, inner=INNER, sequence=1):
    """A bare SiT with class token; ``rows`` more positions than patches, of ``sequence`` frames each."""
    torch.manual_seed(1)
    patches, vertices = patch_vertices(ico).shape
    positions = torch.randn(1, patches * sequence + rows, dim)
    state = {"cls_token": torch.randn(1, 1, dim), "pos_embedding": positions}
    state |= affine("to_patch_embedding.1", dim, vertices * frames) | affine("mlp_head.0", dim)
    state |= affine("mlp_head.1", 1, dim)
    return state | transformer("transformer", DEPTH, dim, inner, names)


def random_sim(names=WRAPPED, **sizes):
    """As the published fMRIEncoder: the SiT, its own class token unused, and another class token."""
    state = {f"encoder.{key}": value for key, value in random_sit(names, **sizes).items()}
    return {"cls_token": torch.randn(1, 1, DIM)} | state


def random_wrapper(features, common=COMMON):
    state = affine("projection", common, features) | affine("fc", common, common)
    return state | affine("layer_norm", common)


def write_weights(folder):
    """Tensors by the name of their part, the file of the encoder, and those of the wrappers by modality."""
    tensors = {"encoder": random_sim(), **{name: random_wrapper(size) for name, size in FEATURES.items()}}
    encoder = save(tensors["encoder"], folder / "fmri-encoder-best.pt")
    wrappers = {name: save(tensors[name], folder / f"{name}-wrapper-best.pt") for name in FEATURES}
    return tensors, encoder, wrappers
