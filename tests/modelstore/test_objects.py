"""Objects and folders of objects, read by obstore from a store on loopback; the real one is a contract test's."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from tests.modelstore.servers import Answer, Objects, Request, Web, refusal, serving
from tests.modelstore.test_credentials import content, opened

from littoral.modelstore.access import Access
from littoral.modelstore.errors import (
    FetchError,
    SourceForbidden,
    SourceUnreachable,
    UnsupportedSource,
)
from littoral.modelstore.sources import CHUNK, Collection, Member, SourceChanged, source_for
from littoral.modelstore.transfer import Download, Patience

WEIGHTS = bytes(range(256)) * (12 * CHUNK // 256)
SIZE = len(WEIGHTS)


def at(server: Web, secret: Mapping[str, str] | None = None, **settings: str) -> Access:
    return Access(secret or {}, {"AWS_ENDPOINT_URL": server.url} | settings)


def members(uri: str, access: Access) -> tuple[Member, ...]:
    return cast("Collection", source_for(uri, Path(), access)).members()


def test_an_object_is_read_with_its_size_and_version() -> None:
    with serving(Objects({"plate/7/model.onnx": WEIGHTS})) as server:
        stream = opened("s3://models/plate/7/model.onnx", at(server)).open(0)
        with closing(stream.chunks):
            chunks = list(stream.chunks)

    assert b"".join(chunks) == WEIGHTS
    assert max(map(len, chunks)) < SIZE
    assert stream.total == SIZE
    assert (stream.validator or "").startswith('"')


@pytest.mark.parametrize("key", ["line 3/m.onnx", "a%20b", "ä/日本", "a?b#c", "a+b&c=d", "a*b~c'd"])
def test_a_key_is_what_the_uri_decodes_to(key: str) -> None:
    quoted = "".join(f"%{byte:02X}" if chr(byte) in "%?# " else chr(byte) for byte in key.encode("utf-8"))
    uri = f"s3://models/{quoted.encode('latin-1').decode('utf-8')}"
    with serving(Objects({key: b"weights"})) as server:
        assert content(uri, at(server)) == b"weights"


def test_a_cut_object_is_resumed_by_range_and_of_one_version() -> None:
    objects = Objects({"m": WEIGHTS})
    objects.cuts = [2 * CHUNK]
    with serving(objects) as server:
        download = Download(opened("s3://models/m", at(server)), what="m", patience=Patience(sleep=lambda _: None))
        with closing(download):
            received = b"".join(iter(lambda: download.read(CHUNK), b""))

    assert received == WEIGHTS
    again = server.seen[1].headers
    assert 0 < int(again["range"].removeprefix("bytes=").removesuffix("-")) <= 2 * CHUNK
    assert again["if-match"].startswith('"')


def test_another_version_is_not_joined() -> None:
    objects = Objects({"m": WEIGHTS})
    with serving(objects) as server:
        source = opened("s3://models/m", at(server))
        source.open(0).chunks.close()
        objects.objects["m"] = WEIGHTS[::-1]

        with pytest.raises(SourceChanged):
            source.open(CHUNK)


WEAK = {"ETag": 'W/"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
DATED = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


@pytest.mark.parametrize("said", [WEAK, DATED], ids=["a weak tag", "a date"])
@pytest.mark.parametrize("changes", [False, True])
def test_a_store_without_strong_tags_is_compared_by_what_it_says(said: Mapping[str, str], changes: bool) -> None:
    def answer(request: Request) -> Answer:
        later = {"ETag": 'W/"2"'} if "ETag" in said else {"Last-Modified": "Thu, 22 Oct 2015 07:28:00 GMT"}
        if "range" not in request.headers:
            return Answer(200, WEIGHTS, said)
        span = {"Content-Range": f"bytes {CHUNK}-{SIZE - 1}/{SIZE}"}
        return Answer(206, WEIGHTS[CHUNK:], {**said, **(later if changes else {}), **span})

    with serving(answer) as server:
        source = opened("s3://models/m", at(server))
        source.open(0).chunks.close()
        if changes:
            with pytest.raises(SourceChanged):
                source.open(CHUNK)
            return
        with closing(source.open(CHUNK).chunks) as chunks:
            assert b"".join(chunks) == WEIGHTS[CHUNK:]

    assert "if-match" not in server.seen[-1].headers, "a weak tag never matches"


def test_a_store_without_ranges_is_read_past_what_is_here() -> None:
    with serving(lambda _: Answer(200, WEIGHTS, DATED)) as server:
        assert content("s3://models/m", at(server), offset=CHUNK + 5) == WEIGHTS[CHUNK + 5 :]


def test_what_follows_the_last_byte_is_nothing() -> None:
    with serving(Objects({"m": WEIGHTS})) as server:
        source = opened("s3://models/m", at(server))
        assert content("s3://models/m", at(server), offset=SIZE) == b""
        with pytest.raises(SourceChanged):
            source.open(SIZE + 1)


READER = """
import re, sys
from pathlib import Path
from littoral.modelstore.access import Access
from littoral.modelstore.sources import source_for
from littoral.modelstore.transfer import Download
source = source_for("s3://models/m", Path(), Access({}, {"AWS_ENDPOINT_URL": sys.argv[1]}))
download = Download(source, what="m")
download.finish()
print(download.received, re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
def test_a_large_object_takes_little_memory() -> None:
    """The loopback server is faster than the reader hashes, so whatever is read ahead would be seen."""
    body = bytes(256 << 20)
    with serving(lambda _: Answer(200, body, DATED)) as server:
        ran = subprocess.run(
            [sys.executable, "-c", READER, server.url], env={}, capture_output=True, text=True, check=True, timeout=120
        )

    size, peak = map(int, ran.stdout.split())
    assert size == len(body)
    assert peak << 10 < 64 << 20


FOLDER = {
    "d/config.pbtxt": b"1",
    "d/1/model.onnx": b"22",
    "d/1/weights.bin": b"",
    "d/日本 %20": b"333",
    "dd/other": b"4",
    "other": b"5",
}
MARKERS = {"d/": b"", "d/1/": b"", "d/empty/": b""}


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_a_folder_is_all_below_it(page: int) -> None:
    with serving(Objects(FOLDER | MARKERS, page=page)) as server:
        found = members("s3://models/d/", at(server))
        read = {member.path: b"".join(member.source.open(0).chunks) for member in found}

    expected = {key.removeprefix("d/"): body for key, body in FOLDER.items() if key.startswith("d/")}
    assert read == expected
    assert [(member.path, member.size) for member in found] == [(key, len(expected[key])) for key in sorted(expected)]


def test_a_file_where_a_folder_is_stays_a_member() -> None:
    """Left out, it would be missing from what is hashed."""
    with serving(Objects({"d/1": b"", "d/1/x": b"1"})) as server:
        assert [member.path for member in members("s3://models/d/", at(server))] == ["1", "1/x"]


def test_the_digest_of_a_folder_is_not_the_stores_to_promise() -> None:
    folder = cast("Collection", source_for("s3://models/d/", Path()))

    assert not folder.verified


def test_a_folder_of_the_whole_bucket() -> None:
    with serving(Objects({"a": b"1", "b/c": b"2"})) as server:
        assert [member.path for member in members("s3://models/", at(server))] == ["a", "b/c"]


UNFIT: dict[str, tuple[dict[str, bytes], type[FetchError], str]] = {
    "nothing": ({"dd/x": b"1"}, SourceUnreachable, "s3://models/d/ holds no object"),
    "only an empty folder": ({"d/": b"", "d/e/": b""}, SourceUnreachable, "holds no object"),
    "a way out": ({"d/../x": b"1"}, UnsupportedSource, "holds an object whose key is no path"),
    "an empty part": ({"d//x": b"1"}, UnsupportedSource, "holds an object whose key is no path"),
    "too many": ({f"d/{n}": b"1" for n in range(10_001)}, UnsupportedSource, "more than 10000 objects"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_no_folder_of_files_is_refused(case: str) -> None:
    objects, reason, sentence = UNFIT[case]
    with serving(Objects(objects)) as server, pytest.raises(reason, match=sentence):
        members("s3://models/d/", at(server))


def test_a_folder_that_may_not_be_listed_names_the_secret() -> None:
    with serving(lambda _: refusal(403, "AccessDenied")) as server, pytest.raises(SourceForbidden, match="secretName"):
        members("s3://models/d/", at(server))


NO_KEYS = [
    "s3://models/../m",
    "s3://models/a/%2e%2e/m",
    "s3://models/a//m",
    "s3://models/./m",
    "s3://models/a%00b",
    "s3://models/a?versionId=1",
    "s3://models/a#b",
    "s3://user:hidden@models/a",
    "s3:///a",
]


@pytest.mark.parametrize("uri", NO_KEYS)
def test_a_uri_that_names_no_object_is_refused(uri: str) -> None:
    with pytest.raises(UnsupportedSource) as refused:
        source_for(uri, Path())

    assert "hidden" not in str(refused.value)
