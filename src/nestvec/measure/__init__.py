"""Model + data + grid -> Curve: every operating point from one encode."""
