"""What runs beside a device: Celery tasks, warm models, shards, leases, the sweep and errands."""
