"""Write the files that are generated from the code, or check that they are up to date."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ray_pipeline import settings
from ray_pipeline.catalog import all_jobs
from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.kubernetes.manifests.kafka_files import topics_yaml, users_yaml
from ray_pipeline.observe.job_list import meaning_of_empty
from ray_pipeline.providers.registry import all_providers

ROOT = Path(__file__).parent.parent

SETTINGS_HEAD = """# Settings

Generated from `ray_pipeline/settings/` by `make docs`; do not edit.

Sources, strongest first: environment variables, a `.env` file in the working directory, the YAML
file that `PIPELINE_CONFIG` names (default `ray-pipeline.yaml`), the defaults below. An unknown name
is an error that suggests the nearest known one. In YAML, sections nest:

    kafka:
      bootstrap_servers: broker:9092

| name | type | default | what it does |
|---|---|---|---|
"""

SETTINGS_TAIL = """
Two more variables are no settings: `PIPELINE_CONFIG` names the YAML file, `PIPELINE_KAFKA_LIBS` the
folder of Apache Kafka's jars. Ray reads variables of its own: `RAY_ADDRESS` names a cluster that
`up` joins instead of starting one; for that cluster set `RAY_AUTH_MODE=token`, and `RAY_AUTH_TOKEN`
or `RAY_AUTH_TOKEN_PATH`. A cluster that `up` starts always requires the token of its home.
"""


PROVIDERS = """
## Providers

Every provider has `PIPELINE_<NAME>__REST_URL`, `PIPELINE_<NAME>__WS_URL` and
`PIPELINE_<NAME>__WS_KEYS`. `PIPELINE_API_KEYS` has its keys under its name;
another name in it is an error.

| name | provider | a free key gives | get a key at |
|---|---|---|---|
"""


DEAD_LETTERS_HEAD = """# Dead letters

Generated from `ray_pipeline/dead_letter_reasons.py` by `make docs`; do not edit.

A record that cannot be decoded, checked or stored is kept as a dead letter, with its bytes, its
place in the topic and a reason. See [operations](operations.md#dead-letters) for the commands.

| reason | meaning |
|---|---|
"""

DEAD_LETTERS_TAIL = """| `refused_<code>` | Postgres refused the row with this error code |

A batch job parks the parts of an answer that it cannot read or store. Its reasons are the name of
the error, such as `BadValue`, the error code of Postgres, `unreadable` if reading the answer
stopped early, `broken` if it was not JSON however often it was requested, `unstorable` if it could
be read but not stored, or `incomplete` if the answer is much smaller than the last one and was not
stored. The answer is kept as well.
"""

DATASETS_HEAD = """# Datasets and incomplete answers

Generated from `ray_pipeline/jobs` by `make docs`; do not edit.

[Incomplete answers](jobs.md#incomplete-answers) explains the declarations. "Least" is the share of
the values of an item's last complete answer that an answer must have.

The first answer of an item has nothing to compare with: its required columns, and the provider's
own count where it sends one (FRED, `news_sentiment`, the number of members), are its checks.

An answer is refused if it names another item than the requested one. These answers name none, and
another answer of the same form cannot be recognised: the profile of a fund, the ownership of a
company, and every list of news by theme, topic or category. FRED does not name the series either:
it is recognised by its frequency and, from the second answer on, by the values that are stored. A
series with a new base looks like another series: delete its rows.

| job | source | an answer without rows | least |
|---|---|---|---|
"""

REQUIRED_HEAD = """
A row requires its key and these columns:

| table | key | required columns |
|---|---|---|
"""


def settings_page() -> str:
    """Return the page of settings."""
    return "".join((SETTINGS_HEAD, *_lines(), SETTINGS_TAIL, PROVIDERS, *_provider_lines()))


def _provider_lines() -> Iterator[str]:
    for provider in all_providers():
        key_url = f"<{provider.key_url}>" if provider.needs_key else "needs no key"
        yield f"| `{provider.name}` | {provider.title} | {provider.free_plan} | {key_url} |\n"


def datasets_page() -> str:
    """Return the page of what each dataset declares about incomplete answers."""
    return "".join((DATASETS_HEAD, *_source_lines(), REQUIRED_HEAD, *_table_lines()))


def _source_lines() -> Iterator[str]:
    for spec in all_jobs():
        for source in spec.sources:
            least = f"{source.least:.0%}" if source.least else "any size"
            meaning = meaning_of_empty(source)
            yield f"| `{spec.name}` | {source.provider.title} | {meaning} | {least} |\n"


def _table_lines() -> Iterator[str]:
    tables = {table.name: table for spec in all_jobs() for table in spec.tables}
    for name, table in sorted(tables.items()):
        required = [column for column in table.columns if column in table.required - {*table.key}]
        cells = (f"`{name}`", ", ".join(table.key), ", ".join(required) or "none")
        yield f"| {' | '.join(cells)} |\n"


def dead_letters_page() -> str:
    """Return the page of dead-letter reasons."""
    rows = "".join(f"| `{reason}` | {reason.description} |\n" for reason in Reason)
    return DEAD_LETTERS_HEAD + rows + DEAD_LETTERS_TAIL


def _lines() -> Iterator[str]:
    for path, facts in settings.fields():
        name = settings.variable_name(path)
        cells = (f"`{name}`", _type(facts.annotation), _default(facts.default), facts.description)
        yield f"| {' | '.join(cells)} |\n"


def _type(annotation: str) -> str:
    for word in ("<class '", "'>", "typing.", "pydantic.types.", "pathlib._local.", "pathlib."):
        annotation = annotation.replace(word, "")
    return annotation.replace("|", "or")


def _default(default: object) -> str:
    return "" if default is None or default == "" else f"`{default}`"


def files() -> dict[Path, str]:
    """Return the content of each generated file."""
    components = ROOT / "kuberay" / "components"
    kafka, alerts = components / "kafka", components / "monitoring" / "alerts.yaml"
    return {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "dead-letters.md": dead_letters_page(),
        ROOT / "docs" / "datasets.md": datasets_page(),
        kafka / "topics.yaml": topics_yaml(FEEDS),
        kafka / "users.yaml": users_yaml(FEEDS),
        alerts: _selected(alerts.read_text()),
    }


def _selected(alerts: str) -> str:
    """Return the alerts with the feeds that never close in the selectors of their expressions."""
    always_open = "|".join(feed.name for feed in FEEDS if feed.calendar is None)
    return re.sub(r'feed([!=])~"[^"]*"', rf'feed\1~"{always_open}"', alerts)


def main() -> None:
    """Write the files. With --check compare them, and exit with 1 if one is outdated."""
    for path, text in files().items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is outdated; run `make docs`")


if __name__ == "__main__":
    main()
