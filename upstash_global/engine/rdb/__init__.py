"""Values in Redis's own format, as DUMP and RESTORE carry them between servers."""
