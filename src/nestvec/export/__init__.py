"""Write measurements in the formats of other programs."""
