"""Samples become a table, JSON and a picture. Pure: numbers in, text out."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

US = "ngrokd + ngrokc"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the goals: `value` against what it must be and what we aim at. `at_least`: more is better."""

    text: str
    value: float
    must: float
    aim: float | None = None
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.must if self.at_least else self.value <= self.must

    @property
    def aimed(self) -> bool:
        return self.aim is not None and (self.value >= self.aim if self.at_least else self.value <= self.aim)

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        aim = "" if self.aim is None else f", aim {sign} {self.aim:g}"
        word = "aim reached" if self.aimed else "met" if self.met else "MISSED"
        return f"{self.text}: {self.value:.3g} (must {sign} {self.must:g}{aim}): {word}"


@dataclass(slots=True)
class Figure:
    """One table: samples by target, in the order of measurement. `baseline` is what ratios refer to."""

    key: str
    title: str
    unit: str
    baseline: str | None = None
    rows: dict[str, list[float]] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    note: str = ""

    def add(self, target: str, value: float) -> None:
        self.rows.setdefault(target, []).append(value)

    def median(self, target: str) -> float:
        return statistics.median(self.rows[target])

    def ratio(self, target: str, to: str | None = None) -> float:
        below = self.median(to or self.baseline or target)
        return self.median(target) / below if below else 0.0

    def judge(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)


def number(value: float) -> str:
    """Three telling digits, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def table(figures: Iterable[Figure]) -> str:
    """All figures as text for a terminal."""
    lines: list[str] = []
    for figure in figures:
        lines += ["", f"{figure.title} [{figure.unit}]"]
        width = max(len(target) for target in figure.rows)
        for target, samples in figure.rows.items():
            spread = f"{number(min(samples))} .. {number(max(samples))}" if len(samples) > 1 else ""
            ratio = f"{figure.ratio(target):.2f}x" if figure.baseline in figure.rows else ""
            lines.append(f"  {target:<{width}}  {number(figure.median(target)):>9}  {spread:<22} {ratio}".rstrip())
        if figure.note:
            lines.append(f"  ({figure.note})")
        lines += [f"  -> {verdict}" for verdict in figure.verdicts]
    return "\n".join(lines)


def markdown(figures: Iterable[Figure]) -> str:
    """One row for each figure and target, for the README."""
    lines = ["| figure | target | median | spread | ratio |", "|---|---|---|---|---|"]
    for figure in figures:
        for target, samples in figure.rows.items():
            ratio = f"{figure.ratio(target):.2f}" if figure.baseline in figure.rows else ""
            spread = f"{number(min(samples))} to {number(max(samples))}"
            cells = (f"{figure.title}, {figure.unit}", target, number(figure.median(target)), spread, ratio)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def goals(figures: Iterable[Figure], remark: str) -> str:
    """What the README shows: each goal with its value."""
    lines = ["| figure | measured | must | aim | |", "|---|---|---|---|---|"]
    for figure in figures:
        for verdict in figure.verdicts:
            sign = "at least" if verdict.at_least else "at most"
            aim = "" if verdict.aim is None else f"{verdict.aim:g}"
            word = "aim reached" if verdict.aimed else "met" if verdict.met else "missed"
            cells = (f"{figure.title}: {verdict.text}", number(verdict.value), f"{sign} {verdict.must:g}", aim, word)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", remark])


def into_readme(text: str, section: str) -> str:
    """`text` with what stands between the two marks replaced; unchanged when there are none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{section}\n{end}{after}" if begin and end else text


def as_json(figures: Iterable[Figure]) -> list[dict[str, object]]:
    return [
        {
            "key": figure.key,
            "title": figure.title,
            "unit": figure.unit,
            "baseline": figure.baseline,
            "note": figure.note,
            "targets": {
                target: {"median": figure.median(target), "samples": samples} for target, samples in figure.rows.items()
            },
            "verdicts": [
                {
                    "text": verdict.text,
                    "value": verdict.value,
                    "must": verdict.must,
                    "aim": verdict.aim,
                    "met": verdict.met,
                }
                for verdict in figure.verdicts
            ],
        }
        for figure in figures
    ]


BAR, GAP, LABEL, WIDTH = 18, 6, 300, 830
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600}rect{fill:#9aa7b4}.u{fill:#2f7d4f}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#5a6672}.u{fill:#4fae78}}"
)


def svg(figures: Sequence[Figure]) -> str:
    """Bars, one group for each figure, ours in colour; readable in light and dark."""
    parts: list[str] = []
    y = 10
    for figure in figures:
        y += 20
        parts.append(f'<text class="t" x="0" y="{y}">{escape(figure.title)} ({escape(figure.unit)})</text>')
        y += 10
        most = max(figure.median(target) for target in figure.rows) or 1.0
        for target in figure.rows:
            value = figure.median(target)
            length = max(1, round((WIDTH - LABEL - 90) * value / most))
            ours = ' class="u"' if target.startswith(US) else ""
            parts.append(f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(target)}</text>')
            parts.append(f'<rect{ours} x="{LABEL}" y="{y}" width="{length}" height="{BAR}" rx="2"/>')
            parts.append(f'<text x="{LABEL + length + 6}" y="{y + 13}">{number(value)}</text>')
            y += BAR + GAP
        y += 6
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">'
    return f"{head}<title>Figures of make bench</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
