"""1.7's own 502 page."""

from __future__ import annotations

from ngrokd.edge.old_page import OLD_PAGE, mend
from protocol.head import head_end, parse_response

PAGE = OLD_PAGE + b"12\n\n<html>\n\nno\n"


def test_the_head_becomes_a_proper_one_and_the_page_stays_as_it_is() -> None:
    mended = mend(PAGE)
    end = head_end(mended)
    head = parse_response(mended[:end], method=b"GET", upgrade=None)
    assert (head.status, head.length, head.keep_alive) == (502, 12, False)
    assert mended[end:] == b"<html>\n\nno\n"


def test_half_a_head_is_left_alone() -> None:
    assert mend(OLD_PAGE + b"12\n") == OLD_PAGE + b"12\n"
