import numpy as np
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
        assert (encoder.encoder, encoder.takes in ("video", "audio", "text"), bool(encoder.summary)) == (
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


@pytest.fixture
def theirs(installed):
    """Installs the package theirs with the encoders that it registers, and its code."""
    return lambda entries, code: installed("theirs", "simdata.encoders", entries, code)


def test_an_encoder_of_another_package_joins_by_its_entry_point(theirs):
    code = (
        "from simdata.encoders import AudioEncoder\n"
        "class Theirs(AudioEncoder):\n"
        "    encoder, summary, features = 'theirs', 'of another lab', 1\n"
        "    def encode(self, span, starts): ...\n"
        "    def parameters(self): return {}\n"
    )
    theirs("theirs = theirs_module:Theirs\nbroken = nowhere:Nobody", code)
    assert encoders.create("theirs").array == "audio_theirs"
    with pytest.raises(UserError, match="encoder broken needs the package nowhere"):
        encoders.create("broken")


def test_a_broken_encoder_breaks_no_other(theirs):
    code = (
        "from simdata.encoders import AudioEncoder\n"
        "class Nameless(AudioEncoder):\n"
        "    encoder, features = 'nameless', 1\n"
        "    def encode(self, span, starts): ...\n"
        "    def parameters(self): return {}\n"
    )
    entries = (
        "nameless = theirs_module:Nameless",
        "missing = theirs_module:Missing",
        "odd = theirs_module:__name__",
    )
    theirs("\n".join(entries), code)
    listed = CliRunner().invoke(cli, ["encoders", "list"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0, listed.output
    broken = "encoder missing of theirs cannot be imported", "odd of theirs"
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
def test_what_goes_wrong_in_encode_names_encoder_and_film(tmp_path, theirs, body, message):
    code = (
        "import numpy as np\n"
        "from simdata.encoders import AudioEncoder\n"
        "class Bad(AudioEncoder):\n"
        "    encoder, features = 'bad', 2\n"
        f"    def encode(self, span, starts): {body}\n"
        "    def parameters(self): return {}\n"
    )
    theirs("bad = theirs_module:Bad", code)
    film = write_film(tmp_path / "film.mp4", seconds=4)
    with pytest.raises(UserError, match=rf"film\.mp4: encoder bad: encode {message}"):
        list(stimulus_blocks(film, [encoders.create("bad")], [(0, 4)]))


def test_settings_are_shown_with_what_they_mean():
    shown = CliRunner().invoke(cli, ["encoders", "show", "videomae"]).output
    assert "resize = exact  (exact: as the publisher's processor" in shown
    assert "frames = None  ([NUMBER:]even, linspace or interval:N" in shown


def test_an_encoder_may_be_of_another_modality_than_what_it_is_given(tmp_path, theirs):
    code = (
        "import numpy as np\n"
        "from simdata.encoders import AudioEncoder\n"
        "class Words(AudioEncoder):\n"
        "    modality, encoder, features = 'text', 'heard', 2\n"
        "    def encode(self, span, starts): return np.full((len(starts), 2), span.std(), np.float32)\n"
        "    def parameters(self): return {}\n"
        "class Wrong(Words):\n"
        "    modality = 'bold'\n"
    )
    theirs("heard = theirs_module:Words\nwrong = theirs_module:Wrong", code)
    film = write_film(tmp_path / "film.mp4", seconds=4)
    (block,) = stimulus_blocks(film, [encoders.create("heard")], [(0, 4)])
    assert np.isfinite(block.embeddings["text_heard"][:2]).all()
    with pytest.raises(UserError, match=r"encoder wrong of theirs .*'bold' is no modality"):
        encoders.create("wrong")
