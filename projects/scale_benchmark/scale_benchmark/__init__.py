"""One process beside Ray's actors: shards, timed calls, memory over time, and rows that are compared."""
