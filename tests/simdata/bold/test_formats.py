"""Formats of BOLD: which reads a file, one of another package in a build, and what is wrong with one."""

import doctest
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import store_files
import yaml
from cifti_files import CORTEX, noise, write_dtseries
from conversions import VOLUMES, convert, stored
from gifti_files import save_pair
from store_files import build, contents, opened

from simdata.bold.cifti import open_dtseries
from simdata.bold.formats import endings, open_run
from simdata.bold.opened_run import ReadsBold
from simdata.common.errors import UserError
from simdata.common.registry import Registry

(EXAMPLE,) = doctest.DocTestParser().get_examples(ReadsBold.__doc__)
NPZ = f"import numpy as np\n{EXAMPLE.source}"


def as_npz(path, cifti):
    """The cortex of a CIFTI run, by nibabel's reading, as the format in the documentation has it."""
    image = nib.load(cifti)
    series, models = (image.header.get_axis(axis) for axis in (0, 1))
    parts = {name: (rows, model.vertex) for name, rows, model in models.iter_structures()}
    data = image.get_fdata(dtype=np.float32)
    content = {"volumes": len(series), "tr": series.step}
    for hemisphere, structure in CORTEX.items():
        rows, content[f"vertices_{hemisphere}"] = parts[structure]
        content[f"bold_{hemisphere}"] = np.ascontiguousarray(data[:, rows].T)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content)
    return path


@pytest.fixture(scope="module")
def cifti(tmp_path_factory):
    return write_dtseries(tmp_path_factory.mktemp("run") / "run.dtseries.nii", noise("32k", VOLUMES))


@pytest.fixture(scope="module")
def npz(cifti, tmp_path_factory):
    return as_npz(tmp_path_factory.mktemp("npz") / "run.npz", cifti)


@pytest.fixture
def theirs(installed):
    """Installs a package of a name that registers formats of BOLD."""
    return lambda name, entries, code="": installed(name, "simdata.bold_formats", entries, code)


def test_a_build_takes_a_format_of_another_package(built, tmp_path, theirs):
    theirs("numpys", ".npz = numpys_module:Npz", NPZ)
    as_npz(tmp_path / "bold/1/A.npz", built / "bold/1/A.dtseries.nii")
    shutil.copytree(built / "movies", tmp_path / "movies")
    catalog = store_files.CATALOG | {"bold": ["{subject}/{movie}.npz"]}
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(catalog))
    assert "3 converted, 0 already there, 0 skipped" in build(tmp_path, "--encoder", "logmel").output
    assert "0 converted, 3 already there" in build(tmp_path, "--encoder", "logmel").output
    for name in ("bold", "bold_mean", "bold_std", "cortex"):
        ours, expected = (contents(folder / "s.zarr" / name) for folder in (tmp_path, built))
        assert ours == expected
        assert len(ours) > 1
    assert opened(tmp_path).run_status.values.tolist() == [[1, 0]]


