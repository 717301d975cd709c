"""What published weights take of a window: the published code's ``fMRI.temporal_rep``, in terms of ours.

Read, and checked against the code, in ``tools/datasets.py`` and ``tools/utils.py`` of metrics-lab/sim (commit
8ce726e) and of metrics-lab/surface-masked-autoencoders (e6128a0); with more than one frame, it is

* ``channels`` (of SIM alone): all frames of a patch in one token. The number of frames shows in the weights.
* ``concat``: a token for each patch and frame, frame after frame, with positions that run through all of
  them; the positions show the number of frames. It is vsMAE's way, and that of SIM's audio configuration.
* ``avg``: the mean of the frames is given as if it were one. The weights are those of a single frame.
* ``mix``: of each patch one frame, drawn anew for each window; the patches of the first frame then come
  first, so that a token's position tells nothing of its patch. The published retrieval has no such way.
* ``tubelet``: nothing is done to the frames, but the model is built for one: it does not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

from simdata.common.errors import UserError
from simtrain.surface.patches import patch_vertices

TemporalRep = Literal["channels", "concat", "avg", "mix", "tubelet"]
TEMPORAL_REPS: tuple[TemporalRep, ...] = get_args(TemporalRep)
FRAMES = 3  # of a window, in all published configurations
MOST = 16  # that weights are taken to be of
IMPOSSIBLE = {
    "mix": "gives each patch a frame at random and the patches another order with it, for every window anew, "
    "so that a window has no one embedding",
    "tubelet": "builds a model for one frame and gives it all of them, which does not run",
}


class Tokenisation(NamedTuple):
    """How windows become tokens: patches of which icosphere, and what is done with the frames."""

    ico: int
    frames: int
    temporal_rep: TemporalRep

    @property
    def settings(self) -> dict[str, object]:
        """The keys of our configuration."""
        temporal = {"avg": "mean_frame", "concat": "concat"}.get(self.temporal_rep, "channels")
        return {
            "data.frames": self.frames,
            "model.ico": self.ico,
            "model.temporal": temporal,
            "model.frame_positions": "sequence" if temporal == "concat" else "learned",
        }

    def __str__(self) -> str:
        return f"`temporal_rep` {self.temporal_rep}, {self.frames} frames, patches of icosphere {self.ico}"


def tokenisation(
    tokens: int, values: int, temporal_rep: TemporalRep | None, frames: int | None, file: Path
) -> Tokenisation:
    """The tokenisation of weights that have positions of so many patch tokens, and so many values in each.

    Parameters
    ----------
    temporal_rep, frames : as the file of the published training says, where it is known
    file : of the weights, for messages

    Raises
    ------
    UserError
        If nothing published has these sizes, they are not what is given, or they do not tell.
    """
    if temporal_rep in IMPOSSIBLE:
        raise UserError(
            f"`temporal_rep` {temporal_rep}: cannot be imported, since the published code "
            f"{IMPOSSIBLE[temporal_rep]}"
        )
    found = possible_tokenisations(tokens, values)
    if not found:
        raise UserError(
            f"{file}: positions of {tokens} tokens with {values} values each are no patches of an icosphere, "
            f"of 1 to {MOST} frames"
        )
    if found[0].frames == 1 and frames != 1:
        return _mean_of_frames(found[0].ico, temporal_rep, frames, file)
    fitting = [
        one
        for one in found
        if frames in (None, one.frames) and (temporal_rep in (None, one.temporal_rep) or one.frames == 1)
    ]
    if not fitting:
        raise UserError(
            f"{file}: the weights are of {' or of '.join(map(str, found))}; `temporal_rep` and `frames` say "
            "something else: leave them out"
        )
    return min(fitting, key=lambda one: one.frames != FRAMES)


def possible_tokenisations(tokens: int, values: int) -> list[Tokenisation]:
    """All that have these sizes; one frame is called channels."""
    found = []
    for ico in range(1, 6):
        patches, vertices = patch_vertices(ico).shape
        if tokens == patches and values % vertices == 0 and values <= MOST * vertices:
            found.append(Tokenisation(ico, values // vertices, "channels"))
        if values == vertices and tokens % patches == 0 and 1 < tokens // patches <= MOST:
            found.append(Tokenisation(ico, tokens // patches, "concat"))
    return found


def _mean_of_frames(
    ico: int, temporal_rep: TemporalRep | None, frames: int | None, file: Path
) -> Tokenisation:
    """The tokenisation of weights that take one frame, and were not trained with windows of one."""
    if temporal_rep is None or frames is None:
        raise UserError(
            f"{file}: takes one frame of {len(patch_vertices(ico))} patches, but the weights do not say what "
            "was done with the frames of a window: give `frames` (fMRI.nbr_frames in the hparams.yml beside "
            "the weights) and, if there were more than 1, `temporal_rep` (fMRI.temporal_rep)"
        )
    if temporal_rep != "avg":
        raise UserError(
            f"{file}: takes one frame, so it is not of `temporal_rep` {temporal_rep} with {frames} frames"
        )
    return Tokenisation(ico, frames, "avg")
