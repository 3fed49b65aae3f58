"""The commands as they are called: what they print, and their exit status."""

import json

import psycopg
import pytest
import typer
from typer.testing import CliRunner, Result

from ray_pipeline.cli import dlq, observe, reasons
from ray_pipeline.feeds.feed_registry import FEEDS

app = typer.Typer()
for name in ("audit", "status", "gaps", "migrate", "doctor"):
    app.command(name)(getattr(observe, name))
app.command("why")(reasons.why)
app.add_typer(dlq.dlq_app, name="dlq")


class Shell:
    """Calls commands in a folder without settings of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def but(self, **environment: str) -> "Shell":
        """Return a shell with some variables set otherwise."""
        return Shell(self._environment | environment)

    def __call__(self, *arguments: str) -> Result:
        return CliRunner(env=self._environment).invoke(app, list(arguments))


@pytest.fixture
def kafka(tansu_server, topic_prefix) -> dict[str, str]:
    return {
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": tansu_server.bootstrap_servers,
        "PIPELINE_KAFKA__TOPIC_PREFIX": topic_prefix,
    }


@pytest.fixture
def migrated(postgres_dsn, redis_url, kafka, tmp_path, monkeypatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(
        kafka
        | {
            "PIPELINE_POSTGRES__DSN": postgres_dsn,
            "PIPELINE_REDIS__URL": redis_url,
            "PIPELINE_HOME": str(tmp_path / "home"),
            "RAY_AUTH_MODE": "disabled",
        }
    )


@pytest.fixture
def shell(migrated, empty_dsn) -> Shell:
    """The same, on a database without tables."""
    return migrated.but(PIPELINE_POSTGRES__DSN=empty_dsn)


def execute(dsn: str, query: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(query)


LETTER = (
    'INSERT INTO dead_letters (feed, topic, partition, "offset", shard, epoch, seq, payload,'
    " reason)"
    " VALUES ('sp500', 't', 0, 5, 1, 2, 3, 'what came', 'not_json')"
)


def test_migrate_names_what_it_applies_and_then_has_nothing_to_do(shell):
    assert shell("migrate", "--check").exit_code == 1
    assert "applied 0001_streaming" in shell("migrate").output
    assert shell("migrate").output == "up to date\n"
    assert shell("migrate", "--check").exit_code == 0


def test_an_audit_of_an_empty_pipeline_is_clean(migrated):
    result = migrated("audit", "--json", "--wait", "0")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["clean"] is True


def test_an_audit_that_finds_something_exits_with_one_and_a_fix(migrated, postgres_dsn):
    execute(
        postgres_dsn,
        "INSERT INTO producer_epochs (feed, shard, epoch, holder, published)"
        " VALUES ('sp500', 0, 1, 'x', 3)",
    )

    result = migrated("audit", "--wait", "0")

    assert result.exit_code == 1
    assert "3 published records did not arrive (1-3)" in result.stdout
    assert "fix:" in result.stdout


def test_an_unreachable_database_is_one_line_and_a_fix(shell):
    away = shell.but(PIPELINE_POSTGRES__DSN="postgresql://u:sesame@127.0.0.1:1/none")

    result = away("gaps")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: Postgres cannot be reached")
    assert "fix: " in result.stderr
    assert "Traceback" not in result.output
    assert "sesame" not in result.output


def test_an_unmigrated_database_is_told_what_to_do(shell):
    result = shell("status")

    assert result.exit_code == 2
    assert "ray-pipeline migrate" in result.stderr


def test_status_prints_a_page_and_json(migrated):
    assert "records/s" in migrated("status").stdout
    names = {feed.name for feed in FEEDS}
    assert set(json.loads(migrated("status", "--json").stdout)["feeds"]) == names


def test_status_has_each_jobs_last_run_and_what_every_key_has_left(migrated, postgres_dsn):
    """The key by its fingerprint only."""
    execute(
        postgres_dsn,
        "INSERT INTO job_runs (job, slot, state, trigger, holder)"
        " VALUES ('cpi', now(), 'succeeded', 'schedule', 'x')",
    )
    shell = migrated.but(PIPELINE_API_KEYS='{"alpha_vantage": ["planted-secret"]}')

    page, data = shell("status"), shell("status", "--json")

    assert "1 succeeded" in page.stdout
    assert "25/day" in page.stdout
    assert json.loads(data.stdout)["jobs"]["cpi"]["state"] == "succeeded"
    quotas = [row for row in json.loads(data.stdout)["quotas"] if row["window"] == "25/day"]
    assert [(row["provider"], row["used"], row["left"]) for row in quotas] == [
        ("alpha_vantage", 0, 25)
    ]
    assert "planted-secret" not in page.output + data.output


def test_gaps_can_be_narrowed_by_feed_and_time(migrated, postgres_dsn):
    execute(
        postgres_dsn,
        "INSERT INTO gaps (feed, shard, epoch, kind, cause, recorded_at) VALUES"
        " ('sp500', 0, 1, 'disconnected', 'new', now()),"
        " ('sp500', 0, 1, 'disconnected', 'old', now() - interval '2 d'),"
        " ('bithumb', 0, 1, 'stalled', 'other', now())",
    )

    rows = json.loads(migrated("gaps", "--feed", "sp500", "--since", "24h", "--json").stdout)

    assert [row["cause"] for row in rows] == ["new"]
    assert "stalled" in migrated("gaps").stdout


@pytest.mark.parametrize("arguments", [("--feed", "sp5000"), ("--since", "yesterday")])
def test_a_misspelt_option_says_what_would_do(migrated, arguments):
    result = migrated("gaps", *arguments)

    assert result.exit_code == 2
    assert "fix: " in result.stderr


def test_a_dead_letter_is_listed_shown_and_dropped(migrated, postgres_dsn):
    execute(postgres_dsn, LETTER)

    (row,) = json.loads(migrated("dlq", "list", "--json").stdout)
    assert row["reason"] == "not_json"
    assert "what came" in migrated("dlq", "show", str(row["id"])).stdout
    assert migrated("dlq", "drop", str(row["id"]), "--why", "test data").exit_code == 0
    assert json.loads(migrated("dlq", "list", "--json").stdout) == []
    assert "test data" in migrated("dlq", "list", "--state", "all").stdout
    assert migrated("dlq", "drop", str(row["id"]), "--why", "again").exit_code == 2


def test_which_letters_must_be_said(migrated):
    assert "name their IDs, or --all" in migrated("dlq", "replay").stderr


def test_doctor_is_content_with_a_whole_system(migrated):
    result = migrated("doctor", "--json")

    checks = {check["name"]: check["state"] for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 0, result.stdout
    names = ("postgres", "migrations", "partitions", "clock", "redis", "redis writes", "kafka")
    assert {name: checks[name] for name in names} == dict.fromkeys(names, "ok")


def test_doctor_names_each_failure_with_its_fix(shell):
    broken = shell.but(
        PIPELINE_REDIS__URL="redis://:sesame@127.0.0.1:1/0",
        PIPELINE_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        RAY_AUTH_MODE="maybe",
    )

    result = broken("doctor", "--json")

    failed = {
        check["name"]: check["fix"]
        for check in json.loads(result.stdout)["checks"]
        if check["state"] == "failed"
    }
    assert result.exit_code == 1
    assert set(failed) == {"ray auth", "migrations", "redis", "kafka"}
    assert all(failed.values())
    assert "sesame" not in result.output


def test_doctor_without_settings_speaks_of_the_embedded_servers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = Shell({"PIPELINE_HOME": str(tmp_path)})("doctor")

    assert result.stdout.count("starts an embedded one") == 3


def answers(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_why_explains_feeds_jobs_and_tables(migrated):
    """A table is named like in Postgres; the table of latest rows belongs to its feed, too."""
    everything = answers(migrated("why", "--json"))

    assert {row["kind"] for row in everything} == {"feed", "job"}
    assert {feed.name for feed in FEEDS} < {row["name"] for row in everything}
    for name, source in (
        ("sp500", "sp500"),
        ("sp500_websocket_trades", "sp500"),
        ("upbit_ticker_latest", "upbit"),
        ("treasury_yield", "treasury_yield"),
    ):
        assert [row["name"] for row in answers(migrated("why", name, "--json"))] == [source]
    assert "has never stored a record" in migrated("why", "sp500").output


def test_why_explains_a_symbol(migrated, postgres_dsn):
    """Each feed that lists it is named; a name that nothing has is an error with a suggestion."""
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name, is_member) "
            "VALUES ('BRK.B', 'Berkshire Hathaway', true)"
        )

    (row,) = answers(migrated("why", "brk-b", "--json"))

    assert (row["name"], row["kind"], row["fresh"]) == ("BRK.B of sp500", "symbol", False)
    assert "is not collected" in row["why"]
    assert migrated("why", "sp5000").exit_code == 2
