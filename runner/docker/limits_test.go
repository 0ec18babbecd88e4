package docker

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestMemoryIsLimitedAndTheReasonSaysSo(t *testing.T) {
	d := deploy(t, nil)
	d.o.Tunables.Image = d.running("exec tail /dev/zero") // which keeps all that it reads
	d.o.Tunables.Sizes = map[string]Size{"small": {Memory: 96 * mebibyte, CPUs: 1}}
	r := d.runner()
	c, err := r.Start(t.Context(), request("greedy", 1))
	require.NoError(t, err)
	assert.Equal(t, "out of memory: it used all of its 96 MiB (size small)", d.ended(r, c).Reason)
}

func TestProcessesAreLimited(t *testing.T) {
	d := deploy(t, func(o *Options) {
		o.Tunables.Sizes = map[string]Size{"small": {Memory: 256 * mebibyte, CPUs: 1, Processes: 64}}
	})
	r := d.runner()
	bomb, other := d.start(r, request("bomb", 1)), d.start(r, request("other", 1))
	d.answers(bomb)
	out, status := d.exec(bomb, `sh -c 'i=0; while [ $i -lt 100 ]; do sleep 600 & i=$((i+1)); done'`)
	assert.NotZero(t, status)
	assert.Contains(t, out, "Cannot fork")
	out, status = d.exec(other, `for i in $(seq 40); do sleep 1 & done; wait; echo fine`)
	assert.Zero(t, status, out)
	assert.Equal(t, http.StatusServiceUnavailable, ask(other, http.MethodGet, bootapi.PathHealth, nil), "it waits for its claim")
	require.NoError(t, r.Stop(t.Context(), bomb.Ref, "too many"))
}

func TestSizesAreTheContainers(t *testing.T) {
	d := deploy(t, func(o *Options) {
		o.Tunables.Sizes = map[string]Size{"medium": {Memory: 300 * mebibyte, CPUs: 0.25, Processes: 99}}
	})
	r := d.runner()
	for size, want := range map[string]Size{
		"small": {Memory: 2 * gibibyte, CPUs: 1, Processes: 512}, "medium": {Memory: 300 * mebibyte, CPUs: 0.25, Processes: 99},
		"large": {Memory: 8 * gibibyte, CPUs: 4, Processes: 1024},
	} {
		req := request(size, 1)
		req.Size = size
		host := d.inspect(d.start(r, req)).HostConfig
		assert.Equal(t, want.Memory, host.Memory)
		assert.Equal(t, want.Memory, host.MemorySwap, "no swap")
		assert.InDelta(t, want.CPUs, float64(host.CPUQuota)/float64(host.CPUPeriod), 0.001)
		require.NotNil(t, host.PidsLimit)
		assert.Equal(t, want.Processes, *host.PidsLimit)
		assert.Equal(t, map[string]string{"max-size": "5m", "max-file": "2"}, host.LogConfig.Config)
	}
	req := request("huge", 1)
	req.Size = "huge"
	_, err := r.Start(t.Context(), req)
	require.ErrorContains(t, err, `no container size "huge": there are large, medium, small`)
}

func TestTemporaryFilesCountAndAreLimited(t *testing.T) {
	d := deploy(t, func(o *Options) {
		o.Tunables.Sizes = map[string]Size{"small": {Memory: 128 * mebibyte, CPUs: 1}}
	})
	c := d.start(d.runner(), request("one", 1))
	out, status := d.exec(c, `head -c 100M /dev/zero >/tmp/file; echo; stat -c %s /tmp/file`)
	assert.Zero(t, status)
	assert.Contains(t, out, "No space left on device")
	size, err := strconv.Atoi(out[strings.LastIndexByte(out, '\n')+1:])
	require.NoError(t, err)
	assert.LessOrEqual(t, size, 64*mebibyte)
}
