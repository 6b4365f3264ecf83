"""The shop window: everything that is promised is there, and nothing heavy is loaded before it is asked for."""

import subprocess
import sys

import pytest

import ngrokc


def test_every_name_exists() -> None:
    for name in ngrokc.__all__:
        assert getattr(ngrokc, name) is not None
    with pytest.raises(AttributeError):
        _ = ngrokc.nothing


def test_importing_loads_no_event_loop() -> None:
    code = "import sys, ngrokc; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
