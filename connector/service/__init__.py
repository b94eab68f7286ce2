"""The service: webhooks in, one worker, one schedule, pages; one process to an account's state."""
