import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
from slicer.util import VTK_OBSERVATION if False else getNodesByClass
