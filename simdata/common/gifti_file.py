"""GIFTI files, array by array: a long time series is never in memory as a whole.

The format is that of the GIFTI specification 1.0 (2011). nibabel reads the same files, but keeps all arrays
at once, and takes whatever length an array states or decompresses to.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

import numpy as np
from nibabel.nifti1 import data_type_codes

from simdata.common.errors import UserError
from simdata.common.source_file import AGAIN, opened

READ_BYTES = 2**18
MOST_VALUES = 2**22  # of an array; a surface of 163,842 vertices has 327,680 triangles
MOST_TEXT = 2**20  # letters of the metadata of the file, or of an array
MOST_MARKUP = 2**26  # bytes without the end of an element
LEAST_BYTES = 100  # of an array with its attributes
DEPTH = 16  # of elements in one another: GIFTI needs 5
DATA_TYPE, INTENT = "NIFTI_TYPE_", "NIFTI_INTENT_"
ASCII, BASE64, GZIP, EXTERNAL = "ASCII", "Base64Binary", "GZipBase64Binary", "ExternalFileBinary"
LETTERS = {ASCII: 64, BASE64: 16, GZIP: 20}  # of a value at most, with room for white space
ORDERS = {"RowMajorOrder": "C", "ColumnMajorOrder": "F"}
ENDIANS = {"LittleEndian": "<", "BigEndian": ">"}


@dataclass(frozen=True)
class ArrayHead:
    """What is said of a data array before its values.

    Attributes
    ----------
    intent : such as ``TIME_SERIES``
    shape, dtype : as stored, integer or float of at most 8 bytes, in the file's byte order
    """

    intent: str
    shape: tuple[int, ...]
    dtype: np.dtype
    index_order: str
    encoding: str
    external: tuple[str, int]
    metadata: dict[str, str]


@dataclass(frozen=True)
class GiftiHead:
    """The beginning of a file: how many arrays it says it has, what is said of it, and its first array."""

    arrays: int
    metadata: dict[str, str]
    first: ArrayHead


def read_head(path: Path) -> GiftiHead:
    """The beginning of a file, up to the values of its first array.

    Raises
    ------
    UserError
        If it is no GIFTI file, or contradicts itself up to there.
    """
    parser = _Parser(path)
    with opened(path) as file:
        for piece in iter(lambda: file.read(READ_BYTES // 8), b""):
            parser.feed(piece)
            if parser.first is not None:
                if parser.count > path.stat().st_size // LEAST_BYTES:
                    raise _wrong(path, f"NumberOfDataArrays {parser.count:,}, for which it is too short")
                return GiftiHead(parser.count, parser.metadata, parser.first)
        parser.close()
    raise _wrong(path, "no data array")


def read_arrays(path: Path) -> Iterator[tuple[ArrayHead, np.ndarray]]:
    """Every data array with its values, in the file's order.

    The values are (shape), of the file's own type, and may not be written to.

    Raises
    ------
    UserError
        If the file is damaged, or has another number of arrays than it says: when the end is reached.
    """
    parser, found = _Parser(path), 0
    with opened(path) as file:
        for piece in iter(lambda: file.read(READ_BYTES), b""):
            parser.feed(piece)
            while parser.done:
                found += 1
                yield parser.done.pop(0)
        parser.close()
    if found != parser.count:
        raise _wrong(path, f"{found:,} data arrays, and NumberOfDataArrays {parser.count:,}")


@dataclass
class _Parser:
    """Events of expat, gathered to arrays."""

    path: Path
    count: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    first: ArrayHead | None = None
    done: list[tuple[ArrayHead, np.ndarray]] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _attributes: dict[str, str] = field(default_factory=dict)
    _of_array: dict[str, str] = field(default_factory=dict)
    _array: tuple[ArrayHead, np.ndarray] | None = None
    _text: list[str] = field(default_factory=list)
    _letters: int = 0
    _limit: int = MOST_TEXT
    _name: str = ""
    _said: int = 0
    _since: int = 0

    def __post_init__(self) -> None:
        expat_parser: Any = expat.ParserCreate()
        expat_parser.buffer_text = True
        expat_parser.StartElementHandler, expat_parser.EndElementHandler = self._begin, self._end
        expat_parser.CharacterDataHandler = self._characters
        expat_parser.EntityDeclHandler = self._refuse_entities
        self._expat = expat_parser

    def feed(self, piece: bytes) -> None:
        self._since += len(piece)
        if self._since > MOST_MARKUP:
            raise _wrong(self.path, f"an element of more than {MOST_MARKUP:,} bytes")
        self._parse(piece, False)

    def close(self) -> None:
        self._parse(b"", True)

    def _parse(self, piece: bytes, final: bool) -> None:
        try:
            self._expat.Parse(piece, final)
        except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: of an encoding unheard of
            raise UserError(f"{self.path}: cannot be read as GIFTI ({error}); {AGAIN}") from None

    def _refuse_entities(self, *_: object) -> NoReturn:
        raise _wrong(self.path, "an entity declared in it, which GIFTI has not")

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._open and tag != "GIFTI":
            raise UserError(f"{self.path}: is not GIFTI (its XML is of {tag[:40]!r})")
        self._open.append(tag)
        if len(self._open) > DEPTH:
            raise _wrong(self.path, f"more than {DEPTH} elements in one another")
        if tag == "GIFTI":
            self.count = self._whole(attributes, "NumberOfDataArrays", "the file")
        elif tag == "DataArray":
            self._attributes, self._of_array, self._array, self._said = attributes, {}, None, 0
            self._limit = MOST_TEXT
        elif tag == "Data":
            head = self._head()
            self.first = self.first or head
            self._limit = LETTERS.get(head.encoding, 0) * prod(head.shape) + 4096
        self._text, self._letters = [], 0

    def _characters(self, text: str) -> None:
        self._text.append(text)
        self._letters += len(text)
        if self._letters > self._limit:
            raise _wrong(self.path, f"more text in {self._open[-1]} than its values need")

    def _end(self, tag: str) -> None:
        self._open.pop()
        self._since = 0
        text = "".join(self._text)
        if tag == "Name":
            self._name = text.strip()
        elif tag == "Value":
            pairs = self._of_array if "DataArray" in self._open else self.metadata
            pairs[self._name] = text.strip()
            self._said += len(self._name) + len(text)
            if self._said > MOST_TEXT:
                raise _wrong(self.path, f"metadata of more than {MOST_TEXT:,} letters")
        elif tag == "Data":
            head = self._head()
            self._array = head, self._values(head, text)
        elif tag == "DataArray":
            if self._array is None:
                raise _wrong(self.path, "a data array without Data")
            self.done.append(self._array)
        self._text, self._letters = [], 0

    def _head(self) -> ArrayHead:
        said = self._attributes
        dimensions = self._whole(said, "Dimensionality", "a data array")
        if not 1 <= dimensions <= 6:
            raise _wrong(self.path, f"Dimensionality {dimensions:,}")
        shape = tuple(self._whole(said, f"Dim{axis}", "a data array") for axis in range(dimensions))
        if not all(shape):
            raise _wrong(self.path, "a data array without values")
        return ArrayHead(
            said.get("Intent", "").removeprefix(INTENT),
            shape,
            self._dtype(said),
            self._one_of(ORDERS, "ArrayIndexingOrder"),
            self._one_of({name: name for name in (*LETTERS, EXTERNAL)}, "Encoding"),
            (said.get("ExternalFileName", ""), self._offset(said)),
            dict(self._of_array),
        )

    def _dtype(self, said: dict[str, str]) -> np.dtype:
        name = said.get("DataType", "")
        codes: Any = data_type_codes
        try:
            dtype = np.dtype(codes.dtype[codes.code[name]])
        except (KeyError, TypeError):
            raise _wrong(self.path, f"DataType {name[:40]!r}") from None
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise UserError(f"{self.path}: holds {name.removeprefix(DATA_TYPE).lower()}; save it as float32")
        return dtype.newbyteorder(self._one_of(ENDIANS, "Endian"))

    def _offset(self, said: dict[str, str]) -> int:
        return (
            self._whole(said, "ExternalFileOffset", "a data array") if said.get("ExternalFileOffset") else 0
        )

    def _one_of(self, known: dict[str, str], name: str) -> str:
        value = self._attributes.get(name, "")
        if value not in known:
            raise _wrong(self.path, f"{name} {value[:40]!r}; known are {', '.join(known)}")
        return known[value]

    def _whole(self, said: dict[str, str], name: str, of: str) -> int:
        text = said.get(name, "").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise _wrong(self.path, f"{name} {text[:40]!r} of {of}, which is no whole number")
        return int(text)

    def _values(self, head: ArrayHead, text: str) -> np.ndarray:
        if (count := prod(head.shape)) > MOST_VALUES:
            raise _wrong(self.path, f"a data array of {count:,} values; no cortical mesh has so many")
        if head.encoding == ASCII:
            flat = self._from_words(text, head.dtype)
        else:
            flat = self._from_bytes(self._decoded(head, text), head.dtype)
        if len(flat) != count:
            raise _wrong(self.path, f"{len(flat):,} values, or bytes of them, for {count:,} of a data array")
        values = flat.reshape(head.shape, order="F" if head.index_order == "F" else "C")
        values.flags.writeable = False
        return values

    def _from_words(self, text: str, dtype: np.dtype) -> np.ndarray:
        try:
            return np.array(text.split(), np.float64).astype(dtype)
        except ValueError as error:
            raise UserError(f"{self.path}: cannot be read as GIFTI ({error}); {AGAIN}") from None

    def _from_bytes(self, content: bytes, dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(content[: len(content) // dtype.itemsize * dtype.itemsize], dtype)

    def _decoded(self, head: ArrayHead, text: str) -> bytes:
        size = prod(head.shape) * head.dtype.itemsize
        if head.encoding == EXTERNAL:
            return self._beside(*head.external, size)
        try:
            words = text.encode("ascii", "replace").translate(None, b" \t\r\n")
            content = binascii.a2b_base64(words, strict_mode=True)
            if head.encoding == BASE64:
                return content
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(content, size + 1)
            if not unpacking.eof and len(content) == size:
                unpacking.decompress(unpacking.unconsumed_tail, 1)  # the checksum, behind the last value
        except (binascii.Error, zlib.error) as error:
            raise UserError(f"{self.path}: cannot be read as GIFTI ({error}); {AGAIN}") from None
        if not unpacking.eof:
            raise _wrong(self.path, f"other than the {size:,} bytes of a data array compressed in it")
        return content

    def _beside(self, name: str, offset: int, size: int) -> bytes:
        """So many bytes of the file, beside this one, in which the values are."""
        if not name or Path(name).name != name:
            raise UserError(
                f"{self.path}: its values are in {name[:80]!r}, which is no file beside it; put it there, or "
                "write one file with `wb_command -gifti-convert GZIP_BASE64_BINARY IN OUT`"
            )
        with opened(self.path.with_name(name)) as file:
            file.seek(offset)
            return file.read(size)


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"{path}: its GIFTI has {what}; {AGAIN}")
