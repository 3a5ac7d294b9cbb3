"""csvd: cerebral small vessel disease markers from brain images. For research and teaching; not a medical device."""

__version__ = "0.1.0"
