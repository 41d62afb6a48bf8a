"""Present curves and a plan: tables, charts and one self-contained HTML page."""
