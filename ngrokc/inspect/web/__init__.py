"""The inspector's page and API. Nothing here is reached by traffic, and nothing here touches it."""
