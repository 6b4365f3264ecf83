"""The collector's setting, and that it is put back."""

from __future__ import annotations

import gc

from protocol.link.garbage import YOUNG, settle_collector


def test_it_freezes_and_looks_rarely() -> None:
    before = gc.get_threshold()
    try:
        settle_collector()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == YOUNG
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
