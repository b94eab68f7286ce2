"""A service that is always on: webhooks, the schedule, one worker."""
