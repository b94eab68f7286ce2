"""HubSpot's API as it is: its paths, its errors, its paging. Nothing here knows our tables."""
