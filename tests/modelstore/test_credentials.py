"""Who is told the Secret's credentials: the host that the URI names, and nobody else."""

import base64
import logging
from contextlib import ExitStack, closing
from pathlib import Path
from typing import cast

import pytest
from tests.modelstore.servers import Answer, Objects, Request, refusal, serving

from littoral.modelstore.access import NO_ACCESS, Access, read
from littoral.modelstore.errors import FetchError, SourceForbidden, SourceUnreachable
from littoral.modelstore.sources import Source, source_for
from littoral.modelstore.transfer import Download, Patience


def opened(uri: str, access: Access = NO_ACCESS) -> Source:
    return cast("Source", source_for(uri, Path(), access))


def content(uri: str, access: Access = NO_ACCESS, offset: int = 0) -> bytes:
    with closing(opened(uri, access).open(offset).chunks) as chunks:
        return b"".join(chunks)


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


SECRETS: dict[str, tuple[dict[str, str], str | None]] = {
    "none": ({}, None),
    "user and password": ({"username": "site7", "password": "pä:ss"}, basic("site7:pä:ss")),
    "a password alone, as some registries take tokens": ({"password": "t"}, basic(":t")),
    "a token": ({"token": "abc"}, "Bearer abc"),
    "a token from a file, with the file's line break": ({"token": "abc\n"}, "Bearer abc"),
    "a token before a user": ({"token": "abc", "username": "u", "password": "p"}, "Bearer abc"),
    "keys of others": ({"AWS_ACCESS_KEY_ID": "a", ".dockerconfigjson": "{}"}, None),
}


@pytest.mark.parametrize("case", SECRETS)
def test_what_the_secret_makes_of_a_request(case: str) -> None:
    secret, expected = SECRETS[case]
    with serving(lambda _: Answer(body=b"weights")) as server:
        assert content(f"{server.url}/m", Access(secret)) == b"weights"

    assert [request.headers.get("authorization") for request in server.seen] == [expected]


def test_credentials_are_not_read_from_the_config_map() -> None:
    with serving(lambda _: Answer()) as server:
        content(f"{server.url}/m", Access(settings={"token": "abc"}))

    assert "authorization" not in server.seen[0].headers


def test_a_redirect_to_another_host_loses_them() -> None:
    """Another port is another host: what listens there may be another's."""
    with ExitStack() as stack:
        there = stack.enter_context(serving(lambda _: Answer(body=b"weights")))
        here = stack.enter_context(serving(lambda _: Answer(302, headers={"Location": f"{there.url}/m"})))

        assert content(f"{here.url}/m", Access({"token": "abc"})) == b"weights"

    assert "authorization" in here.seen[0].headers
    assert "authorization" not in there.seen[0].headers


def test_a_redirect_within_the_host_keeps_them() -> None:
    def answer(request: Request) -> Answer:
        return Answer(body=b"weights") if request.path == "/there" else Answer(302, headers={"Location": "/there"})

    with serving(answer) as server:
        assert content(f"{server.url}/here", Access({"token": "abc"})) == b"weights"

    assert [request.headers.get("authorization") for request in server.seen] == ["Bearer abc"] * 2


def test_a_store_that_redirects_to_another_host_gives_no_signature_away() -> None:
    secret = {"AWS_ACCESS_KEY_ID": "site7", "AWS_SECRET_ACCESS_KEY": "hidden"}
    with ExitStack() as stack:
        there = stack.enter_context(serving(Objects({"m": b"weights"})))
        here = stack.enter_context(serving(lambda _: Answer(307, headers={"Location": f"{there.url}/models/m"})))

        assert content("s3://models/m", Access(secret, {"AWS_ENDPOINT_URL": here.url})) == b"weights"

    assert "site7" in here.seen[0].headers["authorization"]
    assert not any("site7" in value for value in there.seen[0].headers.values())


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_refusal_names_the_secret(scheme: str, status: int) -> None:
    with serving(lambda _: refusal(status, "AccessDenied")) as server:
        uri = f"{server.url}/m?sig=abc" if scheme == "http" else "s3://models/m"
        secret = {"token": "abc"} if scheme == "http" else {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "abc"}
        settings = {"AWS_ENDPOINT_URL": server.url}

        with pytest.raises(SourceForbidden) as anonymous:
            opened(uri, Access(settings=settings)).open(0)
        with pytest.raises(SourceForbidden) as known:
            opened(uri, Access(secret, settings)).open(0)

    ending = "credentials; spec.variants[].source.secretName names their Secret"
    assert f"/m answered {status}" in str(known.value)
    assert str(known.value).endswith(f"it wants other {ending}")
    assert str(anonymous.value).endswith(f"it wants {ending}")
    assert "abc" not in str(known.value)


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    with serving(lambda _: Answer()) as server, pytest.raises(SourceForbidden, match="`token`") as refused:
        opened(f"{server.url}/m", Access({"token": "two\r\nlines"})).open(0)

    assert "lines" not in str(refused.value)
    assert server.seen == []


