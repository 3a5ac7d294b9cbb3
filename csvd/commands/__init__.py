"""The commands of ``csvd``, one file each: ``add`` declares a command, ``run`` loads what is heavy and does it."""
