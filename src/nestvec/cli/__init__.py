"""The command line: each command has a module that calls the library and prints the result."""

import os

# The threads of OpenBLAS wait actively for their next task, which uses much processor time in
# `evaluate`. NumPy and FAISS read this variable when they are imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
