"""Settings of the engine that former versions had."""

import pytest

from edge_occ.common.settings import load_settings
from edge_occ.runtime.config import EngineConfig, RunConfig


@pytest.mark.parametrize("typing", ["auto", "strong", "weak"])
def test_the_former_setting_typing_is_ignored_with_a_warning(tmp_path, typing, caplog):
    config = tmp_path / "run.yaml"
    config.write_text(f"engine: {{typing: {typing}, name: cpu}}\n")
    assert load_settings(RunConfig, [config], []).engine == EngineConfig(name="cpu")
    assert [record.getMessage() for record in caplog.records] == [
        "engine.typing has no effect any more and can be removed: engines are always strongly typed"
    ]


def test_without_it_there_is_no_warning(caplog):
    assert EngineConfig().options() == RunConfig().engine.options()
    assert not caplog.records
