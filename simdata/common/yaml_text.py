"""YAML that users write: plain values, each key once, in bounded time and memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from simdata.common.errors import UserError
from simdata.common.fetched import check_content

LARGEST = 1_000_000  # bytes
INTEGER = "tag:yaml.org,2002:int"
MOST_VALUES = 200_000  # with aliases written out


def read_text(path: Path) -> str:
    """The text of a small file of the user's, in UTF-8.

    Raises
    ------
    UserError
        If it cannot be read, is too large, or not UTF-8.
    """
    check_content(path, may_be_empty=True)
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{path}: is larger than {LARGEST // 10**6} MB, which no file of settings is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: is not UTF-8 (line {line}, byte {content[error.start]:#04x}); save it as UTF-8"
        ) from None


def parse_yaml(text: str, origin: str) -> Any:
    """What a YAML text says; ``origin`` names it in messages.

    Raises
    ------
    UserError
        If it is not YAML, has a key twice, or grows beyond all bounds by its aliases.
    """
    try:
        return _Loader.read(text)
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is not valid YAML: {error}") from None
    except RecursionError:
        raise UserError(f"{origin} is not valid YAML: it is nested too deeply") from None
    except Exception as error:  # whatever a date of month 13, or `!!int x`, makes PyYAML stumble over
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{origin} is not valid YAML: a value cannot be read ({reason})") from None


class _Loader(yaml.SafeLoader):
    """YAML's plain values; repeated keys and texts that grow are errors that say their line."""

    @classmethod
    def read(cls, text: str) -> Any:
        loader = cls(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            loader._size(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()

    def _size(self, node: yaml.Node, known: dict[int, int | None]) -> int:
        """How many values a node stands for when its aliases are written out; also checks its keys."""
        if id(node) not in known:
            known[id(node)] = None  # until its own parts are counted
            inside = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.ScalarNode):
                self._check_scalar(node)
            if isinstance(node, yaml.MappingNode):
                self._check_keys(node)
                inside = [part for pair in inside for part in pair]
            known[id(node)] = 1 + sum(self._size(part, known) for part in inside)
        size = known[id(node)]
        if size is None:
            raise _fault("an alias stands for what it is a part of", node)
        if size > MOST_VALUES:
            raise _fault(f"its aliases stand for more than {MOST_VALUES:,} values", node)
        return size

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        if node.tag == INTEGER and re.fullmatch("[-+]?0[0-9_]+", node.value):
            raise _fault(f"{node.value} would be read as octal; leave the 0 out, or write it in quotes", node)
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _fault("half of a surrogate pair is no character", node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[Any, yaml.Node] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _fault("keys must be plain words", key_node)
            key = (key_node.tag, key_node.value)
            if key in seen:
                first = seen[key].start_mark.line + 1
                raise _fault(f"has the key {key_node.value} twice, first in line {first}", key_node)
            seen[key] = key_node


def _fault(what: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {node.start_mark.line + 1}: {what}")
