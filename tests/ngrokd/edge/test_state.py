"""The states of a visitor connection are words for logs and `repr`; what leads from one to another is in test_visitor."""

from __future__ import annotations

from ngrokd.edge.state import State


def test_states_are_words() -> None:
    assert [state.value for state in State] == ["head", "opening", "exchange", "over"]
