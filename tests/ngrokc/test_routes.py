"""Visitors find their tunnel by id, else by URL."""

from ngrokc.options import TunnelOptions
from ngrokc.routes import Route, Routes
from protocol.address import parse_upstream
from protocol.messages import StartProxy


def route(url: str, tunnel_id: str = "", upstream: str = "80") -> Route:
    return Route("t", url, url.partition(":")[0], tunnel_id, parse_upstream(upstream), TunnelOptions())


def test_by_id_then_by_url() -> None:
    routes = Routes()
    one, two = route("http://a", "1"), route("http://b", "2")
    routes.add(one)
    routes.add(two)
    assert routes.find(StartProxy("http://a", "", "2")) is two
    assert routes.find(StartProxy("http://a", "", "9")) is one
    assert routes.find(StartProxy("http://a")) is one
    assert routes.find(StartProxy("http://c")) is None
    assert len(routes) == 2


def test_a_successor_is_not_removed_with_its_predecessor() -> None:
    routes = Routes()
    old, new = route("http://a", "1"), route("http://a", "2")
    routes.add(old)
    routes.add(new)
    routes.remove(old)
    assert routes.find(StartProxy("http://a")) is new
    assert routes.by_id("1") is None


def test_dial_addresses_are_worked_out_once() -> None:
    assert route("tcp://a:1").choices
    assert not route("tcp://a:1", upstream="example.me:80").choices
    assert (route("http://a").web, route("tcp://a:1").web) == (True, False)
