"""Everything on one machine: the supervisor, its child processes, the embedded Valkey server."""
