"""Load models and encode texts."""
