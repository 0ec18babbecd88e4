package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestHeapLimit lets a build outgrow the limit of memory that Node has for itself.
func TestHeapLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("", map[string]string{"hog.mjs": "const all = []; while (all.length < 1e6) all.push(new Array(1000).fill(Math.random()));\n"})
	site := bootapi.Site{Install: "true", Command: "node hog.mjs", Env: map[string]string{"NODE_OPTIONS": "--max-old-space-size=40"}}
	b.fails(b.try(site, false, true), bootapi.PhaseBuilding, "There was not enough memory: Node may use 40 MB (NODE_OPTIONS)"+ofContainer(), false)

	site = bootapi.Site{Install: "true", Command: "node --max-old-space-size=40 hog.mjs"}
	err := b.try(site, false, true)
	var f *Error
	require.ErrorAs(t, err, &f)
	assert.Regexp(t, `^There was not enough memory: Node's own limit was reached at [34]\d MB`, f.Cause)
}

// TestMemoryLimit has the kernel kill a build which takes more memory than its container may
// have: the container is a control group here, as it is wherever there are containers.
func TestMemoryLimit(t *testing.T) {
	group, limitFile := memoryGroup(t)
	if group == "" {
		t.Log("this takes root and a hierarchy of control groups for memory")
		return
	}
	was := memoryFiles
	memoryFiles = []string{limitFile} // no parallel test runs yet
	t.Cleanup(func() { memoryFiles = was })
	b := newBench(t)
	b.write("", map[string]string{
		"package.json": `{"name":"site","private":true,"scripts":{"build":"node hog.mjs"}}`,
		"hog.mjs":      "const all = []; while (all.length < 100) all.push(Buffer.alloc(10 << 20, 'x'));\n",
	})
	inGroup := "echo $$ >" + filepath.Join(group, "cgroup.procs") + " && exec "
	for _, command := range []string{"node hog.mjs", "npm run build", "sh -c 'node hog.mjs; exit $?'"} {
		err := b.try(bootapi.Site{Install: "true", Command: inGroup + command}, false, true)
		b.fails(err, bootapi.PhaseBuilding, "There was not enough memory: the limit is 200 MB.", false)
	}
}

// memoryGroup makes a control group with 200 MB of memory, of either of the kernel's
// versions; "" where it cannot be made.
func memoryGroup(t *testing.T) (group, limitFile string) {
	t.Helper()
	for _, v := range []struct{ top, limit, swap string }{
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", ""},
	} {
		if _, err := os.Stat(filepath.Join(v.top, "cgroup.procs")); err != nil {
			continue // it is a folder of hierarchies
		}
		group = filepath.Join(v.top, "containerboot-test-"+filepath.Base(t.TempDir()))
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { assert.NoError(t, os.Remove(group)) })
		limitFile = filepath.Join(group, v.limit)
		if os.WriteFile(limitFile, []byte("209715200"), 0o644) != nil {
			continue
		}
		if v.swap != "" {
			_ = os.WriteFile(filepath.Join(group, v.swap), []byte("0"), 0o644)
		}
		if data, err := os.ReadFile(limitFile); err == nil && strings.TrimSpace(string(data)) == "209715200" {
			return group, limitFile
		}
	}
	return "", ""
}
