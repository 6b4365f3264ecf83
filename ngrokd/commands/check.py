"""`ngrokd check`: what is wrong, before users are told so."""

from __future__ import annotations

from dataclasses import asdict

import click

from ngrokd.check import Finding, findings
from ngrokd.commands import words
from ngrokd.commands.tokens import JSON
from ngrokd.settings import Settings

SIGNS = {"ok": "ok  ", "warn": "note", "fail": "FAIL"}
EXIT_FAILED = 1


@click.command()
@JSON
@click.pass_obj
def check(settings: Settings, /, *, as_json: bool) -> int:
    """Look at configuration, ports, DNS, certificate, clock and limits; exits with 1 when something fails.

    Give it the same flags as the server, in front: ngrokd -config=FILE check
    """
    found: list[Finding] = []
    for finding in findings(settings):
        found.append(finding)
        if not as_json:
            click.echo(line(finding))
    if as_json:
        click.echo(words.as_json([asdict(finding) for finding in found]))
    return EXIT_FAILED if any(finding.state == "fail" for finding in found) else 0


def line(finding: Finding) -> str:
    hint = f"\n{'':<20}-> {finding.hint}" if finding.hint and finding.state != "ok" else ""
    return f"{SIGNS[finding.state]}  {finding.what:<13} {finding.text}{hint}"
