"""Read vectors that other programs wrote."""
