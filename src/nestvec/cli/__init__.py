"""The command line: each command has a module that calls the library and prints the result."""
