"""Write docs/config.md, the reference of all keys of a configuration, from the schema.

python scripts/write_config_page.py [PAGE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from simtrain.config.reference import KINDS, Group, Key, groups, settings_of_presets

PAGE = Path(__file__).parents[1] / "docs" / "config.md"
HEAD = """\
<!-- scripts/write_config_page.py writes this page from the sections in simtrain/config: change it there. -->
# Configuration

A configuration is a preset or a YAML file (`--config`; from Python `config=`), with changes of single keys on
top (`--set train.steps=1000`; from Python `overrides={"train.steps": 1000}`). A file states only what differs
from the defaults, the tiny encoder of SIM (Dahan et al., ICLR 2025) with a course of training of our own. The
presets `sim-*` and `demo` have another patch embedding than that, `pca`:

```yaml
modalities: [fmri, video]
train:
  steps: 1000
  learning_rate: 1.0e-4
```

Other keys, and values out of range, are refused by name. `simtrain config show [PRESET|FILE]` prints what
this page has with the values of a preset or a file (`--pretrain`: for `simtrain pretrain`), `simtrain config
list` the presets. `config.yaml` in a run folder is a whole configuration, with what the store filled in.
"""


def page() -> str:
    """The whole page, in Markdown."""
    fit, pretrain = groups(KINDS["fit"]), groups(KINDS["pretrain"])
    parts = [
        HEAD,
        "## `simtrain fit`\n",
        *map(_group, fit),
        "## `simtrain pretrain`\n",
        _shared(fit, pretrain),
    ]
    own = [group for group in pretrain if group.name not in {group.name for group in fit}]
    return "\n".join([*parts, *map(_group, own), "## Presets\n", *_presets()])


def _group(group: Group) -> str:
    title = f"### `{group.name}`\n\n" if group.name else ""
    meaning = f"{group.meaning}\n\n" if group.name else ""
    return title + meaning + _table(("key", "default", "may be", "meaning"), map(_row, group.keys))


def _row(key: Key) -> tuple[str, ...]:
    default = "" if key.default is None else f"`{key.default}`"
    return f"`{key.name}`", default, f"`{key.allowed}`", key.meaning


def _shared(fit: Iterable[Group], pretrain: Iterable[Group]) -> str:
    """What a pretraining takes of the keys of `simtrain fit`."""
    names = [group.name for group in pretrain if group.name in {group.name for group in fit}]
    taken = {key.name for group in pretrain for key in group.keys}
    known = [key.name for group in fit if group.name in names for key in group.keys]
    left_out = [f"`{name}`" for name in known if name not in taken]
    listed = ", ".join(f"`{name}`" for name in names)
    return f"The keys of {listed} above but {', '.join(left_out)}, and\n"


def _presets() -> Iterator[str]:
    for command, kind in KINDS.items():
        rows = [
            (f"`{name}`", " ".join(f"`{setting}`" for setting in settings) or "nothing")
            for name, settings in settings_of_presets(kind).items()
        ]
        yield _table((f"of `simtrain {command}`", "differs from the defaults in"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (
        " | ".join(cell.replace("|", "\\|") for cell in row) for row in [head, ["---"] * len(head), *rows]
    )
    return "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    Path(*sys.argv[1:] or [PAGE]).write_text(page())
