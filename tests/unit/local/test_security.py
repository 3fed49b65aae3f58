"""The configuration of listeners that require credentials."""

from ray_pipeline.local.kafka.security import (
    KafkaSecurity,
    format_arguments,
    properties,
    protected,
)

SECURITY = KafkaSecurity(users={"ann": "secret"})


def test_an_open_broker_has_no_other_listener():
    assert protected(None) == ()
    assert properties(None) == {}
    assert format_arguments(None) == []


def test_every_user_may_use_both_mechanisms():
    lines = properties(SECURITY)

    assert 'user_ann="secret"' in lines["listener.name.sasl_plaintext.plain.sasl.jaas.config"]
    assert format_arguments(SECURITY) == ["--add-scram", "SCRAM-SHA-512=[name=ann,password=secret]"]


def test_tls_is_one_more_listener(tmp_path):
    security = KafkaSecurity(users={}, certificate=tmp_path / "broker.pem")

    assert protected(SECURITY) == ("SASL_PLAINTEXT",)
    assert protected(security) == ("SASL_PLAINTEXT", "SASL_SSL")
    assert properties(security)["ssl.keystore.location"] == str(tmp_path / "broker.pem")
