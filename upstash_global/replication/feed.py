"""Feed: one node's view of one follower."""
