"""The figures: `python -m tests.bench [--quick] [--only NAME...]`. Starts and stops everything itself, on free ports."""
