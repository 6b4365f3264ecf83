"""The log of ngrokd: the one that both programs share. See protocol/link/logs.py."""

from protocol.link.logs import LEVELS, LineWriter, Log, LogFormat, LogSink, clean, log_fault, open_log

__all__ = ["LEVELS", "LineWriter", "Log", "LogFormat", "LogSink", "clean", "log_fault", "open_log"]
