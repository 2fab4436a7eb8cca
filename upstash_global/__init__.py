"""upstash_global: a self-hosted global database for the edge."""

__version__ = "0.1.0"
