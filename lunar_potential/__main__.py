"""`python -m lunar_potential` is the command `lunar-potential`."""
import sys

from .cli import main

sys.exit(main())
