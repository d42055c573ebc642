"""Pages and pictures of campaigns and studies, made from the store alone."""
