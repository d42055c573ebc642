"""`star-al init` and `Campaign.create`: propose a campaign for a user's data, and write its file."""
