"""The table of codes: complete, consistent, documented, and 1.7's words still in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ngrokd.edge.codes import CODES, public

DOCS = Path(__file__).parents[3] / "docs" / "errors.md"
EXPECTED = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "tunnel_not_found": 404,
    "request_timeout": 408,
    "body_too_large": 413,
    "uri_too_long": 414,
    "expectation_failed": 417,
    "misdirected": 421,
    "rate_limited": 429,
    "tunnel_rate_limited": 429,
    "head_too_large": 431,
    "internal": 500,
    "not_implemented": 501,
    "upstream_refused": 502,
    "upstream_broke": 502,
    "upstream_bad_response": 502,
    "agent_offline": 503,
    "overloaded": 503,
    "limit_reached": 503,
    "upstream_timeout": 504,
    "agent_silent": 504,
    "https_required": 307,
}


def test_all_codes() -> None:
    assert {code: row.status for code, row in CODES.items()} == EXPECTED
    for row in CODES.values():
        assert re.fullmatch(r"[a-z0-9_]+", row.code)
        assert row.title.isascii()
        assert row.fields == b"" or row.fields.endswith(b"\r\n")
        assert (b"Retry-After" in row.fields) == (row.status in (429, 503))


def test_the_words_of_old_are_findable() -> None:
    assert CODES["bad_request"].title == "Bad Request"
    assert CODES["unauthorized"].title == "Authorization required"
    assert CODES["tunnel_not_found"].title == "Tunnel not found"
    assert CODES["unauthorized"].fields.startswith(b'WWW-Authenticate: Basic realm="ngrok"')


def test_the_document_lists_each_code_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \| (.+) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {code: int(status) for code, status, _, _ in rows} == EXPECTED
    assert all(len(cause) > 10 and len(remedy) > 10 for _, _, cause, remedy in rows)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        *(("upstream_unreachable", "upstream_refused"), ("upstream_tls", "upstream_refused"), ("denied", "forbidden")),
        *(("dial_timeout", "upstream_timeout"), ("agent_gone", "agent_offline"), ("link_lost", "agent_silent")),
        *(("<script>", "upstream_refused"), ("", "upstream_refused"), ("bad_request", "bad_request")),
    ],
)
def test_codes_of_others_become_public_ones(code: str, shown: str) -> None:
    assert public(code).code == shown
