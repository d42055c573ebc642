"""From questions to settled labels: what is asked, what people answered, and what that amounts to."""
