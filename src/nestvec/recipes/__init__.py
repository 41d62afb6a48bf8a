"""Whole tasks that join several packages: the demo, trained model folders, fitting an adapter."""
