import pytest

from simdata.common.errors import UserError
from simdata.common.registry import Registry

COLOURS = Registry("test.colours", "colour", needs="simdata[colours]")


class Colour: ...


def test_what_a_package_registers_is_found_by_name(installed):
    installed(
        "one",
        COLOURS.group,
        "red = one_module:Red\nblue = one_module:Blue",
        "class Red: ...\nclass Blue: ...",
    )
    assert COLOURS.names() == ["blue", "red"]
    assert COLOURS.load("red").__name__ == "Red"
    COLOURS.must_have("blue")
    assert COLOURS.package("blue") == "one"
    assert COLOURS.package("one_module:Blue") is None


def test_what_is_installed_meanwhile_is_found(installed):
    """As by pip, beside a notebook that has asked already."""
    installed("one", COLOURS.group, "red = one_module:Red")
    assert COLOURS.names() == ["red"]
    installed("two", COLOURS.group, "blue = two_module:Blue")
    assert COLOURS.names() == ["blue", "red"]


def test_a_class_of_ones_own_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "notebook_colours.py").write_text(
        "from simdata.common.registry import Registry\nclass Green(Registry): ..."
    )
    assert COLOURS.subclass("notebook_colours:Green", Registry).__name__ == "Green"
    COLOURS.must_have("not_imported_yet:Anything")
    with pytest.raises(UserError, match="colour notebook_colours:Green: is no subclass of Colour"):
        COLOURS.subclass("notebook_colours:Green", Colour)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gray", "no colour 'gray': choose from missing, .*or one of yours as package.module:name"),
        ("needy", "colour needy needs the package no_such_library: see how one is installed"),
        ("missing", "colour missing of one cannot be imported .*one_module:Missing: AttributeError"),
        ("word", "colour word of one .*is no subclass of Colour"),
        ("one_module:", "one_module has no name"),
        (":Red", "it has no Red"),
        ("one_module:Violet", "one_module has no Violet"),
        ("no_such:Violet", "there is no module no_such on Python's path"),
    ],
)
def test_what_is_not_there_is_explained(installed, text, message):
    installed(
        "one",
        COLOURS.group,
        "missing = one_module:Missing\nneedy = no_such_library:Red\nword = one_module:__name__",
    )
    with pytest.raises(UserError, match=message):
        COLOURS.subclass(text, Colour)


def test_an_installation_that_is_older_than_the_group_is_told():
    """As of a checkout that was updated behind pip's back."""
    with pytest.raises(UserError, match=r"none is registered; .*or install simdata again"):
        COLOURS.must_have("red")


def test_a_name_of_two_packages_is_nobodys(installed):
    installed("one", COLOURS.group, "red = one_module:Red", "class Red: ...")
    installed("two", COLOURS.group, "red = two_module:Red", "class Red: ...")
    assert COLOURS.names() == ["red"]
    for ask in (COLOURS.load, COLOURS.must_have):
        with pytest.raises(UserError, match="colour red is registered by one and two: uninstall all but one"):
            ask("red")


def test_the_same_package_twice_on_the_path_is_one(installed):
    """As an editable installation beside a regular one is."""
    installed("one", COLOURS.group, "red = one_module:Red", "class Red: ...")
    installed("uno", COLOURS.group, "red = one_module:Red", "")
    assert COLOURS.load("red").__name__ == "Red"


def test_a_mistake_inside_ones_own_module_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_colours.py").write_text("import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        COLOURS.load("broken_colours:Red")
