"""The HTTP API: application, routes, schemas, keys, and what turns a request into a job."""
