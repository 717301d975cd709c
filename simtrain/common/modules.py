"""torch's containers of modules, which say of what kind these are."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import nn

Kind = TypeVar("Kind", bound=nn.Module)


class Modules(nn.ModuleList, Generic[Kind]):
    """A `torch.nn.ModuleList` of one kind."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Kind]: ...


class ModulesByName(nn.ModuleDict, Generic[Kind]):
    """A `torch.nn.ModuleDict` of one kind."""

    if TYPE_CHECKING:

        def __getitem__(self, key: str) -> Kind: ...

        def values(self) -> ValuesView[Kind]: ...

        def items(self) -> ItemsView[str, Kind]: ...