INCOMPLETE = {
    "s3": ({"AWS_ACCESS_KEY_ID": "hidden"}, {}, SourceForbidden, "lacks AWS_SECRET_ACCESS_KEY"),
    "s3 with a session's token alone": (
        {"AWS_SESSION_TOKEN": "hidden"},
        {},
        SourceForbidden,
        "lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gs": ({"service-account.json": '"hidden"'}, {}, SourceUnreachable, "make no access to a store"),
    "az": ({"AZURE_CLIENT_ID": "hidden"}, {}, SourceForbidden, "lacks AZURE_CLIENT_SECRET and AZURE_TENANT_ID"),
    "az without an account": ({}, {}, SourceUnreachable, "AZURE_STORAGE_ACCOUNT_NAME is not set"),
    "az with a key that is none": (
        {"AZURE_STORAGE_ACCOUNT_KEY": "hidden!"},
        {"AZURE_STORAGE_ACCOUNT_NAME": "site"},
        SourceUnreachable,
        "make no access to a store",
    ),
    "s3 at what is no URL": ({}, {"AWS_ENDPOINT_URL": "minio:9000"}, SourceUnreachable, "AWS_ENDPOINT_URL must be"),
    "s3 at no port": ({}, {"AWS_ENDPOINT_URL": "http://minio:port"}, SourceUnreachable, "AWS_ENDPOINT_URL must be"),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_keys_that_make_no_access_are_said_and_not_shown(case: str) -> None:
    secret, settings, reason, sentence = INCOMPLETE[case]
    with pytest.raises(reason, match=sentence) as refused:
        opened(f"{case.partition(' ')[0]}://models/m", Access(secret, settings)).open(0)

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_no_log_and_no_message_holds_a_secret(scheme: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)  # as the container logs
    access = Access({"token": "hidden", "AWS_ACCESS_KEY_ID": "hidden", "AWS_SECRET_ACCESS_KEY": "hidden"})
    said = [repr(access)]
    with serving(lambda _: Answer(status, b"weights", {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})) as server:
        uri = f"{server.url}/m?X-Amz-Signature=hidden" if scheme == "http" else "s3://models/m"
        source = opened(uri, Access(access.secret, {"AWS_ENDPOINT_URL": server.url}))
        patience = Patience(attempts=2, sleep=lambda _: None)
        with closing(Download(source, what="m", patience=patience)) as download:
            try:
                download.finish()
            except FetchError as error:
                said.append(str(error))

    assert "hidden" not in f"{said} {caplog.messages}"


def test_what_the_kubelet_mounts_is_read(tmp_path: Path) -> None:
    version = tmp_path / "..2026_11_22"
    version.mkdir()
    (version / "token").write_text("abc\n")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "token").symlink_to("..data/token")

    access = read(tmp_path, tmp_path / "deleted")

    assert (dict(access.secret), dict(access.settings)) == ({"token": "abc\n"}, {})
    assert access.credential("token") == "abc"


def test_a_setting_of_the_config_map_goes_before_the_secrets() -> None:
    access = Access({"A": "secret", "B": "secret\n", "D": "x"}, {"A": "settings", "C": " ", "D": ""})

    assert [access.setting(key) for key in "ABCDE"] == ["settings", "secret", "", "x", ""]
    assert access.setting("E", "C", "B", "A") == "secret"
