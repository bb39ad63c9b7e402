"""What is asked and where it stands: settings, records, transitions, queue, object store, uploads, exports."""
