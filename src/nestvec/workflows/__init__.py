"""What joins several layers: an index of texts, and the demo."""
