package embedded

import "database/sql"

// FromDB returns a registry on a database that a test has prepared.
func FromDB(db *sql.DB) *Registry { return &Registry{db: db, writer: make(chan struct{}, 1)} }
