package bootapi_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestCheckUpstream(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:7070", "http://agent.internal:80", "http://[::1]:7070"} {
		require.NoError(t, bootapi.CheckUpstream(good), good)
	}
	for _, bad := range []string{
		"", "agent", "agent:7070", "127.0.0.1:7070", "http://", "http://agent", "http://:7070", "https://agent:7070",
		"http://agent:7070/", "http://agent:7070/api", "http://agent:7070?x", "http://agent:7070#x", "http://agent:0",
		"http://agent:65536", "http://agent:x", "http://me:secret@agent:7070", "http://me:secret@agent", "http://agent:7070\n",
		"unix:///run/agent", "http://a b:7070", "HTTP://agent:7070", "http://me:sec ret@agent:7070",
	} {
		err := bootapi.CheckUpstream(bad)
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "sec", "no credentials in errors")
	}
}
