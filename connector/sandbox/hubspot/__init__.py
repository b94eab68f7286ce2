"""A pretend HubSpot account: a second reading of its documentation, apart from the client."""
