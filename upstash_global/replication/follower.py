"""Follower: a node's own side of replication."""