@pytest.mark.parametrize("name", ["run.dtseries.nii", "run.DTSeries.NII", "cleaned.nii"])
def test_a_cifti_file_is_known_by_its_name(cifti, tmp_path, name):
    path = shutil.copy(cifti, tmp_path / name)
    run, expected = open_run(path), open_dtseries(cifti)
    assert (run.path, run.volumes, run.tr, run.density) == (path, VOLUMES, 1.0, "32k")
    for (hemisphere, ours), (_, theirs) in zip(run.cortices(), expected.cortices(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(run.vertices[hemisphere], expected.vertices[hemisphere])


def test_a_name_that_no_format_reads_is_told_which_are_read(tmp_path):
    (tmp_path / "run.hdf").write_bytes(b"HDF")
    known = (
        r"known endings are \.csv, \.dtseries\.nii, \.dtseries\.nii\.gz, \.func\.gii, \.gii, \.h5, \.hdf5, "
    )
    with pytest.raises(UserError, match=rf"run\.hdf: no BOLD format reads files of this name; {known}"):
        open_run(tmp_path / "run.hdf")


def test_what_a_file_does_not_say_is_the_catalogs_to_say(tmp_path):
    values = {h: np.random.default_rng(0).standard_normal((163_842, 2)).astype("f4") for h in "LR"}
    files = save_pair(tmp_path, "{}.func.gii", values, tr=None)
    with pytest.raises(UserError, match=r"L\.func\.gii: does not say its TR, .* give the catalog's tr"):
        open_run(*files, mesh="164k")
    with pytest.raises(UserError, match=r"is on fs_LR 164k or on fsaverage7, .*: give the catalog's mesh"):
        open_run(*files, tr=1.5)
    run = open_run(*files, tr=1.5, mesh="fsaverage7")
    assert (run.tr, run.density) == (1.5, "fsaverage7")
    named = save_pair(tmp_path, "{}_space-fsLR_bold.func.gii", values)
    with pytest.raises(UserError, match="is on 164k, and the catalog's mesh is fsaverage7"):
        open_run(*named, mesh="fsaverage7")


def test_a_pair_and_its_format_fit(cifti, tmp_path):
    (tmp_path / "R.func.gii").touch()
    with pytest.raises(UserError, match=r"has both hemispheres in one file, .*; leave {hemisphere} out of"):
        open_run(cifti, cifti)
    with pytest.raises(UserError, match=r"is of another format than R\.func\.gii"):
        open_run(cifti, tmp_path / "R.func.gii")


def test_an_installation_that_is_older_than_formats_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("simdata.bold.formats.FORMATS", Registry("nobody.has.any", "BOLD format"))
    with pytest.raises(UserError, match="known endings are none, not even ours: install simdata again"):
        open_run(tmp_path / "run.dtseries.nii")


def test_the_longest_ending_is_that_of_the_format(npz, tmp_path, theirs):
    theirs("numpys", ".npz = numpys_module:missing\n_clean.npz = numpys_module:Npz", NPZ)
    assert {".npz", "_clean.npz"} <= set(endings())
    assert open_run(shutil.copy(npz, tmp_path / "run_clean.npz")).volumes == VOLUMES


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (".npz = broken_module:missing", r"BOLD format \.npz of broken cannot be imported \(.*missing"),
        (".npz = no_such_module:Npz", r"BOLD format \.npz needs the package no_such_module: .* broken is"),
        (".npz = broken_module:__name__", r"BOLD format \.npz of broken .* cannot read it \(TypeError: "),
    ],
)
def test_a_format_that_is_broken_breaks_no_other(cifti, npz, theirs, entries, message):
    theirs("broken", entries)
    assert open_run(cifti).volumes == VOLUMES
    with pytest.raises(UserError, match=rf"run\.npz: {message}"):
        open_run(npz)


def test_an_ending_of_two_packages_is_nobodys(npz, theirs):
    theirs("one", ".npz = one_module:Npz", NPZ)
    theirs("two", ".npz = two_module:Npz", NPZ)
    with pytest.raises(UserError, match=r"run\.npz: BOLD format \.npz is registered by one and two"):
        open_run(npz)


