"""Secrets in files."""

from concurrent.futures import ThreadPoolExecutor

from ray_pipeline.local.password import password_of, secret_in


def test_a_password_stays_the_same(tmp_path):
    password = password_of(tmp_path / "postgres")

    assert len(password) == 32
    assert int(password, base=16) > 0
    assert password_of(tmp_path / "postgres") == password


def test_two_servers_have_different_passwords(tmp_path):
    assert password_of(tmp_path / "postgres") != password_of(tmp_path / "valkey")


def test_only_the_owner_can_read_it(tmp_path):
    password_of(tmp_path)

    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_an_empty_file_gets_a_secret(tmp_path):
    """A disk without space leaves such files."""
    (tmp_path / "token").touch()

    secret = secret_in(tmp_path / "token", length_bytes=32)

    assert len(secret) == 64
    assert (tmp_path / "token").read_text() == secret


def test_readers_that_generate_it_at_the_same_time_get_one_secret(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(secret_in, [tmp_path / "token"] * 64))

    assert len(set(secrets)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["token"], "no temporary file is left"
