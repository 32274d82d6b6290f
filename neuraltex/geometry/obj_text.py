"""The bytes of an OBJ file cut into statements, and their numbers parsed in bulk.

Python never loops over the lines of the big blocks (`v`, `vt`, `vn`, `f`): numpy finds where lines and words begin, and
one call parses all numbers of one kind. Only an error makes a slow pass over the lines, to name the one at fault.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from neuraltex.errors import InputError

VERT, VERT_UV, NORMAL, FACE, NAME = 1, 2, 3, 4, 5
KEYWORD_LENGTH = {VERT: 1, VERT_UV: 2, NORMAL: 2, FACE: 1}
KEYWORD = {VERT: "v", VERT_UV: "vt", NORMAL: "vn", FACE: "f"}

_NEWLINE, _SPACE, _HASH = 10, 32, 35
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


class Block:
    """All statements of one kind, joined, with the keyword blanked out.

    Args:
        text: the file they come from.
        kind: one of the kinds above.
    """

    def __init__(self, text: ObjText, kind: int) -> None:
        self.text = text
        self.kind = kind
        self.statements = np.flatnonzero(text.kinds == kind)
        first, last = text.starts[self.statements], text.ends[self.statements]
        # Runs of neighbours are copied whole: most files hold each kind in one run.
        opens = np.flatnonzero(np.diff(self.statements, prepend=-2) != 1)
        closes = np.append(opens[1:], len(self.statements)) - 1 if len(opens) else opens
        run_start, run_end = first[opens], last[closes] + 1
        view = text.bytes.data
        pieces = [view[a:b] for a, b in zip(run_start.tolist(), run_end.tolist(), strict=True)]
        self.bytes = np.frombuffer(bytearray(b"".join(pieces)), np.uint8)
        offset = np.cumsum(run_end - run_start) - (run_end - run_start)
        self.line_starts = first + np.repeat(offset - run_start, closes - opens + 1)
        for k in range(KEYWORD_LENGTH[kind]):
            self.bytes[self.line_starts + k] = _SPACE

    def words(self) -> tuple[Int[np.ndarray, "W"], Int[np.ndarray, "W"], Int[np.ndarray, "N"]]:
        """Where each word starts and ends (exclusive) in `bytes`, and how many words each statement has."""
        space = _is_space(self.bytes)
        edges = np.flatnonzero(space[1:] != space[:-1]) + 1
        # A block starts with its blanked keyword and ends with a newline, so edges alternate start, end.
        starts, ends = edges[0::2], edges[1::2]
        num = len(self.line_starts)
        if num and len(starts) % num == 0 and len(starts):
            grid = starts.reshape(num, -1)
            if (grid[:, 0] > self.line_starts).all() and (grid[:-1, -1] < self.line_starts[1:]).all():
                return starts, ends, np.full(num, grid.shape[1])
        at = np.searchsorted(starts, np.append(self.line_starts, len(self.bytes)))
        return starts, ends, np.diff(at)

    def floats(self, needed: int) -> tuple[Float[np.ndarray, "W"], Int[np.ndarray, "N"]]:
        """All numbers of the block, and how many each statement has.

        Raises:
            InputError: a word is not a number, or a statement has fewer than `needed`.
        """
        starts, _, counts = self.words()
        short = np.flatnonzero(counts < needed)
        if len(short):
            raise self.error(
                int(short[0]), f"'{KEYWORD[self.kind]}' needs {needed} numbers, found {int(counts[short[0]])}"
            )
        values = parse_numbers(self.bytes, np.float64)
        if values is None or len(values) != len(starts):
            raise self.not_a_number(_NUMBER, "a number")
        return values, counts

    def error(self, row: int, problem: str, *, hint: str = "") -> InputError:
        """An error about statement number `row` of this block."""
        return self.text.error(int(self.statements[row]), problem, hint=hint)

    def not_a_number(self, pattern: re.Pattern[bytes], expected: str) -> InputError:
        """An error about the first word that `pattern` does not match; slow, as it reads line by line."""
        for row, line in enumerate(self._lines()):
            for word in line.split():
                if not pattern.fullmatch(word):
                    shown = word[:40].decode("latin-1")
                    return self.error(row, f"'{KEYWORD[self.kind]}' expected {expected}, found {shown!r}")
        return InputError(self.text.path, f"a '{KEYWORD[self.kind]}' statement could not be read")

    def _lines(self) -> Iterator[bytes]:
        bounds = np.append(self.line_starts, len(self.bytes)).tolist()
        data = self.bytes.tobytes()
        for a, b in pairwise(bounds):
            yield data[a:b]


class ObjText:
    """An OBJ file as bytes with its statements found.

    `starts` and `ends` bound each non-empty statement in `bytes`; `kinds` says what it is (0: not used).

    Args:
        path: the file to read.

    Raises:
        InputError: the file is missing, is a folder, or is not text.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = read_text_bytes(path, "an OBJ file")
        self._unjoined = data  # for line numbers: joined lines count as they stand in the file
        if b"\\\n" in data:
            data = _join_continued(data)
        self.bytes = np.frombuffer(bytearray(data + b"\n"), np.uint8)
        if b"#" in data:
            _blank_comments(self.bytes)
        newlines = np.flatnonzero(self.bytes == _NEWLINE)
        starts = np.concatenate([[0], newlines[:-1] + 1])
        starts = _skip_spaces(self.bytes, starts)
        full = starts < newlines
        self.starts, self.ends = starts[full], newlines[full]
        self.kinds = self._classify()

    def _classify(self) -> UInt8[np.ndarray, "S"]:
        last = len(self.bytes) - 1  # a newline, so reading past the end finds a space
        first, second, third = (self.bytes[np.minimum(self.starts + k, last)] for k in range(3))
        second_space, third_space = _is_space(second), _is_space(third)
        is_v = first == ord("v")
        kinds = np.zeros(len(first), np.uint8)
        kinds[is_v & second_space] = VERT
        kinds[is_v & (second == ord("t")) & third_space] = VERT_UV
        kinds[is_v & (second == ord("n")) & third_space] = NORMAL
        kinds[(first == ord("f")) & second_space] = FACE
        kinds[((first == ord("o")) | (first == ord("g"))) & second_space] = NAME
        kinds[(first == ord("u")) | (first == ord("m"))] = NAME
        return kinds

    def block(self, kind: int) -> Block:
        """All statements of one kind."""
        return Block(self, kind)

    def names(self) -> Iterator[tuple[int, str, str]]:
        """`(statement, keyword, rest of the line)` of every `o`, `g`, `usemtl` and `mtllib`."""
        data = self.bytes.data
        for statement in np.flatnonzero(self.kinds == NAME).tolist():
            words = decode(bytes(data[self.starts[statement] : self.ends[statement]])).split(None, 1)
            if words[0] in ("o", "g", "usemtl", "mtllib"):
                yield statement, words[0], words[1].strip() if len(words) > 1 else ""

    def error(self, statement: int, problem: str, *, hint: str = "") -> InputError:
        """An error that names the line of `statement`."""
        # Comments were blanked and continued lines joined byte for byte, so offsets still match the file's.
        line = self._unjoined.count(b"\n", 0, int(self.starts[statement])) + 1
        return InputError(self.path, problem, line=line, hint=hint)


