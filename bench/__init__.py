"""`python -m bench`: measure against redis-server on this machine; the results stand in RESULTS.md."""
