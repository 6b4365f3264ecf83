"""The page that the agent writes itself is one complete response."""

import h11
import pytest

from ngrokc.pages import error_page


@pytest.mark.parametrize(("code", "status"), [("upstream_refused", 502), ("upstream_timeout", 504), ("denied", 403)])
def test_pages_parse(code: str, status: int) -> None:
    machine = h11.Connection(h11.CLIENT)
    machine.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    machine.send(h11.EndOfMessage())
    machine.receive_data(error_page(code, 'http://<a"b>', now=0))
    response = machine.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    headers = dict(response.headers)
    assert headers[b"ngrok-error-code"] == code.encode()
    assert headers[b"date"] == b"Thu, 01 Jan 1970 00:00:00 GMT"
    body = machine.next_event()
    assert isinstance(body, h11.Data)
    assert b"http://&lt;a&quot;b&gt;" in body.data
    assert isinstance(machine.next_event(), h11.EndOfMessage)
    assert machine.trailing_data == (b"", False)


def test_head_has_no_body() -> None:
    page = error_page("upstream_refused", "http://a", head_only=True)
    assert page.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in page
