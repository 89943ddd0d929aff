"""A clock that was changed, for processes that find this on their path: GANTRAIN_TEST_CLOCK_DAYS ahead."""

import os
import time

if "GANTRAIN_TEST_CLOCK_DAYS" in os.environ:
    _present, _seconds = time.time, float(os.environ["GANTRAIN_TEST_CLOCK_DAYS"]) * 86400
    time.time = lambda: _present() + _seconds
