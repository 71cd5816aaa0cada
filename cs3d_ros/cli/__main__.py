"""``python -m cs3d_ros.cli``, where the command itself is not installed."""

import sys

from cs3d_ros.cli import main

sys.exit(main())
