"""From queries to settled labels: send queries to the annotation tool, take in answers, derive labels."""
