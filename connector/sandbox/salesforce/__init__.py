"""A pretend Salesforce org: a second reading of its documentation, apart from the client."""
