"""Celery application and tasks, job records, artifact storage and the warm model of a worker process."""
