"""Files of which only the name is there, in the forms that git-annex and Git LFS document."""

import os
import stat

import numpy as np
import pytest

from simdata.common.errors import UserError
from simdata.common.fetched import NotFetched, check_content, is_there
from simdata.common.yaml_text import read_text
from simdata.encoders.weights import find_given
from simdata.imports.embedding_files import read_rows

KEY = "MD5E-s2147--7bf3b1e0b6d1a9f1f6a5e0d3c2b1a098.nii"


def annex_link(path, depth=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(f"{'../' * depth}.git/annex/objects/x1/2k/{KEY}/{KEY}")
    return path


def annex_pointer(path):
    path.write_text(f"/annex/objects/{KEY}\n")
    return path


def lfs_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n")
    return path


def link_to_nowhere(path):
    path.symlink_to("/mnt/elsewhere/file")
    return path


def linked_folder(path):
    path.with_name("linked").symlink_to("/mnt/elsewhere")
    return path.with_name("linked") / "a" / path.name


def circle(path):
    path.symlink_to(path.name)
    return path


def empty(path):
    path.touch()
    return path


def folder(path):
    path.mkdir()
    return path


def pipe(path):
    os.mkfifo(path)
    return path


UNFETCHED = {
    annex_link: r"a link of git-annex\); run `datalad get .*` \(or `git annex get",
    annex_pointer: r"a pointer of git-annex\); run `datalad get",
    lfs_pointer: r"a pointer of Git LFS\); run `git lfs pull",
    link_to_nowhere: r"a link to /mnt/elsewhere/file, which is not there",
    linked_folder: r"linked is a link to /mnt/elsewhere, which is not there",
}
BROKEN = {
    circle: "links lead in a circle",
    empty: r"is empty \(0 bytes\)",
    folder: "is a folder, where a file is expected",
    pipe: "is no regular file",
}


@pytest.mark.parametrize("make", UNFETCHED)
def test_content_that_is_elsewhere_is_said_to_be_with_the_command(tmp_path, make):
    path = make(tmp_path / "film.mp4")
    with pytest.raises(NotFetched, match=f"content not fetched .*{UNFETCHED[make]}"):
        check_content(path)
    assert is_there(path)


@pytest.mark.parametrize("make", BROKEN)
def test_what_cannot_be_read_is_said(tmp_path, make):
    path = make(tmp_path / "film.mp4")
    with pytest.raises(UserError, match=BROKEN[make]):
        check_content(path)
    assert is_there(path)


def test_a_file_without_permission_is_said(tmp_path, monkeypatch):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film")
    path.chmod(0)
    if os.access(path, os.R_OK):  # the tests run as root

        def refuse(self, *arguments, **options):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(permission denied\)"):
        check_content(path)


def test_nothing_at_all_and_files_with_content_are_told_apart(tmp_path):
    for path in (tmp_path / "nothing", tmp_path / "no/folder/x"):
        assert not is_there(path)
        with pytest.raises(FileNotFoundError):
            check_content(path)
    file = tmp_path / "file"
    file.write_bytes(b"content")
    (tmp_path / "link").symlink_to(file)
    for path in (file, tmp_path / "link"):
        check_content(path)
    with pytest.raises(FileNotFoundError):
        check_content(file / "below")
    assert stat.S_ISREG(file.stat().st_mode)


@pytest.mark.parametrize("make", [annex_link, annex_pointer, lfs_pointer])
def test_embeddings_and_weights_that_were_not_fetched_are_said_to_be(tmp_path, make):
    with pytest.raises(UserError, match="content not fetched"):
        read_rows(make(tmp_path / "rows.npy"), None, [0], 1)
    with pytest.raises(UserError, match="content not fetched"):
        find_given("clip", make(tmp_path / "model.safetensors"), "")
    with pytest.raises(UserError, match="content not fetched"):
        find_given("clip", tmp_path, "")
    clips = tmp_path / "clips"
    clips.mkdir()
    np.save(clips / "clip_0.npy", np.zeros(4, np.float32))
    make(clips / "clip_1.npy")
    with pytest.raises(UserError, match=r"clip_1\.npy.*content not fetched"):
        read_rows(clips, None, [0], 1)


def test_settings_that_were_not_fetched_are_said_to_be(tmp_path):
    with pytest.raises(UserError, match="content not fetched"):
        read_text(annex_link(tmp_path / "mine.yaml"))
