"""The command line as Go reads it: the same for both programs. See protocol/argv.py."""

from protocol.argv import normalise

__all__ = ["normalise"]
