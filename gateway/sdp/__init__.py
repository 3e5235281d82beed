"""Session descriptions: reading and writing them (RFC 8866), offers and answers (RFC 3264)."""
