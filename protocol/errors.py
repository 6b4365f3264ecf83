"""What can go wrong, as facts: a stable code, whose fault it is, a sentence, what to do next, whether trying again helps.

Nobody has to guess a status or a log level from a class: both follow from `code` and `blame`. There are children only where
somebody catches just them. Knows nothing of HTTP pages, exit codes or logging: the programs map codes to those.
"""

from __future__ import annotations

import enum


class Blame(enum.Enum):
    """Who has to act. Log levels follow: visitor info, server error, the others warning. An operator is whoever set
    something up, an agent's user too."""

    VISITOR = "visitor"
    AGENT = "agent"
    UPSTREAM = "upstream"
    SERVER = "server"
    OPERATOR = "operator"


class Fault(Exception):
    """Something failed for a reason that we can name.

    `code` is a stable word (lower case, underscores) for machines and docs; `message` a sentence for people, without
    secrets; `hint` what to do next ("" if nothing); `retry` whether the same attempt may succeed later.
    Without a message the code with spaces stands for it. `str(fault)` is the message alone.
    """

    def __init__(
        self, code: str, message: str = "", *, blame: Blame = Blame.SERVER, hint: str = "", retry: bool = False
    ) -> None:
        self.code = code
        self.message = message or code.replace("_", " ")
        self.blame = blame
        self.hint = hint
        self.retry = retry
        super().__init__(self.message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.code} ({self.blame.value}): {self.message!r}>"


class WireError(Fault):
    """The other program broke the protocol: frames, messages, session order, mux. The link it came on is finished.

    A codec does not know which side it runs on, so the blame says "agent" unless the caller knows better; ngrokc reads
    it as "the other side".
    """

    def __init__(self, code: str, message: str = "", *, blame: Blame = Blame.AGENT) -> None:
        super().__init__(code, message, blame=blame)


class HttpError(Fault):
    """A head or body that must not be passed on. `status` is what the visitor should get: 400, 414, 431, 502 ..."""

    def __init__(self, status: int, code: str, message: str = "", *, blame: Blame = Blame.VISITOR) -> None:
        super().__init__(code, message, blame=blame)
        self.status = status


class ConfigError(Fault):
    """The configuration cannot be used. Where it came from a file, `file`, `line` and `column` (both from 1) say where."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0, hint: str = "") -> None:
        super().__init__("bad_config", message, blame=Blame.OPERATOR, hint=hint)
        self.file = file
        self.line = line
        self.column = column

    @property
    def place(self) -> str:
        """`file:line:column` as far as known, "" when nothing is."""
        parts = [self.file] if self.file else []
        parts += [str(number) for number in (self.line, self.column) if number]
        return ":".join(parts)


class LinkError(Fault):
    """A connection could not be made or was lost: dial, proxy, TLS, silence. Trying again is the usual answer."""

    def __init__(
        self, code: str, message: str = "", *, blame: Blame = Blame.SERVER, hint: str = "", retry: bool = True
    ) -> None:
        super().__init__(code, message, blame=blame, hint=hint, retry=retry)


class RefusedError(Fault):
    """The other program understood us and said no. `retry` repeats its word on whether trying again can help."""

    def __init__(
        self, code: str, message: str = "", *, blame: Blame = Blame.OPERATOR, hint: str = "", retry: bool = False
    ) -> None:
        super().__init__(code, message, blame=blame, hint=hint, retry=retry)
