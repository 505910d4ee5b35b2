"""Sessions: what a browser's cookie points at, kept sealed in Redis, ended once and for all."""
