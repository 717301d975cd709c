import numpy as np
import pytest
from skimage.transform import resize

from simdata.common.errors import UserError
from simtrain.reconstruction.decoders import Info, decode, load_decoder

INFO = Info("common", {}, (12, 16), "s5")
MODULE = """
import numpy as np

class Grey:
    def decode(self, embeddings, info):
        return np.full((len(embeddings), *info.size, 3), 128, np.uint8)

class Blind:
    pass
"""


class Gives:
    def __init__(self, frames):
        self.frames = frames

    def decode(self, embeddings, info):
        return self.frames


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_decoders.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    return "my_decoders"


def test_a_decoder_is_found_by_module_and_name(module):
    frames = decode(load_decoder(f"{module}:Grey"), np.zeros((5, 4), "f4"), INFO)
    assert frames.shape == (5, 12, 16, 3)
    assert (frames == 128).all()


def test_a_decoder_is_found_by_its_registered_name(module, tmp_path):
    info = tmp_path / "my_decoders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_decoders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[simtrain.decoders]\ngrey = {module}:Grey\n")
    assert type(load_decoder("grey")).__name__ == "Grey"
    with pytest.raises(UserError, match="no decoder 'gray': choose from grey, or one of yours as"):
        load_decoder("gray")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_decoders", "one of yours as package.module:name"),
        ("nowhere.at_all:Grey", "there is no module nowhere on Python's path"),
        ("my_decoders.deeper:Grey", "there is no module my_decoders.deeper"),
        ("my_decoders:Gray", "my_decoders has no Gray"),
        ("my_decoders:", "my_decoders has no name"),
        ("my_decoders:Blind", r"Blind has no method decode\(embeddings, info\)"),
    ],
)
def test_a_decoder_that_is_none_is_explained(module, text, message):
    with pytest.raises(UserError, match=message):
        load_decoder(text)


def test_a_mistake_inside_the_users_module_keeps_its_traceback(module):
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_decoder("my_broken:Grey")


def test_pictures_of_another_size_are_resized():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 3, 4, 3)).astype("u1")
    frames = coarse.repeat(8, axis=1).repeat(8, axis=2)
    found = decode(Gives(frames), np.zeros((2, 4)), INFO)
    assert found.shape == (2, 12, 16, 3)
    assert found.dtype == np.uint8
    expected = np.stack([resize(one, (12, 16), order=1, anti_aliasing=True) for one in frames]) * 255
    assert np.abs(found - expected).mean() < 10  # another low-pass filter
    same = rng.integers(0, 256, (2, 12, 16, 3)).astype("u1")
    np.testing.assert_array_equal(decode(Gives(same), np.zeros((2, 4)), INFO), same)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((3, 12, 16, 3), "u1"),
        np.zeros((2, 12, 16, 4), "u1"),
        np.zeros((2, 12, 16), "u1"),
        np.zeros((2, 12, 16, 3), "f4"),
    ],
    ids=["count", "channels", "grey", "float"],
)
def test_what_is_not_a_picture_for_each_embedding_is_refused(frames):
    with pytest.raises(UserError, match=r"it must give uint8 of shape \(2, y, x, 3\)"):
        decode(Gives(frames), np.zeros((2, 4)), INFO)
