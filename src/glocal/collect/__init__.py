"""People → answers: a study of one's own images, asked for over HTTP, kept in a database, exported at any time."""
