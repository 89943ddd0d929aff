"""Speed of gantrain's training loop, data and FID next to other projects' on the same machine."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's own messages
