"""Copies of a store that are not whole: each is named, or mended by a build, not read as missing values."""

import os
import shutil

import pytest
import xarray as xr
from store_files import build, call, opened

from simdata.common.errors import DamagedStore, UserError
from simtrain.data.dataset import open_dataset


@pytest.mark.parametrize("name", ["bold", "subject", "simdata_metadata"])
def test_an_array_that_is_gone_is_named_by_every_command(own, name):
    shutil.rmtree(own / "s.zarr" / name)
    for command in ("info", "rechunk", "build", "embed"):
        with pytest.raises(DamagedStore, match=f"{name}/zarr.json cannot be read"):
            use(own, command)
    with pytest.raises(DamagedStore, match=name):
        open_dataset(own / "s.zarr")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_metadata_of_an_array_or_the_root_that_are_no_json_are_named(own, content):
    of_bold, root = own / "s.zarr/bold/zarr.json", own / "s.zarr/zarr.json"
    for file, said in ((of_bold, "bold/zarr.json cannot be read"), (root, "cannot open it")):
        before = file.read_text()
        file.write_text(content)
        for command in ("info", "rechunk", "build"):
            with pytest.raises(UserError, match=said):
                use(own, command)
        file.write_text(before)


@pytest.mark.parametrize("name", ["run_status", "cortex"])
def test_a_table_that_cannot_be_decoded_is_named(own, name):
    chunk = next(
        file for file in (own / "s.zarr" / name).rglob("*") if file.is_file() and file.name != "zarr.json"
    )
    os.truncate(chunk, 3)
    for command in ("info", "build"):
        with pytest.raises(UserError, match=f"its {name} cannot be read"):
            use(own, command)


def test_labels_that_are_gone_are_not_taken_for_empty_names(own):
    shutil.rmtree(own / "s.zarr/subject/c")
    for command in ("info", "rechunk", "build"):
        with pytest.raises(DamagedStore, match="subject has empty labels"):
            use(own, command)


@pytest.mark.parametrize("length", [None, 100_000])
@pytest.mark.parametrize("file", ["bold/c/0/0/0/1/0", "bold_mean/c/0/0/0/0"])
def test_a_run_that_is_not_whole_is_told_and_converted_again(own, file, length):
    whole = opened(own).load()
    place = own / "s.zarr" / file
    if length is None:
        place.unlink()
    else:
        os.truncate(place, min(length, place.stat().st_size // 2))
    if "mean" in file and length:
        with pytest.raises(DamagedStore, match="Remove this file"):
            use(own, "info")
        place.unlink()
    for command in ("info", "rechunk"):
        with pytest.raises(DamagedStore, match=f"{file} is gone or cut short"):
            use(own, command)
    with pytest.raises(DamagedStore, match=file):
        open_dataset(own / "s.zarr")
    said = build(own, "--no-checksum").output
    assert "1 converted" in said
    assert f"1/A was not whole in the store any more ({file})" in " ".join(said.split())
    for name in ("bold", "bold_mean", "bold_std", "cortex"):
        xr.testing.assert_equal(opened(own)[name].load(), whole[name])
    assert "1 complete" in call("info", own / "s.zarr").output


def test_a_run_that_is_not_whole_is_absent_if_its_source_is_gone(own):
    (own / "s.zarr/bold/c/0/0/0/1/0").unlink()
    (own / "bold/1/A.dtseries.nii").write_bytes(b"no run")
    build(own, "--on-error", "skip")
    assert not opened(own).run_status.any()


def test_a_store_in_another_layout_is_checked_too(own):
    use(own, "rechunk")
    next(
        file for file in (own / "r.zarr/bold").rglob("*") if file.name != "zarr.json" and file.is_file()
    ).unlink()
    with pytest.raises(DamagedStore, match=r"bold/.* is gone"):
        call("info", own / "r.zarr")
    with pytest.raises(DamagedStore, match=r"bold/.* is gone"):
        open_dataset(own / "r.zarr")


def use(folder, command):
    """A command on the store of a folder."""
    store = folder / "s.zarr"
    if command == "build":
        return build(folder, "--no-checksum")
    arguments = {
        "info": (),
        "rechunk": (folder / "r.zarr", "--layout", "runs"),
        "embed": ("--movies", folder / "movies", "--encoder", "logmel,name=other"),
    }
    return call(command, store, *arguments[command])
