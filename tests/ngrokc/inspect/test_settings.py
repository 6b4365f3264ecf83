from __future__ import annotations

from ngrokc.inspect.settings import MIB, InspectSettings, Limits


def test_the_defaults_keep_an_agent_within_64_mib() -> None:
    limits = Limits()
    assert limits.memory + limits.queue + limits.spool_queue <= 32 * MIB
    assert limits.tunnel_memory < limits.memory
    assert limits.tunnel_exchanges < limits.exchanges
    assert InspectSettings().host == "127.0.0.1"
    assert not InspectSettings().open_api
