"""What sizes of published weights say of the frames that they take."""

from pathlib import Path

import pytest

from simdata.common.errors import UserError
from simtrain.models.published_frames import tokenisation

FILE = Path("encoder-best.pt")
# As in the published hparams.yml: patches, and vertices in one, of each icosphere.
GRID = {1: (80, 561), 2: (320, 153), 3: (1280, 45), 4: (5120, 15)}


@pytest.mark.parametrize("ico", GRID)
@pytest.mark.parametrize(("temporal_rep", "ours"), [("channels", "channels"), ("concat", "concat")])
def test_three_frames_in_a_token_or_in_a_row_show_in_the_sizes(ico, temporal_rep, ours):
    patches, vertices = GRID[ico]
    sizes = (patches, 3 * vertices) if temporal_rep == "channels" else (3 * patches, vertices)
    found = tokenisation(*sizes, None, None, FILE)
    assert found == (ico, 3, temporal_rep)
    assert found.settings["model.temporal"] == ours
    assert tokenisation(*sizes, temporal_rep, 3, FILE) == found


def test_weights_of_one_frame_ask_what_became_of_the_others():
    with pytest.raises(UserError, match=r"takes one frame.*give `frames` .* `temporal_rep`"):
        tokenisation(1280, 45, None, None, FILE)
    with pytest.raises(UserError, match="do not say"):
        tokenisation(1280, 45, "avg", None, FILE)
    assert tokenisation(1280, 45, None, 1, FILE).settings["data.frames"] == 1
    mean = tokenisation(1280, 45, "avg", 3, FILE).settings
    assert (mean["data.frames"], mean["model.temporal"]) == (3, "mean_frame")
    with pytest.raises(UserError, match="not of `temporal_rep` concat with 3 frames"):
        tokenisation(1280, 45, "concat", 3, FILE)


@pytest.mark.parametrize(
    ("temporal_rep", "words"), [("mix", "no one embedding"), ("tubelet", "does not run")]
)
@pytest.mark.parametrize("sizes", [(1280, 45), (1280, 135)])
def test_what_has_no_one_answer_is_refused(temporal_rep, words, sizes):
    with pytest.raises(UserError, match=f"`temporal_rep` {temporal_rep}: cannot be imported.*{words}"):
        tokenisation(*sizes, temporal_rep, 3, FILE)


def test_of_two_that_fit_the_one_of_three_frames_is_taken_or_what_is_said():
    assert tokenisation(5120, 45, None, None, FILE) == (4, 3, "channels")
    assert tokenisation(5120, 45, "concat", None, FILE) == (3, 4, "concat")
    assert tokenisation(5120, 45, None, 4, FILE) == (3, 4, "concat")


@pytest.mark.parametrize(("temporal_rep", "frames"), [("channels", None), (None, 4), ("avg", 3)])
def test_what_the_weights_contradict_is_refused(temporal_rep, frames):
    with pytest.raises(UserError, match="of `temporal_rep` concat, 3 frames, patches of icosphere 3; "):
        tokenisation(3840, 45, temporal_rep, frames, FILE)


@pytest.mark.parametrize("sizes", [(1280, 46), (160, 45), (1280 * 17, 45), (1280, 45 * 17)])
def test_sizes_of_nothing_published_are_refused(sizes):
    with pytest.raises(UserError, match="no patches of an icosphere"):
        tokenisation(*sizes, None, None, FILE)
