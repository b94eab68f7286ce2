"""What a contact is called: by name where the platform has one."""

#: SQL over `c`, a row of store.contacts: the full name, null where there is none. Properties of HubSpot, of
#: Salesforce and as files often call them.
NAME_SQL = """nullif(trim(coalesce(
    json_extract_string(c.properties, '$.firstname'), json_extract_string(c.properties, '$.FirstName'),
    json_extract_string(c.properties, '$.first_name'), '') || ' ' || coalesce(
    json_extract_string(c.properties, '$.lastname'), json_extract_string(c.properties, '$.LastName'),
    json_extract_string(c.properties, '$.last_name'), '')), '')"""
