"""Triton's config.pbtxt for an artifact that brings none.

It says only what is known: the backend, and on what the instances run. KIND_AUTO, Triton's default, falls back to the
CPU in silence where the GPU cannot be had, so a stack names its kind and a missing device is an error that is seen.
Inputs, outputs and batching are completed by Triton from the model file.
"""

from collections.abc import Mapping
from typing import Final

AUTO: Final = "KIND_AUTO"
_ESCAPES: Final = {ord("\\"): r"\\", ord('"'): r"\"", ord("\n"): r"\n", ord("\r"): r"\r", ord("\t"): r"\t"}


def generate(name: str, backend: str, instance_kind: str, parameters: Mapping[str, str] | None = None) -> str:
    """The text of config.pbtxt, in protobuf's text format.

    `instance_kind` is a member of ModelInstanceGroup.Kind. KIND_AUTO is left unwritten: backends that choose their
    devices by other means (npu_ge, by its parameter device_ids) want no kind at all.
    """
    kind = "" if instance_kind == AUTO else f"    kind: {_enum(instance_kind)}\n"
    head = f"name: {quote(name)}\nbackend: {quote(backend)}\ninstance_group [\n  {{\n    count: 1\n{kind}  }}\n]\n"
    return head + "".join(_parameter(key, value) for key, value in sorted((parameters or {}).items()))


def quote(text: str) -> str:
    """A string literal of protobuf's text format that reads back as `text`, whatever is in it."""
    escaped = text.translate(_ESCAPES)
    return '"' + "".join(_printable(character) for character in escaped) + '"'


def _parameter(key: str, value: str) -> str:
    return f"parameters {{\n  key: {quote(key)}\n  value {{\n    string_value: {quote(value)}\n  }}\n}}\n"


def _printable(character: str) -> str:
    if " " <= character <= "~":
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def _enum(word: str) -> str:
    """An enum's member is written bare, so it may be nothing but a word."""
    if not (word.isascii() and word.isidentifier()):
        raise ValueError(f"{word!r} is not a kind of Triton instance: the catalogue's stack names one such as KIND_GPU")
    return word
