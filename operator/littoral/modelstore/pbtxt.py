"""Reading protobuf's text format, in which Triton's config.pbtxt is written, without Triton's schema.

A text is read into fields, each with the piece of text that it was written as, so that one text can be completed with
fields of another while not a character of it changes. Nothing is known of what the fields mean: a name may occur once
or many times, and a list is as many fields of that name.

The grammar: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<skipped>(?:\s|\#[^\n]*)+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[\w.+-]+)
    |(?P<sign>[{}\[\]<>:,;/])""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    rb"|(?P<one>.))",
    re.DOTALL,
)
_PLAIN: Final = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_CLOSES: Final = {"{": "}", "<": ">"}
_DEEPEST: Final = 64
"""Of messages within messages; protobuf itself stops at 100, a model's configuration has five."""


class Malformed(ValueError):  # noqa: N818 - what the text is
    """The text is not in protobuf's text format; the message names the line."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `value` is the text of a scalar (a string's without quotes and escapes) or the fields of a message.

    `text` is how it is written; an element of a list is written as a field of its own.
    """

    name: str
    value: "str | tuple[Field, ...]"
    text: str

    def scalar(self, name: str) -> str | None:
        """Return the last scalar of that name in this message, as protobuf does; None where there is none."""
        return scalar(self.value, name) if isinstance(self.value, tuple) else None


def scalar(fields: tuple[Field, ...], name: str) -> str | None:
    """Return the last scalar of that name among `fields`, as protobuf does; None where there is none."""
    values = [field.value for field in fields if field.name == name and isinstance(field.value, str)]
    return values[-1] if values else None


def parse(text: str) -> tuple[Field, ...]:
    """Return the fields of a message. Raises Malformed."""
    reader = _Reader(text)
    return tuple(reader.fields(until="", depth=0))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Reader:
    """A text being read, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._end = 0
        self._next = next(self._tokens)

    def fields(self, *, until: str, depth: int) -> Iterator[Field]:
        """Yield the fields up to the sign `until`, which is taken; "" is the end of the text."""
        if depth > _DEEPEST:
            raise self._malformed(f"more than {_DEEPEST} messages within one another")
        while not self._at(until):
            start, name = self._next.start, self._name()
            colon = self._skip(":")
            if self._skip("["):
                yield from self._list(name, depth, scalars=colon)
            else:
                yield Field(name, self._value(depth, scalars=colon), self._text[start : self._end])
            self._skip(",", ";")
        if until:
            self._take()

    def _name(self) -> str:
        if self._skip("["):  # an extension, or the type of an Any: no model's configuration has one
            parts = []
            while not self._at("]"):
                parts.append(self._take(but="").text)
            self._take()
            return f"[{''.join(parts)}]"
        if self._next.kind != "word":
            raise self._malformed("the name of a field is expected")
        return self._take().text

    def _list(self, name: str, depth: int, *, scalars: bool) -> Iterator[Field]:
        while not self._skip("]"):
            start = self._next.start
            value = self._value(depth, scalars=scalars)
            yield Field(name, value, f"{name}: {self._text[start : self._end]}")
            if not self._at("]") and not self._skip(","):
                raise self._malformed("a list is not closed")

    def _value(self, depth: int, *, scalars: bool) -> str | tuple[Field, ...]:
        if self._next.text in _CLOSES and self._next.kind == "sign":
            return tuple(self.fields(until=_CLOSES[self._take().text], depth=depth + 1))
        if scalars and self._next.kind == "word":
            return self._take().text
        if scalars and self._next.kind == "string":
            pieces = []
            while self._next.kind == "string":
                pieces.append(_unescaped(self._take().text[1:-1]))
            return b"".join(pieces).decode("utf-8", errors="replace")
        raise self._malformed("the value of a field is expected" if scalars else "':' or a message is expected")

    def _at(self, sign: str) -> bool:
        return self._next.text == sign and self._next.kind in {"sign", "end"}

    def _skip(self, *signs: str) -> bool:
        found = any(self._at(sign) for sign in signs)
        if found:
            self._take()
        return found

    def _take(self, *, but: str | None = None) -> _Token:
        taken = self._next
        if but is not None and self._at(but):
            raise self._malformed("it ends too early")
        self._end = taken.end
        self._next = next(self._tokens)
        return taken

    def _scan(self) -> Iterator[_Token]:
        position = 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None:
                self._next = _Token("", self._text[position], position, position)
                raise self._malformed("a string is not closed, or a character has no meaning here")
            position = match.end()
            if match.lastgroup != "skipped":
                yield _Token(str(match.lastgroup), match[0], match.start(), match.end())
        while True:
            yield _Token("end", "", len(self._text), len(self._text))

    def _malformed(self, what: str) -> Malformed:
        found = self._next.text[:20]
        where = f"at {found!a}" if found else "at the end"
        return Malformed(f"line {self._text.count(chr(10), 0, self._next.start) + 1}: {what}, {where}")


def _unescaped(literal: str) -> bytes:
    def meant(match: re.Match[bytes]) -> bytes:
        if match["octal"]:
            return bytes([int(match["octal"], 8) & 0xFF])
        if match["hex"]:
            return bytes([int(match["hex"], 16)])
        if match["u"] or match["U"]:
            code = int(match["u"] or match["U"], 16)
            return chr(code).encode("utf-8", errors="replace") if code <= 0x10FFFF else b"?"
        return _PLAIN.get(match["one"], match["one"])

    return _ESCAPE.sub(meant, literal.encode("utf-8", errors="replace"))
