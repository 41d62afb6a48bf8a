"""The version of nestvec, in its own module so that packaging can read it without imports."""

__version__ = "0.1.0"
