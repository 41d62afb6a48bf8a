"""Tasks that combine several packages: the demo, trained model folders, fitting an adapter."""
