-- Version 7. The id of the deployment whose jobs these are; one row, made when it is first asked for.

CREATE TABLE deployment (
    place INTEGER NOT NULL PRIMARY KEY CHECK (place = 1),
    id BLOB NOT NULL
) STRICT;
