from __future__ import annotations

import pytest

from edge_occ.doctor import probing


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give children more time than a user would wait: here other tests take the processors at the same time."""
    monkeypatch.setattr(probing, "PATIENCE", 120.0)
