package configstore

import (
	"testing"

	"github.com/webordinary/router/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }
