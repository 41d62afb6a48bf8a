"""Make the search of a table in a database cheaper, in place, while the table is in use."""
