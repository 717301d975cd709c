"""SIM: fMRI and the embeddings of the stimulus in one common space."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import normalize

from simtrain.common.modules import ModulesByName
from simtrain.models.context import Context
from simtrain.models.projector import Projector
from simtrain.models.sit import SiT
from simtrain.models.temporal import ContextTransformer


class SIM(nn.Module):
    """An fMRI encoder and a projector per modality.

    Parameters
    ----------
    features : number of features of every modality, ``fmri`` (the encoder's) included

    Attributes
    ----------
    temporal : adds what is around a window to what the encoder gives of it, where there is one
    """

    temporal: ContextTransformer | None

    def __init__(
        self, encoder: nn.Module, features: Mapping[str, int], dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projectors: ModulesByName[Projector] = ModulesByName(
            {name: Projector(size, dim, dropout) for name, size in features.items()}
        )
        self.temporal = None

    def forward(self, patches: Tensor, stimuli: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit-length embeddings (batch, dim) float32 of fMRI patches and of each stimulus modality."""
        return {"fmri": self.embed_fmri(patches)} | self.embed_stimuli(stimuli)

    def embed_fmri(
        self, patches: Tensor, context: Context | None = None, paths: Tensor | None = None
    ) -> Tensor:
        """(batch, patches, patch_size) -> (batch, dim), of unit length.

        Parameters
        ----------
        context : of the same windows, where there is one
        paths : as `SiT.attend` takes them, of an encoder that is a SiT
        """
        window = self.encoder(patches) if paths is None else self.encoder(patches, paths)
        if context is not None:
            window = window + self._around(window, context)
        return self._project("fmri", window)

    def embed_stimuli(self, stimuli: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(batch, features) of each modality -> (batch, dim), of unit length."""
        return {name: self._project(name, features) for name, features in stimuli.items()}

    def _around(self, window: Tensor, context: Context) -> Tensor:
        """(batch, dim) to add to what the encoder gives of windows."""
        assert self.temporal is not None  # a context is given only where there is one
        added: Tensor = self.temporal(window, *context)
        return added

    def _project(self, modality: str, features: Tensor) -> Tensor:
        return normalize(self.projectors[modality](features).float(), dim=-1)


class PerTokenSIM(SIM):
    """`SIM` that projects each of the encoder's patch tokens, and then takes their mean."""

    encoder: SiT

    def embed_fmri(
        self, patches: Tensor, context: Context | None = None, paths: Tensor | None = None
    ) -> Tensor:
        tokens = self.encoder.patch_tokens(patches, paths)
        if context is not None:
            tokens = tokens + self._around(tokens.mean(dim=1), context)[:, None]
        projected = self.projectors["fmri"](tokens)
        return normalize(projected.float().mean(dim=1), dim=-1)
