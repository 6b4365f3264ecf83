"""What a tunnel's owner asked for: who may come in, and what is changed on the way. Compiled when the tunnel is declared."""

from __future__ import annotations

from ngrokd.policy.denial import Denial
from ngrokd.policy.policy import TRIVIAL, Policy

__all__ = ["TRIVIAL", "Denial", "Policy"]
