import sys

import pytest

from simdata import encoders
from simdata.encoders import Encoder
from simdata.errors import UserError


def test_every_registered_encoder_loads_and_describes_itself():
    assert {"logmel", "motion_energy"} <= set(encoders.names())
    for name in encoders.names():
        encoder = encoders.find(name)
        assert issubclass(encoder, Encoder)
        assert (encoder.encoder, encoder.modality in ("video", "audio"), bool(encoder.summary)) == (
            name,
            True,
            True,
        )


def test_settings_stand_behind_the_name():
    encoder = encoders.create("logmel,window=5,stride=2,name=loud")
    assert (encoder.array, encoder.window, encoder.stride) == ("audio_loud", 5, 2)
    assert encoder.attributes()["encoder"] == "logmel"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no encoder 'nothing': choose from .*logmel"),
        ("logmel,window", "'window' is not key=value"),
        ("logmel,window=0", "window: .*greater than or equal to 1"),
        ("logmel,layer=3", "layer: unknown key"),
        ("logmel,name=Log-Mel", "name: .*pattern"),
    ],
)
def test_faults_are_named(text, message):
    with pytest.raises(UserError, match=message):
        encoders.create(text)


def test_two_encoders_must_write_different_arrays():
    with pytest.raises(UserError, match="two encoders would write audio_logmel"):
        encoders.create_all(["logmel", "logmel,window=5"])
    assert len(encoders.create_all(["logmel", "logmel,window=5,name=long"])) == 2


def test_an_encoder_of_another_package_joins_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(
        "from simdata.encoders import AudioEncoder\n"
        "class Theirs(AudioEncoder):\n"
        "    encoder, summary, features = 'theirs', 'of another lab', 1\n"
        "    def encode(self, span, starts): ...\n"
        "    def parameters(self): return {}\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[simdata.encoders]\ntheirs = theirs:Theirs\nbroken = nowhere:Nobody\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert encoders.create("theirs").array == "audio_theirs"
    with pytest.raises(UserError, match="encoder broken needs the package nowhere"):
        encoders.create("broken")
    sys.modules.pop("theirs", None)
