import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.storage import open_storage, shown
from nas.storage.urls import PostgresDatabase, SqliteFile, StorageProxy, parse_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///study.db", "study.db"),
        ("sqlite:///runs/a/study.db", "runs/a/study.db"),
        ("sqlite:////srv/study.db", "/srv/study.db"),
        ("sqlite:////srv/a%20b%3F.db", "/srv/a b?.db"),
    ],
)
def test_a_file_is_relative_with_three_slashes_and_absolute_with_four(url: str, path: str) -> None:
    place = parse_url(url)
    assert isinstance(place, SqliteFile)
    assert str(place) == path


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_database_is_reached_with_psycopg(scheme: str) -> None:
    place = parse_url(f"{scheme}://me:in%2Fthe%40clear@db:5433/studies?sslmode=require")
    assert isinstance(place, PostgresDatabase)
    assert place.url.drivername == "postgresql+psycopg"
    assert place.url.password == "in/the@clear"
    assert (place.url.host, place.url.port, place.url.database) == ("db", 5433, "studies")
    assert str(place) == "postgresql://me:***@db:5433/studies?sslmode=require"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [("grpc://db:13000", "db", 13000), ("grpc://[::1]:1/", "[::1]", 1)],
)
def test_a_proxy_has_a_host_and_a_port(url: str, host: str, port: int) -> None:
    assert parse_url(url) == StorageProxy(host, port)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:secret@db/studies", "must be sqlite:///FILE, postgresql://.* or grpc://"),
        ("postgres://me:secret@db/studies", r"but got 'postgres://me:\*\*\*@db/studies'"),
        ("host=db password=secret", "but got no URL$"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite://db/x", "must be a file"),
        ("sqlite:///a.db?password=secret", "must be a file"),
        ("sqlite://me:secret@a:b/x.db", "storage on SQLite must be a file"),
        ("postgresql://me:secret@db", "postgresql://.*/DATABASE"),
        ("postgresql://me:sec@ret@db/studies", "%40 for @"),
        ("postgresql://me:secret@db:12x/studies", "postgresql://.*/DATABASE"),
        ("grpc://db", "grpc://HOST:PORT"),
        ("grpc://:13000", "grpc://HOST:PORT"),
        ("grpc://db:99999", "grpc://HOST:PORT"),
        ("grpc://me:secret@db:1", "grpc://HOST:PORT"),
        ("grpc://db:1/studies", "grpc://HOST:PORT"),
        ("grpc://me:secret@[::1:13000", "storage behind a proxy must be grpc://HOST:PORT"),
    ],
)
def test_other_urls_are_refused_with_what_is_allowed_and_no_password(
    url: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse_url(url)
    assert "secret" not in str(raised.value)
    assert "ret@" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("grpc://db:13000", "grpc://db:13000"),
        ("postgresql://db/studies", "postgresql://db/studies"),
        ("postgresql://me@db/studies", "postgresql://me@db/studies"),
        ("postgresql://me:pw@db:1/studies", "postgresql://me:***@db:1/studies"),
        ("postgresql://:pw@db/studies", "postgresql://:***@db/studies"),
        ("postgresql:///s?host=/tmp&password=pw&user=me",
         "postgresql:///s?host=/tmp&password=***&user=me"),
        ("postgresql://db/s?sslPassword=pw", "postgresql://db/s?sslPassword=***"),
    ],
)  # fmt: skip
def test_what_is_shown_has_no_password(url: str, text: str) -> None:
    assert shown(url) == text
    assert shown(text) == text


@given(st.text(min_size=6).filter(lambda text: text.strip() and not text.isascii()))
def test_no_password_is_shown_however_it_is_written(password: str) -> None:
    for url in (f"postgresql://me:{password}@db/s", f"x://me:{password}@db"):
        assert password not in shown(url)


def test_without_a_package_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr("nas.storage.opening.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"psycopg: pip install chronas\[postgresql\]$"):
        open_storage("postgresql://db/studies", tmp_path)
    with pytest.raises(ValueError, match=r"pip install chronas\[grpc\]$"):
        open_storage("grpc://db:13000", tmp_path)
