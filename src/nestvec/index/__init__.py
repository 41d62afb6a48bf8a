"""Search by an operating point: the embedded index, and the seam for other engines."""
