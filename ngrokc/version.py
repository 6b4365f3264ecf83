"""The version of ngrokc, as it tells servers and people. Knows nothing else, so that everything may import it."""

VERSION = "0.1.0"  # the same as in pyproject.toml; a test compares them
