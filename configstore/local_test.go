package configstore_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/configstore"
)

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.170.2", "0.0.0.0", "0.1.2.3",
		"100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "fec0::1",
		"::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254",
	} {
		assert.True(t, configstore.IsLocal(netip.MustParseAddr(addr)), addr)
	}
	for _, addr := range []string{"140.82.121.4", "172.32.0.1", "100.128.0.1", "2606:50c0:8000::154", "64:ff9b::140.82.121.4", "::ffff:140.82.121.4"} {
		assert.False(t, configstore.IsLocal(netip.MustParseAddr(addr)), addr)
	}
}
