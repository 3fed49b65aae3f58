"""Who collects real data where simulated rows are is told."""

from ray_pipeline.local.simulated_data import warning


def test_real_data_after_a_demo_in_the_same_home(tmp_path):
    assert warning(tmp_path, simulated=False, embedded=True) is None
    assert warning(tmp_path, simulated=True, embedded=True) is None

    told = warning(tmp_path, simulated=False, embedded=True)

    assert told is not None
    assert str(tmp_path) in told
    assert "PIPELINE_HOME" in told


def test_a_database_of_ones_own(tmp_path):
    told = warning(tmp_path, simulated=True, embedded=False)

    assert told is not None
    assert "PIPELINE_POSTGRES__DSN" in told
    assert warning(tmp_path, simulated=False, embedded=False) is None
    assert list(tmp_path.iterdir()) == []
