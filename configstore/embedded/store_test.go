package embedded

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		path := filepath.Join(t.TempDir(), "data", "webordinary.db")
		return func(t *testing.T) configstore.Store {
			store, err := Open(path, Options{})
			require.NoError(t, err)
			return store
		}
	})
}
