"""Settings of the evidence."""

from datetime import timedelta

import pytest

from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.runtime.config import RunConfig


def test_it_is_off_until_a_folder_is_named():
    assert RunConfig().evidence.folder is None
    given = load_settings(RunConfig, [], ["evidence.folder=/var/lib/edge-occ/evidence", "evidence.max_mb=3"])
    assert str(given.evidence.folder) == "/var/lib/edge-occ/evidence"
    assert given.evidence.max_bytes == 3_000_000


def test_limits_and_endings():
    assert EvidenceConfig(max_days=0.5).max_age == timedelta(hours=12)
    assert (EvidenceConfig().suffix, EvidenceConfig(format="jpeg").suffix) == ("png", "jpg")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        *(("max_mb=0", "evidence.max_mb"), ("max_mb=0.5", "evidence.max_mb"), ("max_days=0", "evidence.max_days")),
        *(
            ("max_days=.nan", "evidence.max_days"),
            ("max_days=1e9", "evidence.max_days"),
            ("path=/x", "a known setting"),
        ),
        *(("format=webp", "evidence.format"), ("folder=[a]", "evidence.folder")),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        load_settings(RunConfig, [], [f"evidence.{setting}"])
