"""Read and write files: atomic replacement, memory mapping, versioned JSON."""
