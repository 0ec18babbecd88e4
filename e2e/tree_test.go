package e2e

import (
	"debug/buildinfo"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

func TestEveryPackageHasADocComment(t *testing.T) {
	t.Parallel()
	root := harness.Root(t)
	documented := map[string]bool{} // by folder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || file.Doc != nil
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, documented)
	for dir, ok := range documented {
		assert.Truef(t, ok, "package in %s has no doc comment", dir)
	}
}

// What the tests run with the race detector is cmd/caddy; what is shipped was built by
// xcaddy, which resolves versions by itself.
func TestShippedBinaryHasTheVersionsOfGoMod(t *testing.T) {
	t.Parallel()
	versions := func(file string) map[string]string {
		info, err := buildinfo.ReadFile(file)
		require.NoError(t, err)
		modules := map[string]string{}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			if m.Path != "github.com/webordinary/router" && !filepath.IsAbs(m.Path) && !strings.HasPrefix(m.Path, ".") {
				modules[m.Path] = m.Version
			}
		}
		return modules
	}
	shipped := versions(filepath.Join(harness.Released(t), "caddy"))
	require.Contains(t, shipped, "github.com/caddyserver/caddy/v2")
	assert.Equal(t, versions(filepath.Join(harness.Raced(t), "caddy")), shipped)
}
