"""Who answers queries: people in Label Studio, an oracle for rehearsals and simulations, or nobody."""
