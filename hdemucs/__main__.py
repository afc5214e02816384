"""`python -m hdemucs`."""

import sys

from hdemucs.cli import main

sys.exit(main())
