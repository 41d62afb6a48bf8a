"""The web page to try dims, precisions and shortlists: static files, served from memory."""
