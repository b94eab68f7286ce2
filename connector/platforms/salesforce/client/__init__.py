"""Salesforce's API as it is: its log-in, its paths, its errors, its jobs. Nothing here knows our tables."""
