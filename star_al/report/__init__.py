"""What a campaign looks like to a reader: pictures drawn from the store alone."""
