import sys

from csvd.cli import main

sys.exit(main())
