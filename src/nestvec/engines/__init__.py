"""Where vectors are stored and searched: one protocol, one small package or file per engine."""
