"""The warning before real and simulated rows mix."""

from ray_pipeline.local.simulated_data import warning


def test_real_data_after_a_demo_in_the_same_home(tmp_path):
    assert warning(tmp_path, simulated=False, embedded=True) is None
    assert warning(tmp_path, simulated=True, embedded=True) is None

    text = warning(tmp_path, simulated=False, embedded=True)

    assert text is not None
    assert str(tmp_path) in text
    assert "PIPELINE_HOME" in text


def test_a_database_outside_the_home(tmp_path):
    text = warning(tmp_path, simulated=True, embedded=False)

    assert text is not None
    assert "PIPELINE_POSTGRES__DSN" in text
    assert warning(tmp_path, simulated=False, embedded=False) is None
    assert list(tmp_path.iterdir()) == []
