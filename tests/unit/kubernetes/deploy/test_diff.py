"""What a plan shows of a change, and what it never shows."""

import json

import pytest

from ray_pipeline.kubernetes.deploy.diff import HIDDEN, NOTHING, Change, compare
from ray_pipeline.kubernetes.deploy.objects import Json

PASSWORD = "hunter2-very-secret"


def an_object(kind: str = "ConfigMap", **fields: object) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}} | fields


def told(change: Change) -> list[tuple[str, str, str]]:
    return [(field.path, field.before, field.after) for field in change.fields]


def test_a_new_object_is_created() -> None:
    """Its fields are not told one by one: they are all in the manifest."""
    change = compare(None, an_object())

    assert (change.state, change.fields) == ("created", ())


def test_what_the_server_writes_is_no_change() -> None:
    """Generation, versions, managers and the status differ at every look."""
    before = an_object(metadata={"name": "a", "generation": 1, "resourceVersion": "7", "uid": "u"})
    after = an_object(metadata={"name": "a", "generation": 2, "managedFields": []}, status={"x": 1})

    assert compare(before, after).state == "unchanged"


def test_containers_are_compared_by_name() -> None:
    """A container put before another does not make both look changed."""
    one, two = {"name": "app", "image": "app:1"}, {"name": "log", "image": "log:1"}
    before = an_object(spec={"containers": [one]})
    after = an_object(spec={"containers": [two, one | {"image": "app:2"}]})

    assert told(compare(before, after)) == [
        ("spec.containers[app].image", "app:1", "app:2"),
        ("spec.containers[log].image", NOTHING, "log:1"),
        ("spec.containers[log].name", NOTHING, "log"),
    ]


def test_a_text_is_compared_line_by_line() -> None:
    """Of a configuration file only the lines that differ are shown."""
    before = an_object(data={"app.conf": "a = 1\nb = 2\n"})
    after = an_object(data={"app.conf": "a = 1\nb = 3\n"})

    assert told(compare(before, after)) == [
        ("data.app.conf", "b = 2", NOTHING),
        ("data.app.conf", NOTHING, "b = 3"),
    ]


def test_a_list_of_words_is_shown_whole() -> None:
    """Words have no names by which to tell them apart."""
    change = compare(an_object(spec={"roles": ["a"]}), an_object(spec={"roles": ["a", "b"]}))

    assert told(change) == [("spec.roles", '["a"]', '["a", "b"]')]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (an_object("Secret", data={"key": PASSWORD}), an_object("Secret", data={"key": "x"})),
        (an_object("Secret", data={}), an_object("Secret", data={"key": PASSWORD})),
        (an_object("Secret"), an_object("Secret", stringData={"k": f"{PASSWORD}\nmore"})),
        (an_object(spec={}), an_object(spec={"env": [{"name": "API_KEY", "value": PASSWORD}]})),
        (an_object(spec={"password": PASSWORD}), an_object(spec={})),
        (an_object(spec={}), an_object(spec={"auth": {"adminPassword": PASSWORD}})),
        (an_object(spec={}), an_object(spec={"url": f"redis://:{PASSWORD}@redis:6379"})),
        (an_object(spec={}), an_object(spec={"url": f"postgresql://me:{PASSWORD}@db/x"})),
        (an_object(data={}), an_object(data={"a": f"x = 1\ndb_password = {PASSWORD}\n"})),
        (an_object(data={"a": "x = 1\n"}), an_object(data={"a": f"token: {PASSWORD}\n"})),
    ],
)
def test_a_secret_is_never_shown(before: Json, after: Json) -> None:
    """Neither what it was nor what it will be; but that it changes is."""
    change = compare(before, after)

    assert change.state == "changed"
    assert PASSWORD not in json.dumps(told(change))


def test_names_of_secrets_are_shown() -> None:
    """They tell which secret is read, and hide nothing."""
    before = an_object(spec={"secretName": "old", "tokenMode": "a"})
    after = an_object(spec={"secretName": "new", "tokenMode": "b"})

    assert HIDDEN not in json.dumps(told(compare(before, after)))


def test_a_long_value_is_cut() -> None:
    """A page of base64 would hide the rest of the plan."""
    change = compare(an_object(spec={"x": "a"}), an_object(spec={"x": "b" * 5_000}))

    assert len(change.fields[0].after) < 300
    assert "5000 characters" in change.fields[0].after