def read_text_bytes(path: Path, expected: str) -> bytes:
    """The bytes of a text file, lines ended by a single newline, without a byte-order mark.

    Raises:
        InputError: the file is missing, is a folder, cannot be read, or holds zero bytes as no text does.
    """
    if path.is_dir():
        raise InputError(path, f"is a folder, {expected} was expected")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(path, "does not exist", hint="check the path") from error
    except OSError as error:
        raise InputError(path, f"could not be read ({error.strerror or error})") from error
    if b"\0" in data:
        raise InputError(path, f"is binary, {expected} is text", hint="check the file's suffix")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def decode(data: bytes) -> str:
    """Text of unknown encoding: UTF-8, else latin-1, which never fails."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_numbers(data: UInt8[np.ndarray, "N"], dtype: type[np.generic]) -> np.ndarray | None:
    """All numbers of a text separated by white space; None where something else stands in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # before numpy 2.3 a bad word was only a warning
        try:
            return np.fromstring(data.tobytes(), dtype=dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            return None


def _is_space(data: UInt8[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
    # Tab to carriage return are 9 to 13; smaller bytes wrap around to large ones.
    return (data == _SPACE) | (data - np.uint8(9) <= 4)


def _skip_spaces(data: UInt8[np.ndarray, "N"], starts: Int[np.ndarray, "L"]) -> Int[np.ndarray, "L"]:
    moving = np.arange(len(starts))
    while len(moving):
        byte = data[starts[moving]]
        moving = moving[_is_space(byte) & (byte != _NEWLINE)]
        starts[moving] += 1
    return starts


def _join_continued(data: bytes) -> bytes:
    joined = bytearray(data)
    at = data.find(b"\\\n")
    while at >= 0:
        line_start = joined.rfind(b"\n", 0, at) + 1
        # The backslash that ends a comment belongs to the comment (they often quote a Windows folder).
        if b"#" not in joined[line_start:at]:
            joined[at : at + 2] = b"  "
        at = data.find(b"\\\n", at + 2)
    return bytes(joined)


def _blank_comments(data: UInt8[np.ndarray, "N"]) -> None:
    """Overwrite comments by spaces. A '#' inside a name (`usemtl steel#2`) starts none: no space stands before it."""
    hashes = np.flatnonzero(data == _HASH)
    newlines = np.flatnonzero(data == _NEWLINE)
    line = np.searchsorted(newlines, hashes)
    line_start = np.where(line > 0, newlines[line - 1] + 1, 0)
    first_byte = data[_skip_spaces(data, line_start.copy())]
    before = data[np.maximum(hashes - 1, 0)]
    numeric = (first_byte == ord("v")) | (first_byte == ord("f"))
    starts_comment = (hashes == 0) | _is_space(before) | numeric
    depth = np.zeros(len(data) + 1, np.int8)
    hashes, line = hashes[starts_comment], line[starts_comment]
    first_of_line = np.diff(line, prepend=-1) != 0
    depth[hashes[first_of_line]] = 1
    depth[newlines[line[first_of_line]]] = -1
    data[np.cumsum(depth[:-1], dtype=np.int8) > 0] = _SPACE
