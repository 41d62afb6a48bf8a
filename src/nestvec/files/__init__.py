"""Write and read files safely: atomic, memory-mapped, versioned."""
