"""The comparison of runs: one HTML page, a terminal table, CSV and Parquet."""
