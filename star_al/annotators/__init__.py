"""Who answers queries: an oracle for rehearsals."""