HEADERS = {
    "raise KeyError('tr')": r"cannot read it \(KeyError: 'tr'\); is it whole\?",
    "self.tr = '1'": "gives tr '1'",
    "self.tr = np.nan": "gives tr nan",
    "self.volumes = 40.0": "gives volumes 40.0; a whole number above 0 is needed",
    "self.volumes = 0": "gives volumes 0",
    "self.density = 'fsaverage4'": "gives density 'fsaverage4'; one of 59k, 32k, 164k, fsaverage5, ",
    "self.density = ['32k']": r"gives density \['32k'\]",
    "self.stored_kind = 'c'": "gives stored_kind 'c'; one of f, i, u is needed",
    "self.path = None": "gives path None",
    "self.cortices = None": "gives cortices None; a method",
    "self.vertices = np.arange(3)": "gives vertices array.*; a mapping of L and R is needed",
    "del self.vertices['R']": "gives vertices {'L'.*; a mapping of L and R is needed",
    "self.vertices['L'] = [0, 1]": r"gives vertices of L as list; whole numbers of shape \(rows,\)",
    "self.vertices['L'] = np.zeros((2, 2), int)": r"gives vertices of L as int64 of shape \(2, 2\)",
    "self.vertices['R'] = self.vertices['R'].astype(float)": "gives vertices of R as float64 of shape",
    "self.vertices['R'] = np.zeros(0, int)": r"gives vertices of R as int64 of shape \(0,\)",
    "self.vertices['L'][5] = 32_492": "gives vertex 32492 of L; the 32k mesh has 32,492, from 0",
    "self.vertices['L'][5] = -1": "gives vertex -1 of L",
    "self.vertices['L'] = np.full(3, 2**64 - 1, np.uint64)": "gives vertex 18446744073709551615 of L",
    "self.vertices['R'][5] = self.vertices['R'][9]": r"gives vertex \d+ of R twice",
}
VALUES = {
    "raise OSError('gone')": r"cannot read it \(OSError: gone\)",
    "values = values.astype(float)": r"gives values of L as float64 of shape \(\d+, 40\); float32 of shape",
    "values = values.astype('>f4')": r"gives values of L as >f4 of shape",
    "values = values.tolist()": "gives values of L as list",
    "values = None": "gives values of L as NoneType",
    "values = values.ravel()": "gives values of L as float32 of shape",
    "values = values[:-1]": r"gives values of L as float32 of shape .*; float32 of shape .* is needed",
    "values = values[:, 1:]": r"gives values of L as float32 of shape \(\d+, 39\)",
    "values = values.T": r"gives values of L as float32 of shape \(40, ",
    "values = np.asfortranarray(values)": "gives values of L that are not C-contiguous",
    "values = values[::-1]": "gives values of L that are not C-contiguous",
    "hemisphere = 'LEFT'": "gives hemisphere 'LEFT', which is none",
    "hemisphere = 'L'": r"gives hemisphere 'L', which is none, or came before",
    "if hemisphere == 'R': return": "gives no values of R",
}


@pytest.mark.parametrize(
    ("opening", "reading", "message"),
    [*((line, "pass", said) for line, said in HEADERS.items())]
    + [("pass", line, said) for line, said in VALUES.items()],
)
def test_what_a_format_gives_wrong_names_file_format_and_package(
    npz, tmp_path, theirs, opening, reading, message
):
    code = f"""{NPZ}
class Odd(Npz):
    def __init__(self, path):
        super().__init__(path)
        {opening}

    def cortices(self):
        for hemisphere, values in super().cortices():
            {reading}
            yield hemisphere, values
"""
    theirs("odd", ".npz = odd_module:Odd", code)
    with pytest.raises(
        UserError, match=rf"run\.npz: BOLD format \.npz of odd \(odd_module:Odd\) {message}"
    ) as error:
        convert(npz, tmp_path / "staging")
    assert len(re.findall("BOLD format", str(error.value))) == 1


def test_vertices_may_come_in_any_order_and_type(npz, cifti, tmp_path, theirs):
    code = f"""{NPZ}
class Turned(Npz):
    def __init__(self, path):
        super().__init__(path)
        self.tr = np.float32(self.tr)
        self.vertices = {{h: v[::-1].astype(np.uint16) for h, v in self.vertices.items()}}

    def cortices(self):
        for hemisphere, values in reversed(list(super().cortices())):
            yield hemisphere, np.ascontiguousarray(values[::-1])
"""
    theirs("turned", ".npz = turned_module:Turned", code)
    ours, expected = (stored(convert(path, tmp_path / path.suffix)) for path in (npz, cifti))
    for one, other in zip(ours, expected, strict=True):
        steps = np.abs(one.astype(int) - other)  # a sum of three in another order
        assert steps.max() <= 1
        assert steps.mean() < 1e-3
