"""``python -m latency.explain``."""

import sys

from latency.explain.command import main

if __name__ == "__main__":
    sys.exit(main())
