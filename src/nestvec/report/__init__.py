"""A curve and a plan for people: tables, pictures, one self-contained page."""
