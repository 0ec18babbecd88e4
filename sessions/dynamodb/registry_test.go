package dynamodb_test

import (
	"testing"

	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/registrytest"
)

func TestConformance(t *testing.T) {
	registrytest.Run(t, registrytest.Options{
		Open: func(t *testing.T) (sessions.Registry, func() sessions.Registry) {
			t.Helper()
			name := table(t)
			reopen := func() sessions.Registry { return open(t, name, nil) }
			return reopen(), reopen
		},
	})
}
