import sys

import pytest
from click.testing import CliRunner
from film_files import write_film

from simdata import encoders
from simdata.cli import cli
from simdata.common.errors import UserError
from simdata.encoders import Encoder
from simdata.films.blocks import stimulus_blocks


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
        ("logmel,name=a,window=2,name=b", "name is given 2 times"),
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


def their_package(folder, monkeypatch, code, entries):
    (folder / "theirs_too.py").write_text(code)
    info = folder / "theirs_too-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs-too\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[simdata.encoders]\n" + entries)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "theirs_too", raising=False)


def test_a_broken_encoder_breaks_no_other(tmp_path, monkeypatch):
    code = (
        "from simdata.encoders import AudioEncoder\n"
        "class Nameless(AudioEncoder):\n"
        "    encoder, features = 'nameless', 1\n"
        "    def encode(self, span, starts): ...\n"
        "    def parameters(self): return {}\n"
    )
    their_package(
        tmp_path,
        monkeypatch,
        code,
        "nameless = theirs_too:Nameless\nmissing = theirs_too:Missing\nodd = theirs_too:__name__\n",
    )
    listed = CliRunner().invoke(cli, ["encoders", "list"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0, listed.output
    broken = "encoder missing of theirs-too cannot be imported", "odd of theirs-too"
    for text in ("nameless", "logmel", *broken):
        assert text in listed.output
    assert CliRunner().invoke(cli, ["encoders", "show", "nameless"]).exit_code == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('too loud')", r"failed \(ValueError: too loud\)"),
        ("return np.zeros((len(starts), 3), np.float32)", r"returned float32 of shape \(\d+, 3\)"),
        ("return np.zeros(len(starts), np.float32)", r"returned float32 of shape \(\d+,\)"),
        ("return None", "returned object"),
    ],
)
def test_what_goes_wrong_in_encode_names_encoder_and_film(tmp_path, monkeypatch, body, message):
    code = (
        "import numpy as np\n"
        "from simdata.encoders import AudioEncoder\n"
        "class Bad(AudioEncoder):\n"
        "    encoder, features = 'bad', 2\n"
        f"    def encode(self, span, starts): {body}\n"
        "    def parameters(self): return {}\n"
    )
    their_package(tmp_path, monkeypatch, code, "bad = theirs_too:Bad\n")
    film = write_film(tmp_path / "film.mp4", seconds=4)
    with pytest.raises(UserError, match=rf"film\.mp4: encoder bad: encode {message}"):
        list(stimulus_blocks(film, [encoders.create("bad")], [(0, 4)]))


def test_settings_are_shown_with_what_they_mean():
    shown = CliRunner().invoke(cli, ["encoders", "show", "videomae"]).output
    assert "resize = exact  (exact: as the publisher's processor" in shown
    assert "frames = None  ([NUMBER:]even, linspace or interval:N" in shown
