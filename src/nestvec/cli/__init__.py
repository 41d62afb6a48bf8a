"""The command line: one file for each command; each reads arguments, calls the library, prints."""
