"""What every test shares: the hypothesis profiles.

`fast` is the default, a few dozen examples per property, the same ones each time, so that a red build is red for all;
`HYPOTHESIS_PROFILE=deep` (make fuzz) looks further with other examples each run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]  # two shared cores

settings.register_profile(
    "fast", max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW
)
settings.register_profile("deep", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
