"""How the wheel is built; what it holds is in pyproject.toml.

Usually it is pure Python. With NGROK_COMPILE=1 mypyc (it comes with mypy) compiles the modules that every byte passes,
from the same sources: `make wheel` does that where there is a C compiler, `docs/performance.md` has the figures.

A compiled class can't be the base of one that is not compiled, an error's cause is not kept, and what annotations
promise is checked and relied on: tests/test_compiled.py watches over the first, `make test-compiled` over the rest.
"""

from __future__ import annotations

import os
from typing import Final

from setuptools import setup

MUX: Final = ("budget", "machine", "outbox", "wire")
LINK: Final = (
    *("epoll", "leg", "leg_face", "leg_send", "leg_stream"),
    *("plain", "port", "reactor", "relay", "tasks", "tls", "tls_socket"),
)
EDGE: Final = ("deciding", "downward", "patience", "reading", "slot", "state", "upgraded", "upward", "visitor")
HEADS: Final = ("body", "fields", "grammar", "head", "head_base", "head_request", "head_response")
COMPILED: Final = (
    *(f"protocol/mux/{name}.py" for name in MUX),
    *(f"protocol/link/{name}.py" for name in LINK),
    *(f"ngrokd/edge/{name}.py" for name in EDGE),
    *(f"protocol/{name}.py" for name in HEADS),
    *("ngrokc/proxy.py", "ngrokd/admin/meters.py", "ngrokd/registry.py", "ngrokd/throttle.py"),
)

if __name__ == "__main__":
    if os.environ.get("NGROK_COMPILE") == "1":
        from mypyc.build import mypycify

        setup(ext_modules=mypycify(list(COMPILED), opt_level="3"))
    else:
        setup()
