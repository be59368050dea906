"""Kubernetes objects out of files, and where each of them stands, so that a complaint can name the line.

Read are folders (every *.yaml, *.yml and *.json below them), files and standard input; several YAML documents in one
text, and lists as `kubectl get -o yaml` prints them. Values are taken as Kubernetes takes them: a time stays a text.
"""

import codecs
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

Step = str | int
"""One step of the way to a field: a key, or an index of a list."""

STDIN: Final = "-"
_SUFFIXES: Final = {".yaml", ".yml", ".json"}
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # what PowerShell's `>` writes
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class BadInputError(Exception):
    """What was given cannot be read: every complaint, each a sentence with its file and line."""

    def __init__(self, complaints: Iterable[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(self.complaints))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml where it is there
    """The safe loader, less times: creationTimestamp is a text, as it is in JSON."""

    yaml_implicit_resolvers: Final = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class Text:
    """A file's content, or what came from standard input."""

    name: str
    content: str = field(repr=False)
    listed: bool = False
    """It was found in a folder: what is no Kubernetes object there is somebody else's file."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object and where it stands."""

    body: Mapping[str, Any]
    text: Text
    index: int = 0
    """Which of the text's documents it is, or is in."""
    within: tuple[Step, ...] = ()
    """The way to it in its document, if that is a list."""

    @property
    def name(self) -> str:
        """What people call it: "InferenceModel vision/plate"."""
        meta = self.body["metadata"]
        return f"{self.body['kind']} {'/'.join(filter(None, (meta.get('namespace'), meta['name'])))}"

    @property
    def named(self) -> bool:
        """Whether it has a name; a kustomization has none."""
        meta = self.body.get("metadata")
        return isinstance(meta, dict) and isinstance(meta.get("name"), str)

    def at(self, way: Sequence[Step] = ()) -> str:
        """File and line of the object, or of the nearest part of it that lies on the way to a field."""
        line = _line(self.text.content, self.index, (*self.within, *way))
        return f"{self.text.name}:{line}" if line else self.text.name

    def complaint(self, way: Sequence[Step], message: str) -> str:
        """A sentence about one field of the object."""
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way).lstrip(".")
        return f"{self.at(way)}: {self.name}: {path + ': ' if path else ''}{message}"


def read(paths: Iterable[str]) -> list[Document]:
    """All objects of the files, folders and standard input (`-`) that are named. Raises BadInputError."""
    complaints: list[str] = []
    documents: list[Document] = []
    for text in _texts(paths, complaints):
        documents += _documents(text, complaints)
    if complaints:
        raise BadInputError(complaints)
    return documents


def _texts(paths: Iterable[str], complaints: list[str]) -> Iterator[Text]:
    for path in paths:
        if path == STDIN:
            yield from _decoded("standard input", sys.stdin.buffer.read(), complaints)
            continue
        root = Path(path)
        files = [root] if root.is_file() else sorted(each for each in root.rglob("*") if each.suffix in _SUFFIXES)
        if not files:
            what = "holds no .yaml, .yml or .json file" if root.is_dir() else "there is no such file or folder"
            complaints.append(f"{path}: {what}")
        for file in files:
            try:
                raw = file.read_bytes()
            except OSError as error:
                complaints.append(f"{file.as_posix()}: {error.strerror}")
            else:
                yield from _decoded(file.as_posix(), raw, complaints, listed=root.is_dir())


def _decoded(name: str, raw: bytes, complaints: list[str], *, listed: bool = False) -> Iterator[Text]:
    encoding = next((encoding for bom, encoding in _BOMS if raw.startswith(bom)), "utf-8")
    try:
        yield Text(name, raw.decode(encoding), listed)
    except UnicodeDecodeError:
        complaints.append(f"{name}: the text is not UTF-8")


def _documents(text: Text, complaints: list[str]) -> Iterator[Document]:
    try:
        parsed = _parsed(text.content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{text.name}:{mark.line + 1}" if mark else text.name
        complaints.append(f"{where}: the text is no YAML: {getattr(error, 'problem', None) or error}")
        return
    for index, body in enumerate(parsed):
        if body is None or (text.listed and not (isinstance(body, dict) and {"kind", "apiVersion"} & body.keys())):
            continue
        for within, each in _unlisted(body):
            document = Document(each, text, index, within)
            if (missing := _missing(each)) is None:
                yield document
            else:
                complaints.append(f"{document.at()}: {missing}")


def _parsed(content: str) -> list[Any]:
    if content.lstrip().startswith("{"):
        try:
            return [json.loads(content)]  # many times as fast, and a tab is no error
        except json.JSONDecodeError:
            pass  # braces are YAML too
    return list(yaml.load_all(content, Loader=_Loader))


def _unlisted(body: Any) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """The object itself, or those of a list; the items of a typed list (NodeList) need not say what they are."""
    items = body.get("items") if isinstance(body, dict) else None
    if not isinstance(items, list) or not str(body.get("kind", "")).endswith("List"):
        yield (), body
        return
    kind = str(body["kind"]).removesuffix("List")
    given = {"apiVersion": body.get("apiVersion"), "kind": kind} if kind else {}
    for index, item in enumerate(items):
        yield ("items", index), {**given, **item} if isinstance(item, dict) else item


def _missing(body: Any) -> str | None:
    """What keeps this from being a Kubernetes object."""
    if not isinstance(body, dict):
        return "this is no Kubernetes object: a mapping with apiVersion, kind and metadata is expected"
    for key in ("apiVersion", "kind"):
        if not isinstance(body.get(key), str):
            return f"this is no Kubernetes object: {key} is missing"
    return None


def _line(content: str, index: int, way: Sequence[Step]) -> int | None:
    """The line of what lies at the end of the way, or of the last step that is there; None where nobody can say."""
    try:
        node = next(node for number, node in enumerate(yaml.compose_all(content, Loader=_Loader)) if number == index)
    except (yaml.YAMLError, StopIteration):
        return None
    line: int = node.start_mark.line
    for step in way:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return line + 1
