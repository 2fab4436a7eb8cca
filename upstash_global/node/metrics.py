"""Counters of a node. INFO and the metrics port read them; nothing here decides anything."""

from upstash_global.errors import CommandError


class Metrics:
    def __init__(self) -> None:
        self.n_connections = 0  # ever
        self.n_rejected_connections = 0
        self.n_commands = 0
        self.n_errors = 0
        self.errors_by_code: dict[str, int] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self.n_http_requests = 0
        self.n_partial_resyncs = 0
        self.n_full_resyncs = 0
        self.n_snapshots = 0
        self.n_divergent_entries = 0
        self.torn_bytes = 0
        self.n_slow = 0
        self.n_failed_logins = 0
        self.n_denied = {"command": 0, "key": 0, "channel": 0}

    def note_refusal(self, refusal: CommandError) -> None:
        self.n_errors += 1
        self.errors_by_code[refusal.code] = self.errors_by_code.get(refusal.code, 0) + 1

    def reset(self) -> None:
        """CONFIG RESETSTAT."""
        self.n_connections = 0
        self.n_rejected_connections = 0
        self.n_commands = 0
        self.n_errors = 0
        self.errors_by_code.clear()
        self.bytes_in = 0
        self.bytes_out = 0
